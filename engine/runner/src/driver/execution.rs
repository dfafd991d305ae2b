//! One run of a strategy: answers its calls.

mod node_calls;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{
    Answer, Call, CallKind, CallReplay, Cause, EventBody, Header, Node, NodeId, RecordedCall,
    ReplayedCall,
};
use hotswap_plugins::{CallHandler, ReadyAnswers, Stop};

pub(super) use self::node_calls::held_back_failure;
use super::activity::CallActivity;
use super::call_budget::CallBudget;
use super::call_validation::validate;
use super::context::DriverContext;
use super::error::Error;
use super::failed_nodes::FailedNodes;
use super::journal_writer::JournalWriter;
use super::members::Members;
use super::planned_nodes::planned_nodes;
use super::replay_answers::ReplayAnswers;
use super::roll_call::list_nodes;
use super::soak;
use super::soak_context::SoakContext;
use super::strategy_time::StrategyTime;
use super::suspended::WaitReason;
use super::wait_scope::{Interrupt, WaitScope};
use super::waiting_call::{self, end_of};

/// Answers the calls of one run of a strategy: from the journal as far as it goes, then by
/// executing them.
pub(super) struct Execution<'a> {
    context: &'a DriverContext,
    scope: &'a WaitScope,
    header: &'a Header,
    members: Members<'a>,
    planned: HashSet<&'a NodeId>,
    writer: &'a mut JournalWriter,
    replay: Arc<ReplayAnswers>,
    budget: CallBudget,
    failed: FailedNodes,
    soaks: SoakContext,
    time: StrategyTime,
    /// The nodes that calls change, or may have changed.
    touched: BTreeSet<NodeId>,
    /// Those of them that only the newest call changes.
    newly_touched: Vec<NodeId>,
    /// The nodes that have said before the newest call that they serve.
    serving: BTreeSet<NodeId>,
    /// Why the run was suspended. An error also suspends it: the strategy has not failed.
    suspended: Option<Result<WaitReason, Error>>,
}

/// Why a call has no answer.
enum NoAnswer {
    Interrupted(Interrupt),
    Suspended(WaitReason),
}

impl<'a> Execution<'a> {
    pub(super) fn new(
        context: &'a DriverContext,
        scope: &'a WaitScope,
        header: &'a Header,
        members: Members<'a>,
        touched: BTreeSet<NodeId>,
        writer: &'a mut JournalWriter,
        replay: CallReplay,
    ) -> Self {
        Self {
            context,
            scope,
            header,
            members,
            planned: members.nodes.iter().map(|node| &node.id).collect(),
            writer,
            replay: Arc::new(ReplayAnswers::new(replay)),
            budget: CallBudget::new(&header.limits, members.nodes.len()),
            failed: FailedNodes::default(),
            soaks: SoakContext::new(header, members, []),
            time: StrategyTime::default(),
            touched,
            newly_touched: Vec::new(),
            serving: BTreeSet::new(),
            suspended: None,
        }
    }

    /// What a suspended run waits for.
    ///
    /// # Errors
    /// The error that suspended it.
    pub(super) fn into_wait_reason(self) -> Result<Option<WaitReason>, Error> {
        self.suspended.transpose()
    }

    /// The nodes that calls changed, or may have changed.
    pub(super) fn into_touched(self) -> BTreeSet<NodeId> {
        self.touched
    }

    /// Checks a strategy that returned ok: it made all calls in the journal, and no more
    /// nodes failed than the policy tolerates.
    pub(super) fn check_success(&mut self) -> Result<(), Cause> {
        self.count_replayed();
        self.replay.check_finished()?;
        self.failed.check(self.header, self.members.total())
    }

    /// Checks that nobody has requested an abort.
    pub(super) fn check_abort(&self) -> Result<(), Cause> {
        match &self.writer.tail().signals.abort {
            Some(cause) => Err(cause.clone()),
            None => Ok(()),
        }
    }

    /// Counts the calls that were answered from the journal since the last one that was not.
    fn count_replayed(&mut self) {
        for call in self.replay.take_answered() {
            self.budget.spend_call(&call.request);
            self.count_answer(&call);
        }
    }

    fn count_answer(&mut self, call: &RecordedCall) {
        self.budget.spend_readings(&call.readings);
        if let Some(answer) = &call.answer {
            self.budget.spend_answer(answer);
            self.failed.record(answer);
            self.soaks.record(answer);
            self.time.replay(answer);
        }
    }

    async fn answer(&mut self, request: Call) -> Result<Answer, NoAnswer> {
        self.count_replayed();
        let bytes = self.budget.spend_call(&request);
        let (number, call) = match self.replay.next(request)? {
            ReplayedCall::Answered(call) => {
                self.count_answer(&call);
                return Ok(call.answer());
            }
            ReplayedCall::Unanswered { number, call } => {
                self.budget.spend_readings(&call.readings);
                // After a start of the engine.
                self.ask_who_serves(&call.request).await?;
                (number, call)
            }
            ReplayedCall::New { number, request } => {
                self.budget.check()?;
                validate(&request, &self.planned)?;
                self.wait_while_paused(&request).await?;
                match request.kind() {
                    CallKind::Note => return self.note(number, request, bytes).await,
                    CallKind::Read => return self.read(number, request, bytes).await,
                    CallKind::Write => (number, self.journal_intent(number, request).await?),
                }
            }
        };
        self.execute(number, call).await
    }

    /// Waits before `request`. Suspends the run where the pause is a long one.
    async fn wait_while_paused(&mut self, request: &Call) -> Result<(), NoAnswer> {
        let tail = self.writer.tail();
        self.scope.check(tail, &CallActivity(request))?;
        if !self.writer.is_paused() {
            return Ok(());
        }
        self.writer.flush().await?;
        let due = self.scope.timers.after(self.context.limits.suspend_after);
        if self
            .scope
            .wait_while_paused(self.context, self.writer, due)
            .await?
        {
            Ok(())
        } else {
            Err(NoAnswer::Suspended(WaitReason::Resume))
        }
    }

    async fn note(&mut self, number: u32, request: Call, bytes: u64) -> Result<Answer, NoAnswer> {
        let called = called(number, request, None);
        self.writer.push_soon(called, bytes).await?;
        Ok(Answer::Done)
    }

    async fn read(&mut self, number: u32, request: Call, bytes: u64) -> Result<Answer, NoAnswer> {
        let answer = if request == Call::Now {
            self.time.tell(self.scope.timers.steady_now())
        } else {
            Answer::Nodes(self.planned_nodes_now().await?)
        };
        let bytes = bytes + self.budget.spend_answer(&answer);
        let called = called(number, request, Some(answer.clone()));
        self.writer.push_soon(called, bytes).await?;
        Ok(answer)
    }

    /// The nodes of the plan as they are now. A node that is gone is critical.
    async fn planned_nodes_now(&mut self) -> Result<Vec<Node>, Interrupt> {
        let (environment, module) = (&self.header.environment, &self.header.module.name);
        let nodes = list_nodes(self.context.fleet.as_ref(), environment, module);
        let activity = CallActivity(&Call::Nodes);
        let nodes = self.scope.run(self.writer, &activity, nodes).await??;
        Ok(planned_nodes(self.members.nodes, nodes))
    }

    /// Journals a write before it is executed. Durable once it returns.
    async fn journal_intent(
        &mut self,
        number: u32,
        request: Call,
    ) -> Result<RecordedCall, NoAnswer> {
        self.repair_before(&request).await?;
        self.ask_who_serves(&request).await?;
        self.check_policy(&request)?;
        let fleet = self.context.fleet.as_ref();
        let of = (&self.header.environment, &self.header.module.name);
        let readings = soak::initial_readings(fleet, of, &request);
        let activity = CallActivity(&request);
        let readings = self.scope.run(self.writer, &activity, readings).await??;
        self.budget.spend_readings(&readings);
        self.budget.check()?;
        let at = self.context.clock.now();
        let due = request.wait().map(|wait| {
            let due = at + wait;
            self.scope.timers.begin_call(number, due, wait);
            due
        });
        let changed = request.changed_nodes().iter();
        let newly = changed.filter(|node| !self.touched.contains(*node));
        self.newly_touched = newly.cloned().collect();
        self.touched.extend(self.newly_touched.iter().cloned());
        self.writer.push(EventBody::Called {
            call: number,
            request: request.clone(),
            due,
            readings: readings.clone(),
            answer: None,
        });
        self.writer.flush().await?;
        Ok(RecordedCall {
            request,
            at,
            due,
            readings,
            answer: None,
        })
    }

    /// Executes a write whose intent is in the journal, maybe again after a crash. Its answer
    /// is journaled together with the next intent.
    async fn execute(&mut self, number: u32, call: RecordedCall) -> Result<Answer, NoAnswer> {
        let answer = if call.due.is_some() {
            let left = self.scope.timers.left(end_of(self.scope, number, &call));
            let is_long = left > self.context.limits.suspend_after;
            // A wait that a person has ended needs no replay after it.
            if is_long && self.writer.promotion().is_none() {
                return Err(NoAnswer::Suspended(WaitReason::Call {
                    number,
                    call: Box::new(call),
                    soaks: Box::new(self.soaks.clone()),
                }));
            }
            let (module, call) = (&self.header.module, (number, Box::new(call)));
            let (context, scope, soaks) = (self.context, self.scope, Box::new(self.soaks.clone()));
            waiting_call::complete(context, scope, module, call, soaks, self.writer).await?
        } else {
            return self.operate(number, &call.request).await;
        };
        self.soaks.record(&answer);
        let bytes = self.budget.spend_answer(&answer);
        let answered = EventBody::Answered {
            call: number,
            answer: answer.clone(),
        };
        self.writer.push_soon(answered, bytes).await?;
        Ok(answer)
    }
}

#[async_trait]
impl CallHandler for Execution<'_> {
    fn is_replaying(&self) -> bool {
        self.replay.is_replaying()
    }

    /// Drivers have threads of their own.
    fn may_compute_here(&self) -> bool {
        true
    }

    fn ready_answers(&self) -> Option<Arc<dyn ReadyAnswers>> {
        Some(Arc::clone(&self.replay) as Arc<dyn ReadyAnswers>)
    }

    async fn call(&mut self, request: Call) -> Result<Answer, Stop> {
        self.answer(request).await.map_err(|error| match error {
            NoAnswer::Interrupted(Interrupt::Fail(cause)) => Stop::Fail(cause),
            NoAnswer::Interrupted(Interrupt::Journal(error)) => {
                self.suspended = Some(Err(error));
                Stop::Suspend
            }
            NoAnswer::Suspended(reason) => {
                self.suspended = Some(Ok(reason));
                Stop::Suspend
            }
        })
    }
}

impl<T: Into<Interrupt>> From<T> for NoAnswer {
    fn from(interrupt: T) -> Self {
        Self::Interrupted(interrupt.into())
    }
}

/// A note or a read, as it is journaled.
fn called(call: u32, request: Call, answer: Option<Answer>) -> EventBody {
    EventBody::Called {
        call,
        request,
        due: None,
        readings: Vec::new(),
        answer,
    }
}
