use serde::{Deserialize, Serialize};

use crate::{DeploymentId, ModuleName, ModuleVersion};

/// A rising number, one for each time that an engine takes a deployment over. A node
/// refuses an order whose fence is lower than the highest it has seen for the module:
/// so the orders of an engine that has been replaced, or of a deployment that has
/// ended, are void. Rises over all the deployments of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

/// Something that one node is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Unique for the intent on this node, the same each time that it is repeated: an
    /// order that was carried out already is answered as then, and not done again.
    pub operation: String,
    /// The right by which it is given.
    pub fence: Fence,
    /// For which deployment.
    pub deployment: DeploymentId,
    /// Of which module.
    pub module: ModuleName,
    /// What to do.
    pub action: Action,
}

/// What a node is to do with a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fetch, verify, compile and load a version into the slot `staged`.
    Stage(ModuleVersion),
    /// Send `percent` of the requests to the staged version, which must be this one.
    Shift {
        /// The version that must be staged.
        version: ModuleVersion,
        /// 0 to 100.
        percent: u8,
    },
    /// Make the staged version, which must be this one, the active one; the one that
    /// was active becomes `previous`.
    Promote(ModuleVersion),
    /// Make this version active again, or none where the module never ran, and drop
    /// what is staged.
    Revert(Option<ModuleVersion>),
    /// The deployment is over: drop what is staged and what is previous.
    Settle,
}
