//! A deployment as it is told: its state, and what a state does not hold because only
//! whoever follows the events needs it.

use std::collections::BTreeMap;

use hotswap_core::{
    Call, Deployment, Event, EventBody, IllegalTransition, NodeId, NodePhase, Step,
};

/// A deployment, event after event.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// What the events add up to.
    pub state: Deployment,
    /// The call that is being carried out.
    pub open: Option<Call>,
    /// For each node that was touched: the stage in which it was touched first, by its
    /// place among the stages; none where the strategy told of no stage before.
    pub waves: BTreeMap<NodeId, Option<usize>>,
}

impl Story {
    /// The story after the first event.
    ///
    /// # Errors
    /// Where that cannot be the first.
    pub fn begin(event: &Event) -> Result<Self, IllegalTransition> {
        Ok(Self {
            state: Deployment::begin(event)?,
            open: None,
            waves: BTreeMap::new(),
        })
    }

    /// Takes one more event in.
    ///
    /// # Errors
    /// Where it cannot follow; the story is then unchanged.
    pub fn take(&mut self, event: &Event) -> Result<(), IllegalTransition> {
        self.state.apply(event)?;
        match &event.body {
            EventBody::Called {
                request,
                answer: None,
                ..
            } => {
                for node in request.changed_nodes() {
                    let stage = self.state.stages.len().checked_sub(1);
                    self.waves.entry(node.clone()).or_insert(stage);
                }
                if !matches!(request, Call::Progress { .. } | Call::Log { .. }) {
                    self.open = Some(request.clone());
                }
            }
            EventBody::Answered { .. } | EventBody::Reverting { .. } | EventBody::Settling => {
                self.open = None
            }
            _ => {}
        }
        Ok(())
    }

    /// What is being done to a node at this moment, where something is.
    pub fn doing(&self, node: &NodeId) -> Option<&'static str> {
        if self.state.lifecycle.step == Step::Reverting {
            let touched = self.state.nodes.get(node);
            let touched = touched.is_some_and(|node| node.phase != NodePhase::Pending);
            return (touched || self.waves.contains_key(node)).then_some("being put back");
        }
        let call = self.open.as_ref()?;
        let word = match call {
            Call::Stage { .. } => "loading",
            Call::Shift { .. } => "shifting",
            Call::Promote { .. } => "switching",
            Call::Revert { .. } => "being put back",
            Call::Probe { .. } => "being asked",
            Call::Soak { canary, .. } if canary.contains(node) => "watched",
            _ => return None,
        };
        call.named_nodes().any(|id| id == node).then_some(word)
    }

    /// The nodes that do not run the new version yet.
    pub fn missing(&self) -> Vec<&NodeId> {
        let nodes = self.state.nodes.iter();
        nodes
            .filter(|(_, node)| node.phase != NodePhase::Active)
            .map(|(id, _)| id)
            .collect()
    }
}
