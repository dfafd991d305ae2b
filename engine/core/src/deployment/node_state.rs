use serde::{Deserialize, Serialize};

use crate::{Event, ModuleVersion, NodeError, Timestamp};

/// A node of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeState {
    /// The zone that the node reported.
    pub zone: Option<String>,
    /// The version that the node ran when the deployment was planned.
    pub before: Option<ModuleVersion>,
    /// What the deployment has done to the node.
    pub phase: NodePhase,
    /// The version that the node ran when the engine last heard of it.
    #[serde(default)]
    pub runs: KnownVersion,
    /// Why the last operation failed.
    pub error: Option<NodeError>,
    /// When this state last changed.
    pub changed_at: Timestamp,
    /// The sequence number of the event that last changed this state.
    #[serde(default)]
    pub changed_in: u64,
}

/// What is known of the version that a node runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KnownVersion {
    /// The version that it ran when the deployment was planned, if it ran one.
    #[default]
    Before,
    /// The version that the deployment rolls out.
    New,
    /// One of both: the node did not say whether it carried the last order out.
    Unknown,
}

/// What a deployment has done to a node so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "phase")]
pub enum NodePhase {
    /// The node is unchanged.
    Pending,
    /// The new version is loaded beside the active one.
    Staged,
    /// The new version gets a share of the requests.
    Shifted {
        /// That share, 0 to 100.
        percent: u8,
    },
    /// The new version is active.
    Active,
    /// The previous version is active again.
    Reverted,
    /// The last operation on the node failed; the state's error says why.
    Failed,
}

impl NodeState {
    /// The version that the node ran when the engine last heard of it in the deployment that
    /// rolls `new` out. `None` if it ran none, or that is not known.
    pub fn running<'a>(&'a self, new: &'a ModuleVersion) -> Option<&'a ModuleVersion> {
        match self.runs {
            KnownVersion::Before => self.before.as_ref(),
            KnownVersion::New => Some(new),
            KnownVersion::Unknown => None,
        }
    }

    /// What the deployment that rolls `new` out has decided so far for the node, which runs
    /// `actual`: the new version if the node was promoted, else the version before. A node that
    /// runs `new` keeps it even if the journal does not say so: its answer may have been lost.
    pub fn decided<'a>(
        &'a self,
        new: &'a ModuleVersion,
        actual: Option<&ModuleVersion>,
    ) -> Option<&'a ModuleVersion> {
        match self.runs {
            KnownVersion::New => Some(new),
            KnownVersion::Before | KnownVersion::Unknown if actual == Some(new) => Some(new),
            KnownVersion::Before | KnownVersion::Unknown => self.before.as_ref(),
        }
    }

    /// Notes that an order to change to the new version, or back, has no clear answer.
    pub(super) fn mark_uncertain(&mut self) {
        if self.runs == KnownVersion::Before {
            self.runs = KnownVersion::Unknown;
        }
    }

    pub(super) fn mark_changed(&mut self, event: &Event) {
        self.changed_at = event.at;
        self.changed_in = event.seq;
    }
}
