//! Discovery through real registries: a Consul, an etcd, a Kubernetes or a name server that each
//! test starts for itself.

mod consul;
mod contract;
mod crashes;
mod dns;
mod etcd;
mod example;
mod fixture;
mod found;
mod http_checks;
mod kubernetes;
mod logged;
mod program;
mod rollouts;
mod slow_name_server;
mod slow_proxy;
mod source_feed;
mod suite;
mod writer;
