//! What a deployment waits for, in words.

use std::fmt::{self, Display};
use std::time::Duration;

use hotswap_core::Call;
use humantime::format_duration;

/// What a deployment waits for. Completes the sentence "it waited for …".
pub(super) type Activity<'a> = dyn Display + Sync + 'a;

/// Waiting for the approval to start.
pub(super) const APPROVAL_TO_START: &str = "the approval to start";
/// Waiting for the deployment that this one supersedes.
pub(super) const PREDECESSOR: &str = "the deployment that it supersedes to end";
/// Waiting for the nodes of the plan.
pub(super) const PLAN: &str = "its nodes to report which version they run";
/// Waiting for the nodes after the strategy.
pub(super) const VERIFY: &str = "its nodes to report that they run the new version";
/// Waiting for the strategy's component, or for its turn to run.
pub(super) const STRATEGY: &str = "its strategy to be loaded and run";
/// Waiting for the end of a pause.
pub(super) const RESUME: &str = "a person to resume it";

/// Waiting for the answer to a call.
pub(super) struct CallActivity<'a>(pub(super) &'a Call);

impl Display for CallActivity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |millis: &u64| format_duration(Duration::from_millis(*millis));
        let name = self.0.name();
        match self.0 {
            Call::Sleep { span: millis } => write!(f, "the end of a wait of {}", span(millis)),
            Call::Soak { window, canary, .. } => {
                let nodes = canary.len();
                write!(f, "the end of a soak of {} on {nodes} nodes", span(window))
            }
            Call::Approval { prompt, .. } => write!(f, "a person's decision on '{prompt}'"),
            Call::Probe { nodes, .. }
            | Call::Stage { nodes }
            | Call::Shift { nodes, .. }
            | Call::Promote { nodes }
            | Call::Revert { nodes } => write!(f, "{name} on {} nodes", nodes.len()),
            Call::Nodes | Call::Now | Call::Progress { .. } | Call::Log { .. } => {
                write!(f, "the call {name}")
            }
        }
    }
}
