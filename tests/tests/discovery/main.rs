//! Discovery through real registries: a Consul and an etcd that each test starts for itself.

mod consul;
mod etcd;
mod fixture;
mod program;
mod rollouts;
mod suite;
