use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};

use crate::Version;

/// Where a node holds a version of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub enum Slot {
    /// Serves requests.
    Active,
    /// Is loaded beside the active version.
    Staged,
    /// Was active before.
    Previous,
}

impl Slot {
    /// The name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Staged => "staged",
            Self::Previous => "previous",
        }
    }
}

/// A version in a slot that the node cannot load. The other slots work on.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotFault {
    /// The slot.
    pub slot: Slot,
    /// The version in it.
    pub version: Version,
    /// Why it cannot be loaded.
    pub reason: String,
}

/// The slots of a module, as a node reports them to the engine.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub struct ModuleReport {
    /// Name of the module.
    pub module: String,
    /// The version that serves requests, if it is loaded: see `faults`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Version>,
    /// The version that is loaded beside the active one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Version>,
    /// The version that was active before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Version>,
    /// Percentage of requests that the staged version serves, 0 to 100.
    #[oai(default)]
    #[serde(default)]
    pub percent: u8,
    /// The versions in slots that are not loaded.
    #[oai(default)]
    #[serde(default)]
    pub faults: Vec<SlotFault>,
}
