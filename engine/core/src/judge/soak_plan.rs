use crate::{BeforeSoak, Check};

use super::{Judge, SoakHistory};

/// What a judge knows of a soak before its first reading.
#[derive(Debug, Clone, Default)]
pub struct SoakPlan {
    /// The conditions that must hold.
    pub checks: Vec<Check>,
    /// Whether any node runs the previous version. Without, only [`Check::max`] is judged.
    pub has_baseline: bool,
    /// Whether both versions run on the same nodes, and all of them. Then errors are compared node
    /// by node.
    pub by_node: bool,
    /// What the previous version did before the soak.
    pub before: BeforeSoak,
    /// The evidence of the earlier soaks of the deployment.
    pub history: SoakHistory,
    /// What the deployment asks of its soaks.
    pub options: SoakOptions,
}

/// What a deployment asks of its soaks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoakOptions {
    /// Ends a soak as soon as every check has passed. Else it passes only at its end, since a
    /// fault may show late.
    pub pass_early: bool,
    /// The fewest requests of the new version with which a check passes.
    pub min_samples: u64,
    /// The highest probability that the deployment fails a check whose limits its version keeps:
    /// within [`Judge::LEVELS`].
    pub false_alarms: f64,
}

impl Default for SoakOptions {
    fn default() -> Self {
        Self {
            pass_early: false,
            min_samples: 0,
            false_alarms: Judge::LEVEL,
        }
    }
}

impl SoakOptions {
    /// The probability of a false alarm that the deployment asks for, within what it may.
    pub(super) fn level(self) -> f64 {
        let (least, most) = (*Judge::LEVELS.start(), *Judge::LEVELS.end());
        if self.false_alarms.is_nan() {
            return Judge::LEVEL;
        }
        self.false_alarms.clamp(least, most)
    }
}
