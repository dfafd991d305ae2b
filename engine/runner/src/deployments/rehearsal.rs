//! How long a rollout takes at least: the strategy runs in virtual time, on nodes that do
//! everything at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{
    Answer, Call, Check, Decision, Finding, Judgement, ModuleVersion, Node, NodeId, Timestamp,
    Verdict,
};
use hotswap_plugins::{CallHandler, Exit, Plan, ReadyAnswers, Stop, Strategy};

/// How long a rehearsal may take. One takes milliseconds, unless its strategy computes much.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers the calls of a strategy as a fleet does on which all goes well: orders are carried
/// out at once, checks pass, people approve at once.
struct Rehearsal {
    module: ModuleVersion,
    planned: Vec<Node>,
    /// The nodes of the plan as they are now, in the same order.
    nodes: Vec<Node>,
    /// Where each node is in both.
    places: HashMap<NodeId, usize>,
    started: Timestamp,
    /// The virtual time since the start.
    waited: Duration,
    calls_left: u32,
}

/// A rehearsal that answers on the thread of the strategy.
struct Answers(Mutex<Rehearsal>);

/// Ends the run at the call that has no answer any more.
struct Handler(Arc<Answers>);

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
    let ids = plan.nodes.iter().map(|node| node.id.clone());
    let answers = Arc::new(Answers(Mutex::new(Rehearsal {
        module: plan.module.clone(),
        planned: plan.nodes.clone(),
        nodes: plan.nodes.clone(),
        places: ids.zip(0..).collect(),
        started: now,
        waited: Duration::ZERO,
        calls_left: max_calls,
    })));
    let mut handler = Handler(Arc::clone(&answers));
    let run = tokio::time::timeout(PATIENCE, strategy.run(plan, &mut handler));
    match run.await.ok()? {
        Exit::Succeeded => Some(answers.lock().waited),
        Exit::Failed(_) | Exit::Trapped(_) | Exit::Stopped(_) | Exit::NoRoom(_) => None,
    }
}

impl Rehearsal {
    fn answer(&mut self, call: &Call) -> Answer {
        match call {
            Call::Nodes => Answer::Nodes(self.nodes.clone()),
            Call::Stage { .. } | Call::Shift { .. } | Call::Probe { .. } => {
                Answer::Nodewise(Vec::new())
            }
            Call::Promote { nodes } => {
                let module = self.module.clone();
                self.set_active(nodes, |_| Some(module.clone()))
            }
            Call::Revert { nodes } => self.set_active(nodes, |planned| planned.active.clone()),
            Call::Soak { checks, .. } => Answer::Verdict(Verdict {
                judgement: Judgement::Pass,
                findings: checks.iter().map(pass).collect(),
                promoted_by: None,
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
        active: impl Fn(&Node) -> Option<ModuleVersion>,
    ) -> Answer {
        for place in ids.iter().filter_map(|id| self.places.get(id)) {
            self.nodes[*place].active = active(&self.planned[*place]);
        }
        Answer::Nodewise(Vec::new())
    }
}

impl Answers {
    /// Ignores poisoning: nothing panics under the lock.
    fn lock(&self) -> MutexGuard<'_, Rehearsal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadyAnswers for Answers {
    fn answer(&self, call: &Call) -> Option<Answer> {
        let mut rehearsal = self.lock();
        rehearsal.calls_left = rehearsal.calls_left.checked_sub(1)?;
        if let Call::Sleep { .. } | Call::Soak { .. } = call {
            let wait = call.wait().unwrap_or_default();
            rehearsal.waited = rehearsal.waited.saturating_add(wait);
        }
        Some(rehearsal.answer(call))
    }
}

#[async_trait]
impl CallHandler for Handler {
    fn ready_answers(&self) -> Option<Arc<dyn ReadyAnswers>> {
        Some(Arc::clone(&self.0) as Arc<dyn ReadyAnswers>)
    }

    async fn call(&mut self, _: Call) -> Result<Answer, Stop> {
        Err(Stop::Suspend)
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
