use std::collections::BTreeMap;

use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};

use crate::{ClientFaults, ModuleReport, Version};

/// The versions that a node should run, by module. A module that is left out is not decided.
pub type DesiredVersions = BTreeMap<String, DesiredVersion>;

/// What a node reports about itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// Environment that the node belongs to. Absent: the one whose selector matches the node's
    /// labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Where the node is located.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Labels from the operator: at most 64, with the keys and values that Kubernetes allows.
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
    /// Random id of this start of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// Random key of the node's data folder. It tells a node that was restarted from another
    /// node with the same id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// As [`Heartbeat::modules`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<Vec<ModuleReport>>,
}

/// The engine's answer to a registration. The engine answers 409,
/// `urn:hotswap:problem:node-id-taken`, while another node with this id reports in.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// Interval between heartbeats, in milliseconds.
    pub heartbeat_millis: u64,
    /// Environment that the node belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// As [`HeartbeatAnswer::desired`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<DesiredVersions>,
    /// As [`HeartbeatAnswer::cordon`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<Cordon>,
}

/// The engine's answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default, Object, Serialize, Deserialize)]
#[oai(skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatAnswer {
    /// What the node should run. Absent: the engine has not decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<DesiredVersions>,
    /// Present while a person has cordoned the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<Cordon>,
}

/// A person has taken the node out of what the engine changes. It is ready whatever version of a
/// module it runs, because it is not brought to what it should run.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cordon {
    /// Whether the node is also drained: it is then not ready, and goes on serving what arrives.
    pub drained: bool,
    /// Who did it, and why, such as `drained by ada: its disk is replaced`.
    pub reason: String,
}

/// Whether clients may be sent to a node, and how many of their requests it is working on.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// Whether it is ready.
    pub ready: bool,
    /// Why it is not ready, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Requests to modules that have not been answered completely.
    pub in_flight: u64,
}

/// What clients sent to a node since it started, and what of it came to nothing because of them.
/// No version is at fault for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Requests that were routed to a version of a module.
    pub received: u64,
    /// Requests that were not valid HTTP, or had no valid host. They reached no version.
    pub malformed: u64,
    /// Requests for modules that do not run on the node.
    pub unroutable: u64,
    /// Of `received`, over the versions that the node still counts.
    pub client: ClientFaults,
}

/// The version of a module that a node should run.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredVersion {
    /// The version that should be active.
    pub version: Version,
    /// Other versions that are as good for now: while a deployment changes the node, the one
    /// before and the new one.
    #[oai(default)]
    #[serde(default)]
    pub accepted: Vec<Version>,
}

/// Periodic report of a node. The engine answers 404 if it does not know the node at this
/// address, and 409, `urn:hotswap:problem:node-id-taken`, if another node has its id. The node
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
    /// As [`Registration::boot`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
    /// As [`Registration::control_url`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_url: Option<String>,
    /// As [`Registration::data_url`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_url: Option<String>,
    /// The node's modules, sorted by name. Absent: the node does not report them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<Vec<ModuleReport>>,
    /// Whether clients may be sent to the node. Absent: the node does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Readiness>,
    /// What clients sent since the node started. Absent: the node does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
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
    /// The node stops. It takes no orders, and its id is free for another one.
    Stopping,
}
