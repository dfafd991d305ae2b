//! What a rollout does where all goes well: the strategy runs in virtual time, on nodes that do
//! everything at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{
    Answer, Call, Check, Decision, Finding, Header, Judgement, ModuleVersion, Node, NodeId,
    Timestamp, Verdict,
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
    steps: Vec<RehearsedStep>,
    max_steps: usize,
    further_steps: usize,
}

/// A call of the strategy that does something, waits, or reports a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct RehearsedStep {
    /// When it begins at the earliest, from the start of the deployment.
    pub at: Duration,
    /// The call.
    pub call: Call,
}

/// How a rehearsal ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Succeeded,
    /// The strategy failed although all went well.
    Failed(String),
    /// Unknown: the strategy made more calls than a deployment may, or computed for too long.
    Unknown(&'static str),
}

/// What a rehearsal has shown.
pub(super) struct Rehearsed {
    pub(super) end: End,
    /// What the strategy waited for.
    pub(super) waited: Duration,
    /// The nodes of the plan at the end.
    pub(super) nodes: Vec<Node>,
    /// The first steps.
    pub(super) steps: Vec<RehearsedStep>,
    /// How many more there were.
    pub(super) further_steps: usize,
}

/// A rehearsal that answers on the thread of the strategy.
struct Answers(Mutex<Rehearsal>);

/// Ends the run at the call that has no answer any more.
struct Handler(Arc<Answers>);

/// The plan of a deployment to these nodes.
pub(super) fn plan(header: &Header, nodes: Vec<Node>) -> Plan {
    Plan {
        deployment: header.id,
        environment: header.environment.clone(),
        module: header.module.clone(),
        nodes,
        config: header.config.clone(),
        limits: header.limits,
    }
}

/// Rehearses the rollout of `plan`, as if it started at `now`. Keeps the first `max_steps` steps.
///
/// Cancel safe.
pub(super) async fn run(
    strategy: &Strategy,
    plan: &Plan,
    now: Timestamp,
    max_steps: usize,
) -> Rehearsed {
    let ids = plan.nodes.iter().map(|node| node.id.clone());
    let answers = Arc::new(Answers(Mutex::new(Rehearsal {
        module: plan.module.clone(),
        planned: plan.nodes.clone(),
        nodes: plan.nodes.clone(),
        places: ids.zip(0..).collect(),
        started: now,
        waited: Duration::ZERO,
        calls_left: plan.limits.calls,
        steps: Vec::new(),
        max_steps,
        further_steps: 0,
    })));
    let mut handler = Handler(Arc::clone(&answers));
    let run = tokio::time::timeout(PATIENCE, strategy.run(plan, &mut handler));
    let end = match run.await {
        Ok(Exit::Succeeded) => End::Succeeded,
        Ok(Exit::Failed(reason)) => End::Failed(reason),
        Ok(Exit::Trapped(cause)) => End::Failed(cause.message),
        Ok(Exit::Stopped(_)) => End::Unknown("it makes more calls than a deployment may"),
        Ok(Exit::NoRoom(_)) => End::Unknown("the engine does not have enough memory to try it"),
        Err(_) => End::Unknown("it computes for too long to be tried"),
    };
    let mut rehearsal = answers.lock();
    Rehearsed {
        end,
        waited: rehearsal.waited,
        nodes: std::mem::take(&mut rehearsal.nodes),
        steps: std::mem::take(&mut rehearsal.steps),
        further_steps: rehearsal.further_steps,
    }
}

impl Rehearsed {
    /// The time that the rollout takes at least. `None` if that cannot be told.
    pub(super) fn shortest(&self) -> Option<Duration> {
        (self.end == End::Succeeded).then_some(self.waited)
    }
}

impl Rehearsal {
    /// Keeps what people want to know of a rollout.
    fn record(&mut self, call: &Call) {
        match call {
            Call::Nodes | Call::Now | Call::Log { .. } => {}
            _ if self.steps.len() >= self.max_steps => self.further_steps += 1,
            call => self.steps.push(RehearsedStep {
                at: self.waited,
                call: call.clone(),
            }),
        }
    }

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
        rehearsal.record(call);
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
        conditions: Vec::new(),
        queried: Vec::new(),
    }
}
