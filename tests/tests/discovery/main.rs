//! Discovery through real registries: a Consul, an etcd or a Kubernetes that each test starts for
//! itself.

mod consul;
mod contract;
mod etcd;
mod example;
mod fixture;
mod kubernetes;
mod program;
mod rollouts;
mod suite;
mod writer;
