//! What the end-to-end tests and the benches share.
//!
//! - [`Cluster`]: a whole HotSwap in one process. Engine, API and nodes each have their own
//!   sockets and disk.
//! - [`Installation`]: the same as an operator runs it, with real processes.
//! - [`StaticCluster`]: an engine over nodes that do everything at once.
//! - [`Authority`]: issues certificates for TLS.
//! - [`LoadGenerator`]: clients that send requests to the nodes without a pause.
//! - [`InterceptedJournal`], [`InterceptedFleet`]: change some operations of a journal or a fleet.
//! - [`CrashingJournal`]: stops the engine before or after any append.
//! - [`SteppedClock`]: the machine's clock, whose wall-clock tests can set.
//! - [`host_address`]: an address of this machine that is not its loopback address.
//! - [`NameServer`]: a real Knot DNS.
//! - [`OtlpReceiver`]: a collector that keeps the spans and the metrics that it gets.
//! - [`SilentServer`]: a server that never answers.
//! - [`PrometheusServer`]: a real Prometheus.
//! - [`RegistryServer`]: a real Consul or etcd.
//! - [`DiscoveryServer`]: any of the registries in which nodes are found.
//! - [`RedisServer`]: a real Redis or Valkey.
//! - [`RedisCluster`]: three or more of those, which share the keys.
//! - [`WatchedServers`]: some of those, and the sentinels that watch them.
//! - [`BucketServer`]: a real server with the interface of Amazon S3.
//! - [`RedisProxy`]: a connection to one of those that a test can cut.
//! - [`Balancer`]: spreads connections over engines.
//! - [`Replicas`]: several engines on one of those, with real processes.
//! - [`EventStream`], [`HubClient`]: clients of those that watch deployments.
//! - [`KubeApiServer`]: a real API server of Kubernetes.
//! - [`RacingJournal`]: appends a person's event right before an event of the engine.
//! - [`RacingEnvironmentJournal`]: another engine acts right before this one appends.

mod authority;
mod balancer;
/// What benches measure with, and the table that they print.
pub mod bench;
mod bucket_server;
mod child_process;
mod cluster;
mod collector_log;
mod crashing_journal;
mod deployment_state;
mod discovery_server;
mod engine_resources;
mod event_stream;
/// The servers that Go builds.
pub mod go_program;
mod header;
mod host_address;
mod hub_client;
mod installation;
mod intercepted_fleet;
mod intercepted_journal;
mod journal_outline;
mod kube_apiserver;
/// What the controllers of Kubernetes write for nodes.
pub mod kube_objects;
/// The versions of Kubernetes on which the chart is tested.
pub mod kubernetes_version;
mod leaseless_journal;
mod listed_events;
mod load_generator;
mod name_server;
mod node_config;
mod otlp_receiver;
mod prometheus_server;
mod racing_environment_journal;
mod racing_journal;
mod reaper;
mod redis_cluster;
mod redis_proxy;
mod redis_server;
mod registry_server;
mod replica_events;
mod replicas;
mod requests;
/// The kinds of the chart that Kubernetes does not have.
pub mod resource_definition;
mod server_certificates;
mod shared_host;
mod silent_server;
mod static_cluster;
mod static_fleet;
mod stepped_clock;
/// The programs that tests run.
pub mod tools;
mod undecided_journal;
mod unused_address;
/// The Python environments of tests.
pub mod venv;
mod watched_servers;
mod yaml;

pub use authority::Authority;
pub use balancer::Balancer;
pub use bucket_server::BucketServer;
pub use child_process::{ChildProcess, ProcessExit};
pub use cluster::{Cluster, NODE_TOKEN, unreachable_registration};
pub use collector_log::CollectorLog;
pub use crashing_journal::{CrashPoint, CrashTiming, CrashingJournal};
pub use deployment_state::{wait_for_end, wait_for_state};
pub use discovery_server::DiscoveryServer;
pub use engine_resources::EngineResources;
pub use event_stream::{EventStream, StreamedItem};
pub use header::sample_header;
pub use host_address::host_address;
pub use hub_client::HubClient;
pub use installation::Installation;
pub use intercepted_fleet::{FleetInterceptor, InterceptedFleet};
pub use intercepted_journal::{InterceptedJournal, Interceptor};
pub use journal_outline::journal_outline;
pub use kube_apiserver::KubeApiServer;
pub use leaseless_journal::LeaselessJournal;
pub use listed_events::ListedEvents;
pub use load_generator::{LoadGenerator, LoadReport};
pub use name_server::NameServer;
pub use node_config::node_config;
pub use otlp_receiver::{
    CollectorAnswer, OtlpReceiver, ReceivedMetric, ReceivedMetrics, ReceivedPoint, ReceivedSpan,
};
pub use prometheus_server::PrometheusServer;
pub use racing_environment_journal::RacingEnvironmentJournal;
pub use racing_journal::RacingJournal;
pub use redis_cluster::{RedisCluster, accepted};
pub use redis_proxy::RedisProxy;
pub use redis_server::{RedisKind, RedisServer};
pub use registry_server::{RegistryKind, RegistryServer};
pub use replicas::Replicas;
pub use requests::{EMAIL, new_deployment, new_rollback, requester};
pub use server_certificates::{tls_arguments, write_certificates};
pub use shared_host::{shared_discovery_host, shared_host};
pub use silent_server::SilentServer;
pub use static_cluster::StaticCluster;
pub use static_fleet::StaticFleet;
pub use stepped_clock::SteppedClock;
pub use undecided_journal::UndecidedJournal;
pub use unused_address::UnusedAddress;
pub use watched_servers::WatchedServers;
pub use yaml::read_yaml;
