//! Conversions between the engine's types and those of the nodes' protocol.

use hotswap_core::{
    Action, Digest, Histogram, ModuleName, ModuleVersion, NodeError, NodeId, NodeReading,
    Timestamp, VersionReading,
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
        version: hotswap_core::parse_version(&version.version)
            .map_err(|error| NodeError::Other(format!("it reports an invalid version: {error}")))?,
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
    let versions: Result<_, _> = status
        .versions
        .into_iter()
        .map(parse_version_reading)
        .collect();
    Ok(NodeReading {
        node: node.clone(),
        boot: status.boot,
        at,
        cpu_millis: status.cpu_millis,
        versions: versions?,
    })
}

fn parse_version_reading(status: protocol::VersionStatus) -> Result<VersionReading, NodeError> {
    let pairs = status
        .latency
        .iter()
        .map(|bucket| (bucket.bucket, bucket.count));
    let precision = status.latency_precision;
    let latency = Histogram::from_pairs(precision, pairs.collect()).ok_or_else(|| {
        NodeError::Other("it reports latencies in invalid histogram buckets".to_owned())
    })?;
    Ok(VersionReading {
        digest: parse_digest(&status.version)?,
        requests: status.requests,
        errors: status.errors,
        cpu_micros: status.cpu_micros,
        latency,
        memory: status.memory_bytes,
    })
}

fn parse_digest(version: &protocol::Version) -> Result<Digest, NodeError> {
    version
        .digest
        .parse()
        .map_err(|error| NodeError::Other(format!("it reports an invalid digest: {error}")))
}
