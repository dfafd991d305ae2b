//! Conversions between the engine's types and those of the nodes' protocol.

use hotswap_core::{
    Action, Digest, Histogram, Lifetime, ModuleMetric, ModuleName, ModuleTraffic, ModuleVersion,
    NodeError, NodeId, NodeReading, NodeStarts, ReadSlot, Timestamp, VersionReading,
};
use hotswap_protocol as protocol;

use crate::wire::to_wire_version;

pub(super) fn to_wire_action(action: &Action) -> protocol::Action {
    match action {
        Action::Stage(version) => protocol::Action::Stage(protocol::Stage {
            version: to_wire_version(version),
        }),
        Action::Shift { version, percent } => protocol::Action::Shift(protocol::Shift {
            version: to_wire_version(version),
            percent: *percent,
        }),
        Action::Promote(version) => protocol::Action::Promote(protocol::Promote {
            version: to_wire_version(version),
        }),
        Action::Revert(to) => protocol::Action::Revert(protocol::Revert {
            to: to.as_ref().map(to_wire_version),
        }),
        Action::Restart(version) => protocol::Action::Restart(protocol::Restart {
            version: to_wire_version(version),
        }),
        Action::Settle => protocol::Action::Settle(protocol::Settle {}),
    }
}

/// Fails if a node reports what is not a version or not a digest.
pub(super) fn parse_version(
    module: &ModuleName,
    version: &protocol::Version,
) -> Result<ModuleVersion, NodeError> {
    Ok(ModuleVersion {
        name: module.clone(),
        version: parse_version_number(version)?,
        digest: parse_digest(version)?,
    })
}

/// Bytes of the id of a node's start. Readings are kept in journals.
const MAX_BOOT: usize = 128;

/// A node's counters for a module, read at `at`.
pub(super) fn parse_reading(
    node: &NodeId,
    at: Timestamp,
    status: protocol::ModuleStatus,
) -> Result<NodeReading, NodeError> {
    if status.boot.len() > MAX_BOOT {
        let reason = format!("it reports a boot id of more than {MAX_BOOT} bytes");
        return Err(NodeError::Other(reason));
    }
    let slots = [
        (ReadSlot::Active, status.active),
        (ReadSlot::Staged, status.staged),
        (ReadSlot::Previous, status.previous),
    ];
    let slot = |version: &protocol::Version| {
        let mut slots = slots.iter();
        let found = slots.find(|(_, held)| held.as_ref() == Some(version));
        found.map(|(slot, _)| *slot)
    };
    let versions = status.versions.into_iter();
    let versions: Result<_, _> = versions
        .map(|status| {
            let slot = slot(&status.version);
            parse_version_reading(status, slot)
        })
        .collect();
    let traffic = (status.received).zip(status.finished);
    Ok(NodeReading {
        node: node.clone(),
        boot: status.boot,
        at,
        cpu_millis: status.cpu_millis,
        starts: status.starts.map(|starts| NodeStarts {
            starts: starts.starts,
            crashes: starts.crashes,
        }),
        traffic: traffic.map(|(received, finished)| ModuleTraffic { received, finished }),
        versions: versions?,
    })
}

fn parse_version_reading(
    status: protocol::VersionStatus,
    slot: Option<ReadSlot>,
) -> Result<VersionReading, NodeError> {
    let pairs = status
        .latency
        .iter()
        .map(|bucket| (bucket.bucket, bucket.count));
    let precision = status.latency_precision;
    let latency = Histogram::from_pairs(precision, pairs.collect()).ok_or_else(|| {
        NodeError::Other("it reports latencies in invalid histogram buckets".to_owned())
    })?;
    let client = status.client;
    let client_faults = [client.left, client.slow_uploads, client.slow_readers];
    // Numbers off the wire may be absurd; an overflow must not panic.
    let client_faults = client_faults.into_iter().fold(0, u64::saturating_add);
    let counted = status.requests.saturating_add(client_faults);
    Ok(VersionReading {
        digest: parse_digest(&status.version)?,
        version: Some(parse_version_number(&status.version)?.to_string()),
        generation: status.generation,
        lifetime: status.lifetime.map(|lifetime| Lifetime {
            millis: lifetime.millis,
            crashes: lifetime.crashes,
        }),
        slot,
        requests: status.requests,
        errors: status.errors,
        // A stream counts while it goes on. Nodes of older versions do not tell what is counted.
        in_flight: match status.received {
            0 => status.in_flight,
            received => received.saturating_sub(counted),
        },
        client_faults,
        cpu_micros: status.cpu_micros,
        latency,
        memory: status.memory_bytes,
        memory_sum: status.memory_sum_bytes,
        instances: status.instances,
        refused: status.refused,
        queued: status.queued,
        synthetic: status.synthetic,
        module_metrics: parse_module_metrics(status.metrics, precision)?,
    })
}

/// Takes as many metrics as a node may report, with valid names.
fn parse_module_metrics(
    metrics: Vec<protocol::ModuleMetric>,
    precision: u32,
) -> Result<Vec<ModuleMetric>, NodeError> {
    let known = metrics
        .into_iter()
        .filter(|metric| ModuleMetric::is_name(&metric.name));
    let parse = |metric: protocol::ModuleMetric| {
        let pairs = metric
            .values
            .iter()
            .map(|bucket| (bucket.bucket, bucket.count));
        let values = Histogram::from_pairs(precision, pairs.collect()).ok_or_else(|| {
            NodeError::Other(format!(
                "it reports values of the metric {} in invalid histogram buckets",
                metric.name
            ))
        })?;
        Ok(ModuleMetric {
            name: metric.name,
            requests: metric.requests,
            sum: metric.sum_thousandths,
            values,
        })
    };
    known.take(ModuleMetric::MOST).map(parse).collect()
}

fn parse_version_number(version: &protocol::Version) -> Result<semver::Version, NodeError> {
    hotswap_core::parse_version(&version.version)
        .map_err(|error| NodeError::Other(format!("it reports an invalid version: {error}")))
}

fn parse_digest(version: &protocol::Version) -> Result<Digest, NodeError> {
    version
        .digest
        .parse()
        .map_err(|error| NodeError::Other(format!("it reports an invalid digest: {error}")))
}
