mod fake_node;
mod faults;
mod identity;
mod prober;
mod protocol;
mod slow_orders;

use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{
    Action, Digest, Environment, Fence, ModuleName, ModuleVersion, NodeId, Order, SystemClock,
};

use crate::fixture::{MemoryCatalogue, node, registration};
use crate::{HttpFleet, Options, Registry};

const TOKEN: &str = "a-very-secret-token";

/// Short, so that tests of time-outs are short too.
fn options() -> Options {
    Options {
        request_timeout: Duration::from_secs(1),
        patience: Duration::from_millis(500),
        ..Options::default()
    }
}

async fn registry() -> Registry {
    let (store, clock) = (Arc::<MemoryCatalogue>::default(), Arc::new(SystemClock));
    let loaded = Registry::load(store, clock, Registry::DEFAULT_INTERVAL).await;
    loaded.expect("it loads")
}

/// A fleet of nodes at these addresses, named `node-0`, `node-1` and so on.
async fn fleet(addresses: &[&str]) -> (HttpFleet, Registry) {
    let registry = registry().await;
    for (number, address) in addresses.iter().enumerate() {
        register(&registry, number, address).await;
    }
    let fleet = HttpFleet::new(registry.clone(), TOKEN, options()).expect("it is set up");
    (fleet, registry)
}

async fn register(registry: &Registry, number: usize, address: &str) -> NodeId {
    let id = node(&format!("node-{number}"));
    let registered = registry.register(id.clone(), registration("production", address));
    registered.await.expect("it registers");
    id
}

fn production() -> Environment {
    "production".parse().expect("an environment")
}

fn shop() -> ModuleName {
    "shop".parse().expect("a module name")
}

fn version() -> ModuleVersion {
    ModuleVersion {
        name: shop(),
        version: semver::Version::new(1, 2, 3),
        digest: Digest::of(b"v1"),
    }
}

fn order(action: Action) -> Order {
    Order {
        operation: "7-stage/node 0".to_owned(),
        fence: Fence(42),
        deployment: hotswap_core::DeploymentId::from_bytes([7; 16]),
        environment: "production".parse().unwrap(),
        module: shop(),
        action,
    }
}
