use std::collections::BTreeMap;

use hotswap_core::Health;
use hotswap_fleet::discovery::Instance;
use hotswap_plugins::discovery::{Registration, registration};

use crate::SERVICE;

/// How many a large fleet has.
pub const INSTANCES: usize = 10_000;

/// One of a large fleet.
pub fn instance(number: usize) -> Instance {
    Instance {
        id: format!("node-{number:05}").parse().expect("an id"),
        environment: Some("production".parse().expect("a name")),
        zone: Some("eu-west-1".to_owned()),
        version: Some("0.1.0".to_owned()),
        labels: BTreeMap::from([("tier".to_owned(), "edge".to_owned())]),
        control_url: Some("http://10.0.0.1:5001".to_owned()),
        data_url: Some("http://10.0.0.1:8080".to_owned()),
        health: Health::Passing,
    }
}

/// The one instance that changes: its port tells one change from the next.
pub fn instance_at(port: u16) -> Registration {
    registration(SERVICE, "node-1", "10.0.0.1", &[("control", port)])
}
