//! The protocol between the engine and its nodes: JSON over HTTP.
//!
//! | request | sender | purpose |
//! |---|---|---|
//! | `PUT /v1/modules/{module}/operations/{operation}` | engine | carry out an [`OrderRequest`] |
//! | `POST /v1/modules/{module}/probe` | engine | probe the new version |
//! | `POST /v1/modules/{module}/synthetic` | engine | send a [`SyntheticRequest`] |
//! | `GET /v1/modules/{module}`, `GET /v1/status` | engine | read slots and counters |
//! | `GET /v1/identity` | engine | have a node prove that it is one: [`Identity`] |
//! | `POST /v1/poll` | engine | ask a node that does not report in by itself |
//! | `PUT /api/v1/nodes/{id}` | node | register |
//! | `POST /api/v1/nodes/{id}/heartbeat` | node | report health and modules |
//! | `GET /api/v1/artifacts/{digest}` | node | fetch an artifact |
//!
//! A node answers an order with 204 when it has carried it out, with 202 and an
//! [`OrderProgress`] while it does, and otherwise with an RFC 9457 problem, such as
//! `urn:hotswap:problem:fenced` (409) or `urn:hotswap:problem:refused` (422). Both sides send
//! the node token as `Authorization: Bearer …`, but for `/v1/identity`: an engine that has an address
//! from a registry does not know yet who is there.
//!
//! Addresses are reused. So each request of the engine says which node it is for, in the
//! headers [`NODE_HEADER`] and [`BOOT_HEADER`], and each response says in the same headers
//! which node has answered. A node that gets the request of another one answers
//! `urn:hotswap:problem:wrong-node` (421).
//!
//! Nodes use the types as OpenAPI objects, the engine uses them through serde. Both produce
//! the same JSON.

#![cfg_attr(
    not(test),
    warn(clippy::expect_used, clippy::panic, clippy::unreachable)
)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod order;
mod poll;
mod problem;
mod registration;
mod slots;

use poem_openapi::Object;
use serde::{Deserialize, Serialize};

pub use order::{
    Action, LoadPhase, OrderProgress, OrderRequest, Promote, Restart, Revert, Settle, Shift, Stage,
    Version,
};
pub use poll::{Identity, PollAnswer, PollRequest};
pub use problem::Problem;
pub use registration::{
    Cordon, DesiredVersion, DesiredVersions, Heartbeat, HeartbeatAnswer, NodeHealth, Readiness,
    Registered, Registration, Traffic,
};
pub use slots::{ModuleReport, Slot, SlotFault};

/// The header that names a node: in a request the one that it is for, in a response the one
/// that answers.
pub const NODE_HEADER: &str = "hotswap-node";

/// The header with the random id of a node's start, beside [`NODE_HEADER`].
pub const BOOT_HEADER: &str = "hotswap-boot";

/// The largest artifact that an engine takes and a node fetches, in bytes.
pub const MAX_ARTIFACT_BYTES: u64 = 256 << 20;

/// Slots of a module on a node, and counters of its versions.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct ModuleStatus {
    /// Name of the module.
    pub module: String,
    /// The version that serves requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Version>,
    /// The version that is loaded beside the active one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Version>,
    /// The version that was active before. It is still loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Version>,
    /// Percentage of requests that the staged version serves, 0 to 100.
    pub percent: u8,
    /// Highest fence that the node has seen for the module.
    pub fence: u64,
    /// Random id of this start of the node. Counters begin at zero with each start.
    pub boot: String,
    /// CPU time that the node's process has used, in milliseconds.
    pub cpu_millis: u64,
    /// How often the node has started. Absent from nodes of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<Starts>,
    /// Requests that were routed to a version of the module since the node started. Absent from
    /// nodes of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// Those of them that have ended. What `versions` count more than in an earlier status is at
    /// most `received` minus the earlier status' `finished`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<u64>,
    /// Counters of the versions that were loaded since the node started: those in slots, and
    /// the latest before them.
    pub versions: Vec<VersionStatus>,
    /// The versions in slots that the node cannot load.
    #[oai(default)]
    #[serde(default)]
    pub faults: Vec<SlotFault>,
}

/// How often a node's process has started on its data folder, and how it ended before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct Starts {
    /// How often it has started, this time included.
    pub starts: u64,
    /// How often the start before had ended without a shutdown: it crashed, was killed, or its
    /// machine went down.
    pub crashes: u64,
}

/// How long a version was the active one on a node, over all starts of the node's process, and how
/// that fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct Lifetime {
    /// The time in milliseconds, at most 90 days. The time in which the node was down counts.
    pub millis: u64,
    /// How often the node started without a shutdown before, since the version became active.
    pub crashes: u64,
}

/// Counters of one version of a module on a node.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// The version.
    pub version: Version,
    /// Tells these counters from others of the same version that began at zero on this start of
    /// the node: the version was removed and loaded again. 0 from nodes of older versions.
    #[oai(default)]
    #[serde(default)]
    pub generation: u64,
    /// How often it was loaded since these counters began: once, and once more for each restart.
    /// 0 from nodes of older versions.
    #[oai(default)]
    #[serde(default)]
    pub loads: u64,
    /// How long it has been the active version, if it is in the slot `active` or `previous`. Absent
    /// from nodes of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Lifetime>,
    /// Requests that the version answered or failed, long streams included. Not those that came
    /// to nothing because of their clients.
    pub requests: u64,
    /// Of these, requests with status 500 or above, or without a complete response.
    pub errors: u64,
    /// Requests in progress.
    pub in_flight: u64,
    /// Requests that were routed to the version since these counters began, whatever became of
    /// them. What is neither in `requests` nor in `client` is lost if the process ends now. 0 from
    /// nodes of older versions.
    #[oai(default)]
    #[serde(default)]
    pub received: u64,
    /// Of `requests`, responses whose body the version has written for more than 5 seconds.
    #[oai(default)]
    #[serde(default)]
    pub streams: u64,
    /// Requests that came to nothing because of their clients.
    #[oai(default)]
    #[serde(default)]
    pub client: ClientFaults,
    /// Of `requests`, those that were refused because too many ran.
    #[oai(default)]
    #[serde(default)]
    pub refused: u64,
    /// Requests that waited for others to end before they ran, or were refused.
    #[oai(default)]
    #[serde(default)]
    pub queued: u64,
    /// CPU time of the version's instances, in microseconds. An estimate: the beginning of a
    /// request is measured for only one in eight requests.
    #[serde(default)]
    pub cpu_micros: u64,
    /// Latency histogram, as in `hotswap_core::Histogram`. Only buckets with a count above
    /// zero. The time that the version took to answer, without that in which it waited for its
    /// client; at most 5 seconds of the body. Holds the requests, and the waits of clients that
    /// left after a second or more.
    pub latency: Vec<Bucket>,
    /// How finely the latencies are measured: each power of two has two to the power of this
    /// buckets.
    #[serde(default = "old_latency_precision")]
    pub latency_precision: u32,
    /// Linear memory of one instance at the end of a request, in bytes: a moving average over
    /// the latest requests, so that it does not depend on the load.
    pub memory_bytes: u64,
    /// The sum of the memory of all `instances`, each at the end of its request, in bytes.
    #[oai(default)]
    #[serde(default)]
    pub memory_sum_bytes: u64,
    /// Instances that have run to the end of their request.
    #[oai(default)]
    #[serde(default)]
    pub instances: u64,
    /// The metrics that the version names in its responses, in the header `hotswap-metrics`. At
    /// most 8, and only of versions in slots.
    #[oai(default)]
    #[serde(default)]
    pub metrics: Vec<ModuleMetric>,
    /// How many metrics of responses were ignored: not readable, or of too many names.
    #[oai(default)]
    #[serde(default)]
    pub ignored_metrics: u64,
    /// Requests that the node itself has sent to the version.
    #[oai(default)]
    #[serde(default)]
    pub synthetic: u64,
}

/// Counters of one metric that a version names in its responses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct ModuleMetric {
    /// Its name.
    pub name: String,
    /// Requests whose responses named it.
    pub requests: u64,
    /// The sum of their values, in thousandths.
    pub sum_thousandths: u64,
    /// A histogram of their values, each as so many milliseconds, in the buckets of the latencies.
    pub values: Vec<Bucket>,
}

/// The precision of nodes that do not tell it.
fn old_latency_precision() -> u32 {
    3
}

/// Requests that came to nothing because of their clients. No version is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct ClientFaults {
    /// The client left before it had the whole answer, or before its own request was complete.
    pub left: u64,
    /// The client sent its request too slowly for the module's time limit. It got a 408.
    pub slow_uploads: u64,
    /// The client read the answer too slowly for the module's time limit.
    pub slow_readers: u64,
}

/// One bucket of a latency histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    /// Number of the bucket.
    pub bucket: u16,
    /// Requests in the bucket.
    pub count: u64,
}

/// State of a node and its modules.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Name of the node.
    pub id: String,
    /// Version of the HotSwap program.
    pub version: String,
    /// Random id of this start of the node.
    pub boot: String,
    /// CPU time that the process has used, in milliseconds.
    pub cpu_millis: u64,
    /// Resident memory of the process, in bytes.
    pub memory_bytes: u64,
    /// All modules of the node, sorted by name.
    pub modules: Vec<ModuleStatus>,
}

/// What a node tells of itself, for a report of a fault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// Name of the node.
    pub id: String,
    /// Version of the HotSwap program.
    pub version: String,
    /// The last entries of the node's log, oldest first: as many as fit into 1 MiB, 2000 at most.
    pub log: Vec<String>,
    /// How many older entries were dropped.
    pub dropped_log_entries: u64,
}

/// A request to one version that bypasses all routing.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct ProbeRequest {
    /// The staged version, or the active one. The node rejects the probe if it is neither.
    pub version: Version,
    /// Path and query of the request, beginning with `/`.
    pub path: String,
    /// How long to wait for the response, in milliseconds. At most 60,000.
    pub timeout_millis: u64,
}

/// Requests that the node is to send to versions of a module itself.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct SyntheticRequest {
    /// The new version.
    pub version: Version,
    /// Whether it gets requests, where it is active or staged.
    pub to_version: bool,
    /// Whether the active version gets requests, where it is another one.
    pub to_others: bool,
    /// Path and query of each request, beginning with `/`.
    pub path: String,
    /// How many requests each of these versions gets in a second, 0.01 to 100.
    pub rate_per_second: f64,
    /// For how long, in milliseconds. At most two hours. 0 ends what was asked for before.
    pub lasting_millis: u64,
}

/// Response of the version to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeAnswer {
    /// The HTTP status; 504 if there was no response in time.
    pub status: u16,
    /// The first 64 KiB of the body, with invalid UTF-8 replaced.
    pub body: String,
}
