//! The protocol between the engine and its nodes: JSON over HTTP.
//!
//! | request | sender | purpose |
//! |---|---|---|
//! | `PUT /v1/modules/{module}/operations/{operation}` | engine | carry out an [`OrderRequest`] |
//! | `POST /v1/modules/{module}/probe` | engine | probe the staged version |
//! | `GET /v1/modules/{module}`, `GET /v1/status` | engine | read slots and counters |
//! | `PUT /api/v1/nodes/{id}` | node | register |
//! | `POST /api/v1/nodes/{id}/heartbeat` | node | report health |
//! | `GET /api/v1/artifacts/{digest}` | node | fetch an artifact |
//!
//! A node answers an order with 204 when it has carried it out, and otherwise with an RFC
//! 9457 problem, such as `urn:hotswap:problem:fenced` (409) or `urn:hotswap:problem:refused`
//! (422). Both sides send the node token as `Authorization: Bearer …`.
//!
//! Nodes use the types as OpenAPI objects, the engine uses them through serde. Both produce
//! the same JSON.

mod problem;

use std::collections::BTreeMap;

use poem_openapi::{Enum, Object, Union};
use serde::{Deserialize, Serialize};

pub use problem::Problem;

/// The largest artifact that an engine takes and a node fetches, in bytes.
pub const MAX_ARTIFACT_BYTES: u64 = 256 << 20;

/// An order from the engine to a node. The path holds the operation id. A node carries out
/// an operation once, no matter how often it is sent, and answers the same each time.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct OrderRequest {
    /// Fence of the sender's lease. A node rejects an order whose fence is lower than the
    /// highest that it has seen for the module.
    pub fence: u64,
    /// Id of the deployment that the order belongs to.
    pub deployment: String,
    /// What to do.
    pub action: Action,
}

/// What to do with a module. The field `type` selects the action.
#[derive(Debug, Clone, PartialEq, Eq, Union, Serialize, Deserialize)]
#[oai(one_of, discriminator_name = "type")]
#[serde(tag = "type")]
pub enum Action {
    /// Fetch, verify, compile and load a version into the slot `staged`.
    #[oai(mapping = "stage")]
    #[serde(rename = "stage")]
    Stage(Stage),
    /// Route a percentage of the requests to the staged version.
    #[oai(mapping = "shift")]
    #[serde(rename = "shift")]
    Shift(Shift),
    /// Make the staged version the active one.
    #[oai(mapping = "promote")]
    #[serde(rename = "promote")]
    Promote(Promote),
    /// Make a version active again, and empty the other slots.
    #[oai(mapping = "revert")]
    #[serde(rename = "revert")]
    Revert(Revert),
    /// End a deployment: empty the slots `staged` and `previous`.
    #[oai(mapping = "settle")]
    #[serde(rename = "settle")]
    Settle(Settle),
}

/// Load a version into the slot `staged`, beside the active one.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// The version to load.
    pub version: Version,
}

/// Route a percentage of the requests to the staged version.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shift {
    /// The staged version. The node rejects the order if another one is staged.
    pub version: Version,
    /// Percentage of requests, 0 to 100.
    #[oai(validator(maximum(value = "100")))]
    pub percent: u8,
}

/// Make the staged version the active one.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promote {
    /// The staged version. The node rejects the order if another one is staged.
    pub version: Version,
}

/// Make a version active again, and empty the other slots.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct Revert {
    /// The version to make active. Absent if no version was active before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Version>,
}

/// Empty the slots `staged` and `previous`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Object, Serialize, Deserialize)]
pub struct Settle {}

/// A version of a module.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Semantic version.
    pub version: String,
    /// Digest of the artifact: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
}

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
    /// Counters of the versions that were loaded since the node started: those in slots, and
    /// the latest before them.
    pub versions: Vec<VersionStatus>,
}

/// Counters of one version of a module since the node started.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// The version.
    pub version: Version,
    /// Completed requests, with or without a response.
    pub requests: u64,
    /// Requests with status 500 or above, or without a complete response.
    pub errors: u64,
    /// Requests in progress.
    pub in_flight: u64,
    /// CPU time of the version's instances, in microseconds. An estimate: the beginning of a
    /// request is measured for only one in eight requests.
    #[serde(default)]
    pub cpu_micros: u64,
    /// Latency histogram, as in `hotswap_core::Histogram`. Only buckets with a count above
    /// zero.
    pub latency: Vec<Bucket>,
    /// Linear memory of one instance at the end of a request, in bytes: a moving average over
    /// the latest requests, so that it does not depend on the load.
    pub memory_bytes: u64,
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

/// A request to the staged version that bypasses all routing.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct ProbeRequest {
    /// The staged version. The node rejects the probe if another one is staged.
    pub version: Version,
    /// Path and query of the request, beginning with `/`.
    pub path: String,
    /// How long to wait for the response, in milliseconds. At most 60,000.
    pub timeout_millis: u64,
}

/// Response of the staged version to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeAnswer {
    /// The HTTP status; 504 if there was no response in time.
    pub status: u16,
    /// The first 64 KiB of the body, with invalid UTF-8 replaced.
    pub body: String,
}

/// What a node reports about itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// Environment that the node belongs to.
    pub environment: String,
    /// Where the node is located.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Labels from the operator.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// URL of the control port: `http://host:port`.
    pub control_url: String,
    /// URL of the data port: `http://host:port`.
    pub data_url: String,
    /// The highest fence that the node has seen, over all its modules. An engine whose store
    /// is new or restored goes on above it.
    #[oai(default)]
    #[serde(default)]
    pub highest_fence: u64,
}

/// The engine's answer to a registration.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// Interval between heartbeats, in milliseconds.
    pub heartbeat_millis: u64,
}

/// Periodic report of a node. The engine answers 404 if it does not know the node, which
/// must then register again.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// Health of the node.
    pub health: NodeHealth,
    /// Why the health is not `passing`, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// As [`Registration::highest_fence`].
    #[oai(default)]
    #[serde(default)]
    pub highest_fence: u64,
}

/// Health of a node, as the node reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub enum NodeHealth {
    /// No problems.
    Passing,
    /// A problem that an operator should look at.
    Warning,
}
