use std::collections::BTreeMap;

use hotswap_core::{
    Call, Deployment, Event, EventBody, Finding, IllegalTransition, NodeId, NodePhase, Step,
};

/// A deployment as a watcher sees it: its state, and what only the sequence of events tells.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchState {
    /// The fold of the events.
    pub deployment: Deployment,
    /// The call that is in progress.
    pub open_call: Option<Call>,
    /// For each node that was changed, the index of the stage that changed it first. `None`
    /// where the strategy had not reported a stage by then.
    pub first_stages: BTreeMap<NodeId, Option<usize>>,
    /// The provisional findings of the running soak, if the engine has sent any.
    pub live_findings: Vec<Finding>,
    /// A sentence for each soak that cannot decide, if the engine has sent any.
    pub warnings: Vec<String>,
}

impl WatchState {
    /// The state after the first event.
    ///
    /// # Errors
    /// Where the event cannot be the first.
    pub fn begin(event: &Event) -> Result<Self, IllegalTransition> {
        Ok(Self {
            deployment: Deployment::begin(event)?,
            open_call: None,
            first_stages: BTreeMap::new(),
            live_findings: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// The option that makes a decision count for the question that is shown, and for no later one.
    pub fn wait_flag(&self) -> String {
        let wait = self.deployment.wait_id();
        wait.map_or_else(String::new, |wait| format!(" --wait-id {wait}"))
    }

    /// Applies the next event.
    ///
    /// # Errors
    /// Where the event cannot follow. The state is then unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalTransition> {
        self.deployment.apply(event)?;
        match &event.body {
            EventBody::Called {
                request,
                answer: None,
                ..
            } => {
                for node in request.changed_nodes() {
                    let stage = self.deployment.stages.len().checked_sub(1);
                    self.first_stages.entry(node.clone()).or_insert(stage);
                }
                if !matches!(request, Call::Progress { .. } | Call::Log { .. }) {
                    self.open_call = Some(request.clone());
                }
            }
            EventBody::Answered { .. }
            | EventBody::Reverting { .. }
            | EventBody::TerminationRequested { .. }
            | EventBody::Settling(_) => {
                self.open_call = None;
                self.live_findings.clear();
            }
            EventBody::Called { .. }
            | EventBody::Requested(_)
            | EventBody::Gated { .. }
            | EventBody::Planned { .. }
            | EventBody::Decided { .. }
            | EventBody::Paused { .. }
            | EventBody::Resumed { .. }
            | EventBody::AbortRequested { .. }
            | EventBody::PromoteRequested { .. }
            | EventBody::WritesLost { .. }
            | EventBody::Repairing(_)
            | EventBody::Repaired(_)
            | EventBody::RepairFailed { .. }
            | EventBody::Ended { .. } => {}
        }
        Ok(())
    }

    /// Whether a soak is under way.
    pub fn is_soaking(&self) -> bool {
        matches!(self.open_call, Some(Call::Soak { .. }))
    }

    /// The operation that is under way on a node.
    pub fn activity(&self, node: &NodeId) -> Option<&'static str> {
        if self.deployment.lifecycle.step == Step::Reverting {
            let state = self.deployment.nodes.get(node);
            let was_changed = state.is_some_and(|node| node.phase != NodePhase::Pending)
                || self.first_stages.contains_key(node);
            return was_changed.then_some("reverting");
        }
        let call = self.open_call.as_ref()?;
        let activity = match call {
            Call::Stage { .. } => "loading",
            Call::Shift { .. } => "shifting",
            Call::Promote { .. } => "switching",
            Call::Revert { .. } => "reverting",
            Call::Probe { .. } => "probing",
            Call::Soak { canary, .. } if canary.contains(node) => "watched",
            Call::Soak { .. }
            | Call::Progress { .. }
            | Call::Log { .. }
            | Call::Sleep { .. }
            | Call::Approval { .. }
            | Call::Nodes
            | Call::Now => return None,
        };
        call.named_nodes().any(|id| id == node).then_some(activity)
    }

    /// The nodes that do not run the new version.
    pub fn nodes_without_new_version(&self) -> Vec<&NodeId> {
        let nodes = self.deployment.nodes.iter();
        nodes
            .filter(|(_, node)| node.phase != NodePhase::Active)
            .map(|(id, _)| id)
            .collect()
    }
}
