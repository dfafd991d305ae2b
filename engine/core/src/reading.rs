use serde::{Deserialize, Serialize};

use crate::{Digest, Histogram, ModuleMetric, ModuleVersion, NodeId, Timestamp};

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
    /// The starts of the node. `None` from nodes of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<NodeStarts>,
    /// What was received for the module. `None` from nodes of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<ModuleTraffic>,
    /// One for each version of the module that has answered since the process started.
    pub versions: Vec<VersionReading>,
}

/// How often a node's process has started on its data folder, and how it ended before. Counters
/// that survive the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStarts {
    /// How often it has started.
    pub starts: u64,
    /// How often it had started before and ended without a shutdown: it crashed, was killed, or
    /// its machine went down.
    pub crashes: u64,
}

/// How long processes have run, and how often they ended without a shutdown in that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifetime {
    /// The time of all of them together, in milliseconds.
    pub millis: u64,
    /// How often they crashed, or were killed.
    pub crashes: u64,
}

impl Lifetime {
    /// Adds the lifetime of another process, or of a later time.
    pub fn add(&mut self, other: Self) {
        self.millis = self.millis.saturating_add(other.millis);
        self.crashes = self.crashes.saturating_add(other.crashes);
    }
}

/// The requests for a module that a node has received since its process started, whatever version
/// they went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleTraffic {
    /// All of them: read after the counters of the versions.
    pub received: u64,
    /// Those that have ended: read before the counters of the versions.
    pub finished: u64,
}

/// Where a node holds a version of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReadSlot {
    /// It serves requests.
    Active,
    /// It is loaded beside the active one.
    Staged,
    /// It was active before.
    Previous,
}

/// The metrics of one version of a module on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionReading {
    /// The digest of the version. Several versions can have the same: their bytes are.
    pub digest: Digest,
    /// The version, such as `1.2.3`. `None` in journals of older engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Tells these counters from others of the same version, which began at 0, too, on the same
    /// start of the node. 0 from nodes of older versions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u64,
    /// How long the node has served requests with it, and how its process fared. `None` where it
    /// never was the active version, and from nodes of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Lifetime>,
    /// Where the node holds it. `None` if it does not any more, and in older journals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<ReadSlot>,
    /// Requests that the version answered or failed: a counter.
    pub requests: u64,
    /// Of these, requests answered with a status of 500 or more, or not completely: a counter.
    pub errors: u64,
    /// Requests in progress that are not counted yet: a gauge. If the process ends now, they are
    /// lost.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub in_flight: u64,
    /// Requests that came to nothing because their clients left or were too slow: a counter. No
    /// version is at fault.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub client_faults: u64,
    /// CPU time of its instances in microseconds: a counter.
    #[serde(default)]
    pub cpu_micros: u64,
    /// The latency of its answers: a counter for each bucket.
    #[serde(default, skip_serializing_if = "Histogram::is_empty")]
    pub latency: Histogram,
    /// Memory of one of its instances in bytes: a gauge, the moving average of the instances
    /// that answered last. Not their sum, which would follow the load.
    pub memory: u64,
    /// The sum of the memory of all `instances`, each at the end of its request, in bytes: a
    /// counter.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory_sum: u64,
    /// Instances that have run to the end of their request: a counter. 0 from nodes of older
    /// versions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub instances: u64,
    /// Of `requests`, those that were refused because too many ran: a counter.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
    /// Requests that waited for others to end before they ran: a counter.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub queued: u64,
    /// Requests that the node itself has sent: a counter.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub synthetic: u64,
    /// The metrics of the module's own, at most [`ModuleMetric::MOST`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub module_metrics: Vec<ModuleMetric>,
}

impl VersionReading {
    /// Whether these are the metrics of `module`. Where several versions have the same bytes, their
    /// names tell them apart.
    pub fn is_of(&self, module: &ModuleVersion) -> bool {
        let has_name = |version: &String| *version == module.version.to_string();
        self.digest == module.digest && self.version.as_ref().is_none_or(has_name)
    }

    /// Whether these counters have gone on from `earlier`, on the same start of the node.
    pub fn continues(&self, earlier: &Self) -> bool {
        let has_same_name = match (&self.version, &earlier.version) {
            (Some(name), Some(earlier)) => name == earlier,
            _ => true,
        };
        let is_same_generation = earlier.generation == 0 || self.generation == earlier.generation;
        self.digest == earlier.digest && has_same_name && is_same_generation
    }

    /// All requests that are counted here.
    pub fn counted(&self) -> u64 {
        self.requests.saturating_add(self.client_faults)
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
