//! Discovery through real registries: a Consul, an etcd, a Kubernetes or a name server that each
//! test starts for itself. `registry_rollouts` rolls out to nodes that are found there.

mod consul;
mod contract;
mod crashes;
mod dns;
mod etcd;
mod fixture;
mod kubernetes;
mod logged;
mod program;
mod slow_name_server;
mod slow_proxy;
mod suite;
mod writer;
