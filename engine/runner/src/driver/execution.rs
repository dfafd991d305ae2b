//! One run of a strategy: answers its calls.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use hotswap_common::trace::{Kind, Span};
use hotswap_core::{
    Answer, Call, CallKind, CallReplay, Cause, EventBody, Header, Node, NodeError, NodeFailure,
    NodeId, RecordedCall, ReplayedCall,
};
use hotswap_plugins::{CallHandler, ReadyAnswers, Stop};
use tokio::time::Instant;

use super::activity::CallActivity;
use super::call_budget::CallBudget;
use super::call_limits::CallLimits;
use super::call_validation::validate;
use super::context::DriverContext;
use super::error::Error;
use super::failed_nodes::FailedNodes;
use super::fleet_watch::FleetWatch;
use super::journal_writer::JournalWriter;
use super::members::Members;
use super::node_operations::{NodeOperations, Operated, WatchedLimits, check_sender};
use super::planned_nodes::planned_nodes;
use super::replay_answers::ReplayAnswers;
use super::roll_call::list_nodes;
use super::soak;
use super::soak_context::SoakContext;
use super::strategy_time::StrategyTime;
use super::suspended::WaitReason;
use super::wait_scope::{Interrupt, WaitScope};
use super::waiting_call::{self, end_of};
use crate::metrics::STEPS;

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
        if self.scope.wait_while_paused(self.writer, due).await? {
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
        self.ask_who_serves(&request).await?;
        self.check_policy(&request)?;
        let (fleet, module) = (self.context.fleet.as_ref(), &self.header.module.name);
        let readings = soak::initial_readings(fleet, module, &request);
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

    /// Executes a call on nodes. Ends the deployment where more nodes failed than the policy
    /// tolerates, or where it allows no further node to be changed: its answer is journaled
    /// all the same, so that people see what happened to each node.
    async fn operate(&mut self, number: u32, call: &Call) -> Result<Answer, NoAnswer> {
        let operations = self.node_operations();
        // After a loss, calls of the same number may have been others. What nodes did for those does
        // not count.
        let operation = match self.writer.tail().losses {
            0 => format!("{}.{number}", self.header.id),
            losses => format!("{}.{number}.{losses}", self.header.id),
        };
        let operated = operations.execute(call, &operation, self.call_limits(call));
        let activity = CallActivity(call);
        let mut span = Span::child("deployment.call", Kind::Internal);
        span.set("hotswap.call.name", call.name());
        span.set("hotswap.call.number", u64::from(number));
        let started = Instant::now();
        let operated = span.run(operated);
        let operated = self.scope.run(self.writer, &activity, operated);
        let Operated {
            mut failures,
            held_back,
            unavailable,
            gone,
        } = operated.await?;
        if let Some(first) = failures.first() {
            span.fail(&first.error);
        }
        drop(span);
        if let Some(durations) = STEPS.get("call") {
            durations.observe(started.elapsed());
        }
        check_sender(&failures, self.writer.fence())?;
        self.failed.record_all(&failures);
        let mut checked = self.failed.check(self.header, self.members.total());
        if checked.is_ok() && !held_back.is_empty() {
            checked = self
                .check_gone(&gone)
                .and_then(|()| self.members.check_available(self.header, &unavailable));
        }
        failures.extend(held_back.into_iter().map(held_back_failure));
        let answer = Answer::Nodewise(failures);
        let bytes = self.budget.spend_answer(&answer);
        let answered = EventBody::Answered {
            call: number,
            answer: answer.clone(),
        };
        self.writer.push_soon(answered, bytes).await?;
        checked?;
        Ok(answer)
    }

    /// Checks that the policy allows one more write. Nothing limits a revert, which makes nodes
    /// better.
    fn check_policy(&self, request: &Call) -> Result<(), Cause> {
        self.failed.check(self.header, self.members.total())?;
        if !takes_away(request) {
            return Ok(());
        }
        let observed = self.watch().observe();
        self.check_gone(&observed.gone)?;
        self.members
            .check_call(self.header, request, &observed.unavailable)
    }

    /// Checks that the policy tolerates the nodes that are gone, too. Whatever the strategy thinks
    /// of them: nodes that it has changed and that are gone now have failed.
    fn check_gone(&self, gone: &[NodeFailure]) -> Result<(), Cause> {
        let mut failed = self.failed.clone();
        failed.record_all(gone);
        failed.check(self.header, self.members.total())
    }

    /// Finds out which nodes serve, as far as reports do not tell, before a call that needs to know.
    async fn ask_who_serves(&mut self, call: &Call) -> Result<(), Interrupt> {
        if takes_away(call) {
            let mut watch = self.watch();
            let prepared = watch.prepare(&self.scope.timers);
            let activity = CallActivity(call);
            self.scope.run(self.writer, &activity, prepared).await??;
            self.serving = watch.serving;
        }
        Ok(())
    }

    fn watch(&self) -> FleetWatch<'a> {
        let of = (&self.header.environment, &self.header.module.name);
        let mut watch = FleetWatch::new(self.context.watched_fleet(), of, self.members);
        watch.failed = self.failed.clone();
        watch.serving.clone_from(&self.serving);
        watch.touched.clone_from(&self.touched);
        watch
    }

    fn call_limits(&self, call: &Call) -> WatchedLimits<'a> {
        let (policy, total) = (&self.header.policy, self.members.total());
        let limits = CallLimits {
            max_unavailable: self.members.max_unavailable(policy),
            tolerated: policy.tolerated_failures.of(total),
            failed: self.failed.ids().cloned().collect(),
            ..CallLimits::none()
        };
        let watch = takes_away(call).then(|| {
            let mut watch = self.watch();
            // They count once they have carried it out.
            for node in &self.newly_touched {
                watch.touched.remove(node);
            }
            watch
        });
        (limits, watch)
    }

    fn node_operations(&self) -> NodeOperations<'a> {
        NodeOperations {
            fleet: self.context.fleet.as_ref(),
            deployment: self.header.id,
            environment: &self.header.environment,
            module: &self.header.module,
            plan: self.members.nodes,
            concurrency: self.context.limits.fan_out,
            fence: self.writer.fence(),
        }
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

/// Whether a call may take nodes out of service, so that the policy limits it.
fn takes_away(call: &Call) -> bool {
    matches!(
        call,
        Call::Stage { .. } | Call::Shift { .. } | Call::Promote { .. }
    )
}

/// Why a node got no order.
pub(super) fn held_back_failure(node: NodeId) -> NodeFailure {
    let reason = "it got no order: the policy allows no further node to be changed";
    let error = NodeError::Refused(reason.to_owned());
    NodeFailure { node, error }
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
