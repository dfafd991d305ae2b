use poem_openapi::{Enum, Object, Union};
use serde::{Deserialize, Serialize};

/// An order from the engine to a node. The path holds the operation id. A node carries out
/// an operation once, no matter how often it is sent, and answers the same each time.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct OrderRequest {
    /// Fence of the sender's lease. A node rejects an order whose fence is lower than the
    /// highest that it has seen for the module.
    pub fence: u64,
    /// Id of the deployment that the order belongs to.
    pub deployment: String,
    /// What to do.
    pub action: Action,
    /// How long the node may take to answer, in milliseconds. If the order takes longer, the
    /// node goes on with it and answers with an [`OrderProgress`]; the same order then waits
    /// for the rest. Absent: the node answers when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_millis: Option<u64>,
    /// How long the node tries to fetch an artifact while no byte arrives, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_millis: Option<u64>,
}

/// How far a node has come with an order that takes long. The node goes on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct OrderProgress {
    /// What the node does.
    pub phase: LoadPhase,
    /// Bytes of the artifact that have arrived, also before the node's last restart.
    pub received_bytes: u64,
    /// The artifact's size in bytes, once the engine has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
}

/// What a node does to load a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub enum LoadPhase {
    /// It fetches the artifact.
    Fetching,
    /// It verifies the artifact, compiles it and starts it once.
    Compiling,
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
    /// Reload the active version.
    #[oai(mapping = "restart")]
    #[serde(rename = "restart")]
    Restart(Restart),
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

/// Reload the active version, and send it the requests from then on. Those in flight end where
/// they began. The slots and the counters stay.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// The version. The node rejects the order if another one is active.
    pub version: Version,
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
