//! Makes instances of EndpointSlices.

use std::collections::BTreeMap;

use hotswap_sdk::discovery::{Error, Health, Instance, Port};

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
pub fn unite(
    mut slices: Vec<EndpointSlice>,
    labels: &Labels,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<Instance>, Error> {
    // Of a pod with two addresses the one of IPv4 counts.
    slices.sort_by(|a, b| a.address_type.cmp(&b.address_type));
    let mut instances: BTreeMap<String, Instance> = BTreeMap::new();
    for slice in slices {
        let ports = ports(slice.ports.unwrap_or_default());
        for endpoint in slice.endpoints.unwrap_or_default() {
            let mut found = instance(endpoint, labels, metadata)?;
            found.ports.clone_from(&ports);
            match instances.get_mut(&found.id) {
                Some(known) => merge(known, found),
                None => {
                    instances.insert(found.id.clone(), found);
                }
            }
        }
    }
    Ok(instances.into_values().collect())
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

/// Adds what another slice says of an instance. The better health counts, as for Kubernetes' own
/// proxies: the slice that says worse is the older one.
fn merge(known: &mut Instance, found: Instance) {
    let rank = |health: Health| match health {
        Health::Passing => 0,
        Health::Warning => 1,
        Health::Critical => 2,
        Health::Unknown => 3,
    };
    if rank(found.health) < rank(known.health) {
        known.health = found.health;
    }
    for port in found.ports {
        if known.ports.iter().all(|own| own.name != port.name) {
            known.ports.push(port);
        }
    }
}
