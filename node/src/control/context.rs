use hotswap_common::Secret;
use hotswap_core::NodeId;

use super::Modules;

/// What the operations of the control API use.
#[derive(Debug, Clone)]
pub(crate) struct ControlContext {
    pub(crate) id: NodeId,
    /// Random id of this start of the node.
    pub(crate) boot: String,
    /// The token that requests must carry.
    pub(crate) token: Secret,
    pub(crate) modules: Modules,
}
