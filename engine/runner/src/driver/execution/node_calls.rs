//! The calls of a strategy on nodes, within the limits of the policy.

use hotswap_common::trace::{Kind, Span};
use hotswap_core::{Answer, Call, Cause, EventBody, NodeError, NodeFailure, NodeId};
use tokio::time::Instant;

use super::super::activity::CallActivity;
use super::super::call_limits::CallLimits;
use super::super::fleet_watch::FleetWatch;
use super::super::node_operations::{NodeOperations, Operated, WatchedLimits, check_sender};
use super::super::wait_scope::Interrupt;
use super::{Execution, NoAnswer};
use crate::metrics::STEPS;

impl<'a> Execution<'a> {
    /// Executes a call on nodes. Ends the deployment where more nodes failed than the policy
    /// tolerates, or where it allows no further node to be changed: its answer is journaled
    /// all the same, so that people see what happened to each node.
    pub(super) async fn operate(&mut self, number: u32, call: &Call) -> Result<Answer, NoAnswer> {
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
    pub(super) fn check_policy(&self, request: &Call) -> Result<(), Cause> {
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
    pub(super) async fn ask_who_serves(&mut self, call: &Call) -> Result<(), Interrupt> {
        if takes_away(call) {
            let mut watch = self.watch();
            let prepared = watch.prepare(&self.scope.timers);
            let activity = CallActivity(call);
            self.scope.run(self.writer, &activity, prepared).await??;
            self.serving = watch.serving;
        }
        Ok(())
    }

    /// Brings nodes back before a call that needs to know which serve, where they were found to have
    /// lost what they ran.
    pub(super) async fn repair_before(&mut self, call: &Call) -> Result<(), Interrupt> {
        if takes_away(call) {
            let (context, activity) = (self.context, CallActivity(call));
            self.scope.repair(context, self.writer, &activity).await?;
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

/// Whether a call may take nodes out of service, so that the policy limits it.
fn takes_away(call: &Call) -> bool {
    matches!(
        call,
        Call::Stage { .. } | Call::Shift { .. } | Call::Promote { .. }
    )
}

/// Why a node got no order.
pub(in super::super) fn held_back_failure(node: NodeId) -> NodeFailure {
    let reason = "it got no order: the policy allows no further node to be changed";
    let error = NodeError::Refused(reason.to_owned());
    NodeFailure { node, error }
}
