use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use hotswap_core::{Environment, NodeId};

use crate::NODE_TOKEN;

/// The configuration of a node on free ports, with the token of the tests.
pub fn node_config(
    id: NodeId,
    environment: Environment,
    engine_url: String,
    data_dir: PathBuf,
) -> hotswap_node::Config {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    hotswap_node::Config {
        id,
        environment: Some(environment),
        zone: None,
        labels: BTreeMap::new(),
        data_addr: any_port,
        control_addr: any_port,
        advertise: None,
        engine_url: Some(engine_url),
        is_discovered: false,
        token: hotswap_node::Secret::new(NODE_TOKEN),
        data_dir,
        tls: None,
        engine_tls: Default::default(),
        drain: None,
        limits: hotswap_node::Limits::default(),
        log: Default::default(),
    }
}
