//! What happened between two readings of a soak: the input of the judge.

use std::time::Duration;

use crate::{Histogram, ModuleMetric, NodeId};

/// What one node did between two readings of a soak.
///
/// # Guarantees
/// Whoever makes these counts each request once: the sum over all intervals of a soak never
/// exceeds what the node was sent in it, for each version. The judge cannot find that out.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInterval {
    /// The node.
    pub node: NodeId,
    /// The time between the two readings, by the engine's monotonic clock.
    pub elapsed: Duration,
    /// What the new version did, on a node of the canary.
    pub canary: Option<VersionInterval>,
    /// What the previous version did, on a node of the baseline. A node on both sides runs both
    /// versions.
    pub baseline: Option<VersionInterval>,
}

/// What one version did on one node between two readings: differences of its counters, and its
/// gauges at the end.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VersionInterval {
    /// Requests answered.
    pub requests: u64,
    /// Of these, requests that the version failed: never those that a client broke off or that
    /// were not valid.
    pub errors: u64,
    /// The latency of the answers.
    pub latency: Histogram,
    /// CPU time of the version's instances, in microseconds.
    pub cpu_micros: u64,
    /// Memory of one instance in bytes. `None` if the version is not loaded.
    pub memory: Option<u64>,
    /// How often the node's process ended unexpectedly while the version was active.
    pub restarts: u64,
    /// Requests that were accepted and never answered, because the process ended.
    pub lost: u64,
    /// Of `requests`, those that were refused because too many ran.
    pub refused: u64,
    /// Requests that waited for others to end before they ran.
    pub queued: u64,
    /// The metrics of the module's own.
    pub module_metrics: Vec<ModuleMetric>,
}
