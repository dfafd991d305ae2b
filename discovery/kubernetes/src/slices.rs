//! Makes instances of EndpointSlices.

use std::collections::BTreeMap;

use hotswap_sdk::discovery::{Error, Health, Instance, Port, unite};

use crate::pods::Labels;
use crate::wire::{Conditions, Endpoint, EndpointSlice, SlicePort};

/// Labels that say what an instance has fields for.
const VERSION: &str = "app.kubernetes.io/version";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The endpoints of all slices, each once. A service has a slice for each hundred endpoints, and
/// one for each family of addresses; while the controller moves an endpoint it is in two.
///
/// # Errors
/// [`Error::Protocol`] if an endpoint has no address.
pub fn instances(
    mut slices: Vec<EndpointSlice>,
    labels: &Labels,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<Instance>, Error> {
    // Of a pod with two addresses the one of IPv4 counts.
    slices.sort_by(|a, b| a.address_type.cmp(&b.address_type));
    let mut instances = Vec::new();
    for slice in slices {
        let ports = ports(slice.ports.unwrap_or_default());
        for endpoint in slice.endpoints.unwrap_or_default() {
            let found = instance(endpoint, labels, metadata)?;
            let ports = ports.clone();
            instances.push(Instance { ports, ..found });
        }
    }
    // Of two slices that say different things of one pod, the worse is the older one: the better
    // health counts, as for Kubernetes' own proxies.
    Ok(unite(instances))
}

fn ports(ports: Vec<SlicePort>) -> Vec<Port> {
    let ports = ports.into_iter().filter_map(|port| {
        Some(Port {
            name: port.name.unwrap_or_default(),
            // Without a number it means all ports.
            number: port.port.filter(|number| *number != 0)?,
        })
    });
    ports.collect()
}

fn instance(
    endpoint: Endpoint,
    labels: &Labels,
    metadata: &BTreeMap<String, String>,
) -> Result<Instance, Error> {
    let address = endpoint.addresses.into_iter().next();
    let address =
        address.ok_or_else(|| Error::Protocol("an endpoint has no address".to_owned()))?;
    let pod = endpoint.target_ref.filter(|target| target.kind == "Pod");
    let id = match (&pod, &endpoint.hostname) {
        (Some(pod), _) => pod.name.clone(),
        (None, Some(hostname)) => hostname.clone(),
        // As ids may be.
        (None, None) => address.replace(':', "-"),
    };
    let mut metadata = metadata.clone();
    if let Some(labels) = labels.get(&id).filter(|_| pod.is_some()) {
        metadata.extend(labels.clone());
    }
    Ok(Instance {
        id,
        health: health(&endpoint.conditions.unwrap_or_default()),
        version: metadata.remove(VERSION),
        zone: endpoint.zone.or_else(|| metadata.remove(ZONE)),
        metadata: metadata.into_iter().collect(),
        ..hotswap_sdk::discovery::instance(address)
    })
}

/// What is not said of readiness means yes; of serving, the same as of readiness; of termination,
/// no.
fn health(conditions: &Conditions) -> Health {
    let is_ready = conditions.ready.unwrap_or(true);
    let is_serving = conditions.serving.unwrap_or(is_ready);
    match (
        conditions.terminating.unwrap_or(false),
        is_ready,
        is_serving,
    ) {
        (false, true, _) => Health::Passing,
        // It ends, and still serves; or it serves, and should get no new requests.
        (_, _, true) => Health::Warning,
        (_, _, false) => Health::Critical,
    }
}
