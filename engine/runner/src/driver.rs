//! Drives one deployment from wherever its journal ends to its end.
//!
//! A driver reads the journal, does the one thing that comes next, appends the result and
//! begins again. A crash is the same as dropping the driver: the next one reads the journal
//! and continues.

mod activity;
mod append_wait;
mod attempt_trace;
mod call_budget;
mod call_limits;
mod call_validation;
mod context;
mod error;
mod execution;
mod failed_nodes;
#[cfg(test)]
mod fixture;
mod fleet_watch;
mod fresh_baseline;
mod gate;
mod journal_writer;
mod losses;
mod lost_nodes;
mod measured_step;
mod members;
mod node_operations;
mod plan;
mod plan_repairs;
mod planned_nodes;
mod predecessor;
mod probed_soak;
mod queried_soak;
mod replay_answers;
mod revert;
mod revert_queue;
mod roll_call;
mod run;
mod settle;
mod silence;
mod soak;
mod soak_context;
mod strategy_time;
mod suspended;
mod terminate;
mod timer_registry;
mod timers;
mod verify;
mod wait_scope;
mod waiting_call;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hotswap_common::Backoff;
use hotswap_common::trace;
use hotswap_core::{Append, DeploymentId, Fence, ReplayState, Step, Timestamp};
use hotswap_store::{AppendError, LeaseError};
use tokio::sync::Notify;

use attempt_trace::{AttemptTrace, NewestTrace};
pub(crate) use call_validation::validate;
pub(crate) use context::DriverContext;
use error::{Error, describe};
use journal_writer::JournalWriter;
use measured_step::measured;
pub(crate) use members::Members;
pub(crate) use plan::FoundNodes;
pub(crate) use roll_call::is_reachable;
use suspended::{Finishing, StepOutcome, Suspended, WaitReason};
use timers::Timers;
use wait_scope::WaitScope;

use crate::metrics::HeldLease;

const MIN_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Drives a deployment to its end, retrying after errors and panics. Returns early when the lease
/// is lost: another engine has acquired it, or this one has once more. Also where engines share the
/// store and only one of a newer release can read the journal: give the lease back. Notify `wake`
/// after somebody has appended to the journal.
///
/// Cancel safe at any moment: the same as a crash.
pub(crate) async fn drive(
    context: Arc<DriverContext>,
    deployment: DeploymentId,
    wake: Arc<Notify>,
) {
    let mut backoff = Backoff::new(MIN_DELAY, MAX_DELAY);
    let timers = context.timers.get(deployment, &context.clock);
    // Kept in the pauses between attempts: the store still knows the lease.
    let kept = (HeldLease::default(), NewestTrace::default());
    let mut known_damage = None;
    let _faults = ShownFaults {
        context: &context,
        deployment,
    };
    loop {
        let attempt = drive_once(&context, deployment, (&wake, &timers), &kept, &mut backoff);
        match AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(Ok(Driven::NewLease)) => continue,
            // Not at once: it may be that engines of two stores order the same nodes.
            Ok(Ok(Driven::FenceRaised)) => {
                reset_after_progress(&context, deployment, &mut backoff);
            }
            // Where the store does not know it, it was deleted after its end. What is open in the
            // store gets another driver.
            Ok(Ok(Driven::Ended) | Err(Error::Lease(LeaseError::Unknown(_)))) => {
                context.soak_warnings.end(deployment);
                context.timers.remove(deployment);
                return;
            }
            Ok(Err(Error::LeaseLost)) => {
                kept.1.within(|| {
                    tracing::info!(%deployment, "another engine drives the deployment");
                });
                context.soak_warnings.pass_on(deployment);
                return;
            }
            // A retry would read the same. An admin's request to terminate the deployment
            // notifies `wake`.
            Ok(Err(Error::Damaged(damage))) => {
                if known_damage.as_deref() != Some(&damage) {
                    kept.1.within(|| {
                        tracing::error!(%deployment, %damage, "this engine cannot read the journal");
                    });
                }
                if damage.needs_upgrade && context.journal.session().is_some() {
                    context.damaged.leave(deployment);
                    // A request that came before would not wake anyone again.
                    if wake.notified().now_or_never().is_none() {
                        context.soak_warnings.pass_on(deployment);
                        return;
                    }
                    context.damaged.reconsider(deployment);
                } else {
                    context.damaged.add(deployment);
                    wake.notified().await;
                }
                known_damage = Some(Box::new(damage));
                continue;
            }
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                kept.1
                    .within(|| tracing::error!(%deployment, error, "driver failed, retrying"));
                reset_after_progress(&context, deployment, &mut backoff);
                context.record_fault(deployment, describe(error));
            }
            Err(_) => {
                kept.1
                    .within(|| tracing::error!(%deployment, "driver panicked, retrying"));
                reset_after_progress(&context, deployment, &mut backoff);
                let reason = "the driver panicked, which is a bug: please report it";
                context.record_fault(deployment, reason.to_owned());
            }
        }
        tokio::select! {
            () = backoff.wait() => {}
            // An abort must not wait for the next attempt.
            () = wake.notified() => {}
        }
    }
}

/// Forgets what keeps a deployment from being driven when its driver ends or is dropped: another
/// engine may drive it then.
struct ShownFaults<'a> {
    context: &'a DriverContext,
    deployment: DeploymentId,
}

impl Drop for ShownFaults<'_> {
    fn drop(&mut self) {
        self.context.retries.clear(self.deployment);
        self.context.damaged.remove(self.deployment);
    }
}

/// Begins to retry as soon as at first, where the attempt that has failed came further than those
/// before: the writer of the journal forgets the last fault at its first append.
fn reset_after_progress(context: &DriverContext, deployment: DeploymentId, backoff: &mut Backoff) {
    if context.retries.get(deployment).is_none() {
        backoff.reset();
    }
}

/// How an attempt to drive a deployment ended.
enum Driven {
    /// The deployment has ended.
    Ended,
    /// The next attempt, with a later lease: another deployment has changed the nodes.
    NewLease,
    /// The next attempt, with a lease above the fence of a node.
    FenceRaised,
}

async fn drive_once(
    context: &DriverContext,
    deployment: DeploymentId,
    (wake, timers): (&Arc<Notify>, &Arc<Timers>),
    kept: &(HeldLease, NewestTrace),
    backoff: &mut Backoff,
) -> Result<Driven, Error> {
    let lease = context.journal.acquire_lease(deployment).await?;
    kept.0.acquired(lease.previous.is_some());
    let driver = Driver {
        context,
        deployment,
        wake,
        timers,
        fence: lease.fence,
        lost_at: lease.lost_at,
        trace: AttemptTrace::new(&lease),
        newest_trace: &kept.1,
    };
    loop {
        // Boxed, so that a deployment that waits does not keep the memory of a run.
        let outcome = match Box::pin(driver.step()).await {
            Ok(StepOutcome::Suspended(suspended)) => {
                trace::within(driver.trace.context(), suspended.wait(context)).await
            }
            Ok(StepOutcome::Finishing(finishing)) => {
                let finish = driver.finish(*finishing);
                Box::pin(trace::within(driver.trace.context(), finish)).await
            }
            outcome => outcome,
        };
        match outcome {
            Ok(StepOutcome::Ended) => return Ok(Driven::Ended),
            Ok(StepOutcome::NewLease) => return Ok(Driven::NewLease),
            // The next step reads the request from the journal, and decides anew.
            Ok(_) | Err(Error::Superseded) => {
                context.retries.clear(deployment);
                backoff.reset();
            }
            Err(Error::StaleFence { seen, ours }) => {
                Box::pin(driver.raise_fence(seen, ours)).await?;
                return Ok(Driven::FenceRaised);
            }
            Err(error) => return Err(error),
        }
    }
}

/// One attempt to drive a deployment, under one lease.
struct Driver<'a> {
    context: &'a DriverContext,
    deployment: DeploymentId,
    wake: &'a Arc<Notify>,
    timers: &'a Arc<Timers>,
    fence: Fence,
    /// Up to this position the store may have lost events.
    lost_at: u64,
    trace: AttemptTrace,
    newest_trace: &'a NewestTrace,
}

impl Driver<'_> {
    /// Reads the journal and does what comes next.
    async fn step(&self) -> Result<StepOutcome, Error> {
        let context = self.context;
        let opened = JournalWriter::open(
            Arc::clone(&context.journal),
            Arc::clone(&context.clock),
            Arc::clone(&context.retries),
            (self.deployment, self.fence),
        );
        let (writer, state) = match opened.await {
            Err(Error::Damaged(damage)) => {
                let lease = (self.deployment, self.fence);
                return terminate::terminate(context, self.timers, lease, damage).await;
            }
            opened => opened?,
        };
        let context = self.trace.begin(self.fence, &state.header);
        self.newest_trace.set(context);
        let has_ended = state.tail.lifecycle.is_ended();
        if state.may_lack_events(self.lost_at) && !has_ended {
            let note = losses::note(self.context, self.timers, writer, &state);
            Box::pin(trace::within(context, note)).await?;
            return Ok(StepOutcome::Advanced);
        }
        trace::within(context, self.advance(writer, state)).await
    }

    /// Does what comes after the journal's end.
    async fn advance(
        &self,
        writer: JournalWriter,
        state: ReplayState,
    ) -> Result<StepOutcome, Error> {
        let context = self.context;
        let scope = WaitScope::new(Arc::clone(self.wake), Arc::clone(self.timers));
        if let Some(predecessor) = self.open_predecessor(&state).await? {
            return Ok(StepOutcome::Suspended(Box::new(Suspended {
                writer,
                scope,
                module: state.header.module,
                reason: WaitReason::Predecessor(predecessor),
            })));
        }
        match state.tail.lifecycle.step {
            Step::Requested if state.header.require_approval => {
                gate::request_approval(context, &state.header, writer).await?;
                Ok(StepOutcome::Advanced)
            }
            Step::Gated => {
                let due = state.gate_due.unwrap_or(Timestamp::MAX);
                let due = self.timers.approval(due, state.header.policy.deadline);
                Ok(StepOutcome::Suspended(Box::new(Suspended {
                    writer,
                    scope,
                    module: state.header.module,
                    reason: WaitReason::Approval { due },
                })))
            }
            Step::Requested | Step::Approved => {
                let plan = plan::plan(context, &scope, &state.header, writer);
                measured("deployment.plan", plan).await?;
                Ok(StepOutcome::Advanced)
            }
            Step::Running | Step::Asking => {
                plan::tell(context, &state.header, &state.nodes);
                run::run(context, scope, writer, state).await
            }
            Step::Settling | Step::Reverting => self.finish(Finishing { writer, state }).await,
            Step::Ended(_) => Ok(StepOutcome::Ended),
        }
    }

    /// The deployment whose end a new one waits for: it supersedes that one.
    async fn open_predecessor(&self, state: &ReplayState) -> Result<Option<DeploymentId>, Error> {
        let is_new = state.tail.lifecycle.step == Step::Requested;
        match state.header.supersedes.filter(|_| is_new) {
            Some(id) if !predecessor::has_ended(self.context.journal.as_ref(), id).await? => {
                Ok(Some(id))
            }
            _ => Ok(None),
        }
    }

    /// Raises the store's fence to `seen`, which a node has seen. `ours` is that of the lease which
    /// the order had.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] where the fence is higher because another engine has acquired the
    /// lease. Others where the store fails.
    async fn raise_fence(&self, seen: Fence, ours: Fence) -> Result<(), Error> {
        let journal = &self.context.journal;
        // Appends nothing, but tells whether the lease is still ours.
        let compare = Append {
            deployment: self.deployment,
            expected: 0,
            fence: Some(ours),
            at: self.context.clock.now(),
            bodies: Vec::new(),
        };
        match journal.append(compare).await {
            Err(AppendError::Fenced(_)) => return Err(Error::LeaseLost),
            Ok(_) | Err(AppendError::Conflict(_)) => {}
            Err(error) => return Err(Error::Append(error)),
        }
        if journal.raise_fence(seen).await? {
            tracing::warn!(
                fence = seen.0,
                "the nodes have seen higher fences than this store has handed out: it is new, \
                 or was restored from a backup. Its fences go on above theirs"
            );
        }
        Ok(())
    }

    /// Settles or reverts.
    async fn finish(&self, finishing: Finishing) -> Result<StepOutcome, Error> {
        let context = self.context;
        match finishing.state.tail.lifecycle.step {
            Step::Settling => {
                let settle = settle::settle(context, self.timers, finishing);
                measured("deployment.settle", settle).await?;
            }
            Step::Reverting => {
                let Finishing { writer, state } = finishing;
                let revert = revert::revert(context, self.timers, writer, state);
                measured("deployment.revert", revert).await?;
            }
            // The next step reads where the journal ends.
            _ => return Ok(StepOutcome::Advanced),
        }
        Ok(StepOutcome::Ended)
    }
}

#[cfg(test)]
mod tests;
