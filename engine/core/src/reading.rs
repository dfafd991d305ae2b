use serde::{Deserialize, Serialize};

use crate::{Digest, Histogram, NodeId, Timestamp};

/// What a node's counters for one module said at one moment. Counters rise from the
/// start of the node's process, told by `boot`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReading {
    /// The node.
    pub node: NodeId,
    /// Different for every start of the node's process: counters begin anew with it.
    pub boot: String,
    /// When it was taken, by the engine's clock.
    pub at: Timestamp,
    /// CPU time that the node's process has used, in milliseconds: a counter.
    pub cpu_millis: u64,
    /// One for each version of the module that has answered since the start.
    pub versions: Vec<VersionReading>,
}

/// What one version of a module has done on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionReading {
    /// Which version.
    pub digest: Digest,
    /// Requests answered: a counter.
    pub requests: u64,
    /// Requests answered with a status of 500 or more, or not at all: a counter.
    pub errors: u64,
    /// CPU time that its instances have used, in microseconds: a counter.
    #[serde(default)]
    pub cpu_micros: u64,
    /// How long the answers took: a counter for each bucket.
    #[serde(default, skip_serializing_if = "Histogram::is_empty")]
    pub latency: Histogram,
    /// Memory of one of its instances, in bytes: a gauge, the moving average of those that
    /// answered lately. Not of all together, which would follow the load.
    pub memory: u64,
}
