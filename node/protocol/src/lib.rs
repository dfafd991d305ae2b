//! What the engine and a node say to each other, in JSON over HTTP.
//!
//! The engine gives orders at `PUT /v1/modules/{module}/operations/{operation}` and reads
//! `GET /v1/modules/{module}` and `GET /v1/status`; probes go to
//! `POST /v1/modules/{module}/probe`. A node registers with the engine at
//! `PUT /api/v1/nodes/{id}`, then sends `POST /api/v1/nodes/{id}/heartbeat`, and fetches
//! artifacts from `GET /api/v1/artifacts/{digest}`. An order that was carried out is
//! answered 204; others with an RFC 9457 problem, `urn:hotswap:problem:fenced` (409) and
//! `urn:hotswap:problem:refused` (422) among them. Both sides show the node token as
//! `Authorization: Bearer …`.
//!
//! The types serve both as OpenAPI objects and, through serde, as the engine's view of
//! them; both write the same JSON.

mod problem;

use std::collections::BTreeMap;

use poem_openapi::{Enum, Object, Union};
use serde::{Deserialize, Serialize};

pub use problem::Problem;

/// An order of the engine to one node. The operation's id stands in the path: the same
/// id is carried out once, however often it is sent, and answered alike each time.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct OrderRequest {
    /// The right by which it is given; lower than the highest seen for the module is refused.
    pub fence: u64,
    /// The deployment that it belongs to.
    pub deployment: String,
    /// What to do.
    pub action: Action,
}

/// What to do with a module; `type` tells which.
#[derive(Debug, Clone, PartialEq, Eq, Union, Serialize, Deserialize)]
#[oai(one_of, discriminator_name = "type")]
#[serde(tag = "type")]
pub enum Action {
    /// Fetch, verify, compile and load a version into the slot `staged`.
    #[oai(mapping = "stage")]
    #[serde(rename = "stage")]
    Stage(Stage),
    /// Send a share of the requests to the staged version.
    #[oai(mapping = "shift")]
    #[serde(rename = "shift")]
    Shift(Shift),
    /// Make the staged version the active one.
    #[oai(mapping = "promote")]
    #[serde(rename = "promote")]
    Promote(Promote),
    /// Make a version active again, and drop what is staged.
    #[oai(mapping = "revert")]
    #[serde(rename = "revert")]
    Revert(Revert),
    /// The deployment is over: drop what is staged and what is previous.
    #[oai(mapping = "settle")]
    #[serde(rename = "settle")]
    Settle(Settle),
}

/// Load a version beside the active one.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Which.
    pub version: Version,
}

/// Send a share of the requests to the staged version.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shift {
    /// The version that must be staged.
    pub version: Version,
    /// 0 to 100.
    #[oai(validator(maximum(value = "100")))]
    pub percent: u8,
}

/// Make the staged version the active one.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promote {
    /// The version that must be staged.
    pub version: Version,
}

/// Make a version active again, and drop what is staged.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct Revert {
    /// Which; absent: none, for the module did not run before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Version>,
}

/// Drop what is staged and what is previous.
#[derive(Debug, Clone, PartialEq, Eq, Default, Object, Serialize, Deserialize)]
pub struct Settle {}

/// One version of the module that the path names.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Semantic version.
    pub version: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
}

/// What a node holds of one module, and what its versions have done.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct ModuleStatus {
    /// The module's name.
    pub module: String,
    /// Answers requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Version>,
    /// Loaded beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Version>,
    /// Was active before; still loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Version>,
    /// The share of requests that the staged version gets, 0 to 100.
    pub percent: u8,
    /// The highest fence seen for the module.
    pub fence: u64,
    /// Different for every start of the node's process: counters begin anew with it.
    pub boot: String,
    /// CPU time that the node's process has used, in milliseconds.
    pub cpu_millis: u64,
    /// What each version that answered since the start has done.
    pub versions: Vec<VersionStatus>,
}

/// What one version of a module has done since the node's start.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct VersionStatus {
    /// Which.
    pub version: Version,
    /// Requests answered.
    pub requests: u64,
    /// Requests answered with a status of 500 or more, or not at all.
    pub errors: u64,
    /// Requests being answered now.
    pub in_flight: u64,
    /// CPU time that its instances have used, in microseconds: an estimate, for of most
    /// requests the beginning is measured only in one of eight.
    #[serde(default)]
    pub cpu_micros: u64,
    /// Buckets and counts of the latency histogram (see `hotswap_core::Histogram`).
    pub latency: Vec<Bucket>,
    /// Linear memory of one of its instances at the end of a request, in bytes: a moving
    /// average over its latest requests, so that it does not depend on the load.
    pub memory_bytes: u64,
}

/// One bucket of a latency histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    /// Its number.
    pub bucket: u16,
    /// How many requests it counted.
    pub count: u64,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// The node's name.
    pub id: String,
    /// The program's version.
    pub version: String,
    /// Different for every start of the process.
    pub boot: String,
    /// CPU time that the process has used, in milliseconds.
    pub cpu_millis: u64,
    /// Memory of the process, in bytes.
    pub memory_bytes: u64,
    /// Each module that it holds, sorted by name.
    pub modules: Vec<ModuleStatus>,
}

/// Ask the staged version directly, once, past all routing.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct ProbeRequest {
    /// The version that must be staged.
    pub version: Version,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// How long to wait for the answer, in milliseconds.
    pub timeout_millis: u64,
}

/// What the staged version answered.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The first 64 KiB of the body; what is not UTF-8 is replaced.
    pub body: String,
}

/// What a node says of itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// Which environment it belongs to.
    pub environment: String,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What its operator says of it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Where it takes orders: `http://host:port`.
    pub control_url: String,
    /// Where it answers requests: `http://host:port`.
    pub data_url: String,
}

/// The engine's answer to a registration.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// Report in this often, in milliseconds.
    pub heartbeat_millis: u64,
}

/// A node reports in. Answered 404 where the engine has forgotten it: register again.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// How it is.
    pub health: NodeHealth,
    /// One sentence, where that is not passing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a node says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub enum NodeHealth {
    /// All is well.
    Passing,
    /// Something to look at.
    Warning,
}
