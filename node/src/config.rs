use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hotswap_common::tls::{ClientTls, ServerTls};
use hotswap_common::{RecentLog, Secret};
use hotswap_core::{Environment, NodeId};

/// Configuration of a node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the node, unique among the nodes of an engine.
    pub id: NodeId,
    /// Environment that the node belongs to. `None` for the one whose selector, in the engine's
    /// configuration, matches the node's labels.
    pub environment: Option<Environment>,
    /// Where the node is located, if that matters. Selectors see it as the label `zone`.
    pub zone: Option<String>,
    /// Labels from the operator: at most 64, with the keys and values that Kubernetes allows.
    /// Deployments and environments select nodes by them.
    pub labels: BTreeMap<String, String>,
    /// Address for requests to modules. Port 0 takes a free port.
    pub data_addr: SocketAddr,
    /// Address for the control API. Port 0 takes a free port.
    pub control_addr: SocketAddr,
    /// Host by which the engine and clients reach the node, if it is not the address that
    /// the node listens on: a name, or an IP address (version 6 in brackets). Without it, a
    /// node that listens on all addresses registers the one by which it reaches the engine.
    pub advertise: Option<String>,
    /// URL of the engine: `http://host:port` or `https://host:port`. A node without an engine does not register. Until an
    /// engine asks it, it runs only artifacts that are already on its disk.
    pub engine_url: Option<String>,
    /// Whether an engine will find the node in a registry. Such a node is not ready before an
    /// engine has told it what to run, even if it has no `engine_url`.
    pub is_discovered: bool,
    /// Token that engine and node share. Each sends it with its requests to the other.
    pub token: Secret,
    /// Directory for slots and artifacts, created if absent. Only one node at a time may
    /// use it.
    pub data_dir: PathBuf,
    /// TLS of both ports. If it asks for certificates, orders need one; requests to modules and
    /// health checks need none.
    pub tls: Option<ServerTls>,
    /// TLS of requests to the engine.
    pub engine_tls: ClientTls,
    /// How long requests and orders under way may take to end on [`Node::shutdown`], once the ports
    /// are closed. `None` for two seconds more than a request may take.
    ///
    /// [`Node::shutdown`]: crate::Node::shutdown
    pub drain: Option<Duration>,
    /// What one module may use.
    pub limits: Limits,
    /// The end of the log of this process, which the node gives to its engine. Whoever sets up the
    /// log fills it.
    pub log: RecentLog,
}

/// What one module may use on a node.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Linear memory of one instance, in bytes, over all its memories. Default 128 MiB.
    pub memory_bytes: usize,
    /// Linear memory of all instances of the node together, in bytes. A request for which it is not
    /// left waits for [`Limits::queue_timeout`], then gets a 503. `None`, the default, for no limit;
    /// see [`instance_memory`](crate::instance_memory).
    pub total_memory_bytes: Option<usize>,
    /// Time from the head of a request to the end of the response body. Default 30 s.
    pub request_timeout: Duration,
    /// Requests that one version handles at the same time. Further requests wait for
    /// [`Limits::queue_timeout`], then get a 503. Default 1000.
    pub concurrency: u32,
    /// How long a request waits for another one to end. Default 250 ms.
    pub queue_timeout: Duration,
    /// How long a client may take to send the head of a request, or leave a connection
    /// idle. Default 30 s.
    pub header_timeout: Duration,
    /// Open connections on one port. Further clients wait to be accepted. Default 16,384.
    pub connections: usize,
    /// Largest artifact that the node fetches, in bytes. Default 256 MiB.
    pub artifact_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 128 << 20,
            total_memory_bytes: None,
            request_timeout: Duration::from_secs(30),
            concurrency: 1000,
            queue_timeout: Duration::from_millis(250),
            header_timeout: Duration::from_secs(30),
            connections: 16_384,
            artifact_bytes: hotswap_protocol::MAX_ARTIFACT_BYTES,
        }
    }
}
