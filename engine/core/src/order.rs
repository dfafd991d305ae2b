use serde::{Deserialize, Serialize};

use crate::{DeploymentId, Environment, ModuleName, ModuleVersion};

/// A fencing token: each time an engine acquires the lease of a deployment, it gets a higher
/// one. It rises over all deployments of a store.
///
/// A node rejects an order whose fence is lower than the highest it has seen for the module.
/// So late orders of an engine that lost its lease, or of a deployment that has ended, have no
/// effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

impl Fence {
    /// The highest fence that a node can have seen. Every JSON parser reads it exactly.
    pub const MAX: Self = Self(1 << 53);
}

/// An order to one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The operation id: unique for the intent on this node, and the same each time the order
    /// is repeated. A node that has carried it out repeats its answer and does nothing.
    pub operation: String,
    /// The fence of the engine's lease.
    pub fence: Fence,
    /// The deployment that the order belongs to.
    pub deployment: DeploymentId,
    /// The environment for whose nodes the order is. A node that has moved to another one is not
    /// given it.
    pub environment: Environment,
    /// The module to act on.
    pub module: ModuleName,
    /// The action to carry out.
    pub action: Action,
}

/// An action of a node on a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Fetch, verify, compile and load a version into the slot `staged`.
    Stage(ModuleVersion),
    /// Send `percent` of the requests to the staged version.
    Shift {
        /// The version that must be staged.
        version: ModuleVersion,
        /// 0 to 100.
        percent: u8,
    },
    /// Make the staged version, which must be this one, active. The active version becomes
    /// `previous`.
    Promote(ModuleVersion),
    /// Make this version active again, or no version if the module did not run before, and
    /// drop the staged version.
    Revert(Option<ModuleVersion>),
    /// Reload this version, which must be the active one, and send it the requests from then
    /// on. Those in flight end where they began; nothing else changes.
    Restart(ModuleVersion),
    /// The deployment has ended: drop the staged and the previous version.
    Settle,
}
