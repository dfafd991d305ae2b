//! How long a rollout takes at least: the strategy runs in virtual time, on nodes that do
//! everything at once.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{
    Answer, Call, Check, Decision, Finding, Judgement, ModuleVersion, Node, NodeId, Timestamp,
    Verdict,
};
use hotswap_plugins::{CallHandler, Exit, Plan, Stop, Strategy};

/// How long a rehearsal may take. One takes milliseconds, unless its strategy computes much.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers the calls of a strategy as a fleet does on which all goes well: orders are carried
/// out at once, checks pass, people approve at once.
struct Rehearsal<'a> {
    plan: &'a Plan,
    nodes: Vec<Node>,
    /// Where each node is in both lists.
    places: HashMap<&'a NodeId, usize>,
    started: Timestamp,
    /// The virtual time since the start.
    waited: Duration,
    calls_left: u32,
}

/// The time that the strategy waits at least, when it rolls `plan` out and all goes well.
/// `None` where that cannot be told: it does not succeed, it makes more than `max_calls` calls,
/// or it computes for long.
///
/// Cancel safe.
pub(super) async fn shortest_time(
    strategy: &Strategy,
    plan: &Plan,
    max_calls: u32,
    now: Timestamp,
) -> Option<Duration> {
    let mut rehearsal = Rehearsal {
        plan,
        nodes: plan.nodes.clone(),
        places: plan.nodes.iter().map(|node| &node.id).zip(0..).collect(),
        started: now,
        waited: Duration::ZERO,
        calls_left: max_calls,
    };
    let run = tokio::time::timeout(PATIENCE, strategy.run(plan, &mut rehearsal));
    match run.await.ok()? {
        Exit::Succeeded => Some(rehearsal.waited),
        Exit::Failed(_) | Exit::Trapped(_) | Exit::Stopped(_) | Exit::NoRoom(_) => None,
    }
}

impl<'a> Rehearsal<'a> {
    fn answer(&mut self, call: &Call) -> Answer {
        match call {
            Call::Nodes => Answer::Nodes(self.nodes.clone()),
            Call::Stage { .. } | Call::Shift { .. } | Call::Probe { .. } => {
                Answer::Nodewise(Vec::new())
            }
            Call::Promote { nodes } => {
                let module = Some(&self.plan.module);
                self.set_active(nodes, |_| module)
            }
            Call::Revert { nodes } => self.set_active(nodes, |planned| planned.active.as_ref()),
            Call::Soak { checks, .. } => Answer::Verdict(Verdict {
                judgement: Judgement::Pass,
                findings: checks.iter().map(pass).collect(),
            }),
            Call::Now => Answer::Time((self.started + self.waited).millis()),
            Call::Approval { .. } => Answer::Decision(Decision {
                approved: true,
                by: String::new(),
                comment: None,
            }),
            Call::Sleep { .. } | Call::Progress { .. } | Call::Log { .. } => Answer::Done,
        }
    }

    /// Sets the active version of these nodes, which follows from each node as it was planned.
    fn set_active(
        &mut self,
        ids: &[NodeId],
        active: impl Fn(&'a Node) -> Option<&'a ModuleVersion>,
    ) -> Answer {
        let plan: &'a Plan = self.plan;
        for place in ids.iter().filter_map(|id| self.places.get(id)) {
            self.nodes[*place].active = active(&plan.nodes[*place]).cloned();
        }
        Answer::Nodewise(Vec::new())
    }
}

#[async_trait]
impl CallHandler for Rehearsal<'_> {
    async fn call(&mut self, call: Call) -> Result<Answer, Stop> {
        self.calls_left = self.calls_left.checked_sub(1).ok_or(Stop::Suspend)?;
        if let Call::Sleep { .. } | Call::Soak { .. } = call {
            let wait = call.wait().unwrap_or_default();
            self.waited = self.waited.saturating_add(wait);
        }
        Ok(self.answer(&call))
    }
}

fn pass(check: &Check) -> Finding {
    Finding {
        check: check.clone(),
        judgement: Judgement::Pass,
        canary: None,
        baseline: None,
        canary_samples: 0,
        baseline_samples: 0,
        reason: String::new(),
    }
}
