use serde::{Deserialize, Serialize};

use crate::{Digest, Histogram, NodeId, Timestamp};

/// A node's metrics of one module at one moment. Counters start at 0 when the node's process
/// starts, which `boot` identifies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReading {
    /// The node.
    pub node: NodeId,
    /// Different for each start of the node's process. All counters start over with it.
    pub boot: String,
    /// When the reading was taken, by the engine's clock.
    pub at: Timestamp,
    /// CPU time of the node's process in milliseconds: a counter.
    pub cpu_millis: u64,
    /// One for each version of the module that has answered since the process started.
    pub versions: Vec<VersionReading>,
}

/// The metrics of one version of a module on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionReading {
    /// The digest of the version.
    pub digest: Digest,
    /// Requests answered: a counter.
    pub requests: u64,
    /// Requests answered with a status of 500 or more, or not at all: a counter.
    pub errors: u64,
    /// CPU time of its instances in microseconds: a counter.
    #[serde(default)]
    pub cpu_micros: u64,
    /// The latency of its answers: a counter for each bucket.
    #[serde(default, skip_serializing_if = "Histogram::is_empty")]
    pub latency: Histogram,
    /// Memory of one of its instances in bytes: a gauge, the moving average of the instances
    /// that answered last. Not their sum, which would follow the load.
    pub memory: u64,
}
