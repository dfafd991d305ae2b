//! A run of the strategy, from its start to its end or to the next long wait.

use std::pin::pin;

use futures_util::future::poll_immediate;
use hotswap_core::{
    CallReplay, Cause, CauseKind, EventBody, NodeFailure, ReplayState, Verification,
};
use hotswap_plugins::{Exit, Plan, Stop};

use super::activity::{STRATEGY, VERIFY};
use super::context::DriverContext;
use super::error::Error;
use super::execution::Execution;
use super::journal_writer::JournalWriter;
use super::measured_step::measured;
use super::members::Members;
use super::revert;
use super::soak_context::SoakContext;
use super::suspended::{Finishing, StepOutcome, Suspended, WaitReason};
use super::verify;
use super::wait_scope::{Interrupt, WaitScope};
use super::waiting_call::end_of;
use crate::strategies::PinError;

/// Who paused a deployment, where no person did.
const ENGINE: &str = "engine";

/// Runs the strategy, which replays the calls in the journal first. Where the journal ends
/// with a long wait, it suspends at once and needs no instance.
pub(super) async fn run(
    context: &DriverContext,
    scope: WaitScope,
    mut writer: JournalWriter,
    mut state: ReplayState,
) -> Result<StepOutcome, Error> {
    let suspend_after = context.limits.suspend_after;
    let is_promoted = state.tail.signals.promotion.is_some();
    let is_long = |number, call: &_| {
        !is_promoted && scope.timers.left(end_of(&scope, number, call)) > suspend_after
    };
    if let Some((number, call)) = state.take_wait(is_long) {
        let call = Box::new(call);
        let members = Members {
            nodes: &state.nodes,
            missing: &state.missing,
            cordoned: &state.cordoned,
        };
        let soaks = SoakContext::new(&state.header, members, &state.calls);
        let soaks = Box::new(soaks);
        let reason = WaitReason::Call {
            number,
            call,
            soaks,
        };
        return Ok(suspend(writer, scope, state, reason));
    }
    let loaded = context.strategies.load_pinned(&state.header.strategy);
    let strategy = match interruptible(&scope, &mut writer, loaded).await {
        Ok(Ok(strategy)) => strategy,
        Ok(Err(error)) => return without_strategy(error, writer, scope, state).await,
        Err(interrupt) => return interrupted(interrupt, writer, state).await,
    };
    // Runs of others may last for hours. The semaphore is never closed; without a permit there
    // would only be one run too many.
    let turn = context.instances.acquire();
    let _permit = match interruptible(&scope, &mut writer, turn).await {
        Ok(permit) => permit.ok(),
        Err(interrupt) => return interrupted(interrupt, writer, state).await,
    };
    let plan = Plan {
        deployment: state.header.id,
        environment: state.header.environment.clone(),
        module: state.header.module.clone(),
        nodes: std::mem::take(&mut state.nodes),
        config: state.header.config.clone(),
        limits: state.header.limits,
    };
    let replay = CallReplay::new(std::mem::take(&mut state.calls));
    let mut execution = Execution::new(
        context,
        &scope,
        &state.header,
        Members {
            nodes: &plan.nodes,
            missing: &state.missing,
            cordoned: &state.cordoned,
        },
        std::mem::take(&mut state.touched),
        &mut writer,
        replay,
    );
    let result = match strategy.run(&plan, &mut execution).await {
        // An abort after the last call must not be lost: nothing else checks for it any more.
        Exit::Succeeded => execution
            .check_success()
            .and_then(|()| execution.check_abort()),
        Exit::Failed(message) => Err(Cause::new(CauseKind::Strategy, message)),
        Exit::NoRoom(reason) => {
            // An abort reverts these nodes to what the plan says.
            state.touched = execution.into_touched();
            state.nodes = plan.nodes;
            return without_strategy(PinError::NoRoom(reason), writer, scope, state).await;
        }
        Exit::Trapped(cause) | Exit::Stopped(Stop::Fail(cause)) => Err(cause),
        Exit::Stopped(Stop::Suspend) => {
            let reason = execution.into_wait_reason()?;
            writer.flush().await?;
            return Ok(reason.map_or(StepOutcome::Advanced, |reason| {
                suspend(writer, scope, state, reason)
            }));
        }
    };
    state.touched = execution.into_touched();
    state.nodes = plan.nodes;
    let result = match result {
        Ok(()) if writer.is_paused() => {
            writer.flush().await?;
            let due = scope.timers.after(suspend_after);
            match scope.wait_while_paused(context, &mut writer, due).await {
                Ok(true) => Ok(()),
                Ok(false) => return Ok(suspend(writer, scope, state, WaitReason::Resume)),
                Err(interrupt) => Err(interrupt),
            }
        }
        result => result.map_err(Interrupt::from),
    };
    let verified = match result {
        Ok(()) => verify_success(context, &scope, &state, &mut writer).await,
        Err(interrupt) => Err(interrupt),
    };
    state.verification = verified.as_ref().ok().cloned();
    let settling = verified.map(|verification| Some(EventBody::Settling(Some(verification))));
    revert::append_or_begin(&mut writer, settling).await?;
    Ok(finishing(writer, state))
}

/// Runs `work`, without which the strategy cannot run. Where it is over at once, checks nothing:
/// the calls of the strategy tell better what the deployment waits for.
///
/// # Errors
/// [`Interrupt`]. Drops `work` wherever it is.
async fn interruptible<T>(
    scope: &WaitScope,
    writer: &mut JournalWriter,
    work: impl Future<Output = T>,
) -> Result<T, Interrupt> {
    let mut work = pin!(work);
    match poll_immediate(work.as_mut()).await {
        Some(done) => Ok(done),
        None => scope.run(writer, &STRATEGY, work).await,
    }
}

/// A deployment whose strategy did not get to run again.
async fn interrupted(
    interrupt: Interrupt,
    mut writer: JournalWriter,
    state: ReplayState,
) -> Result<StepOutcome, Error> {
    revert::append_or_begin(&mut writer, Err(interrupt)).await?;
    Ok(finishing(writer, state))
}

/// Asks the nodes of the plan whether they run the new version, and fails where more than the
/// policy tolerates do not.
async fn verify_success(
    context: &DriverContext,
    scope: &WaitScope,
    state: &ReplayState,
    writer: &mut JournalWriter,
) -> Result<Verification, Interrupt> {
    let mut not_updated = find_not_updated(context, scope, state, writer).await?;
    if !not_updated.is_empty() {
        // Some may have lost the new version since they were promoted.
        writer.flush().await?;
        let before = writer.tail().next_seq;
        context.due_repairs.request(state.header.id);
        scope.repair(context, writer, &VERIFY).await?;
        if writer.tail().next_seq > before {
            not_updated = find_not_updated(context, scope, state, writer).await?;
        }
    }
    let header = &state.header;
    let members = Members {
        nodes: &state.nodes,
        missing: &state.missing,
        cordoned: &state.cordoned,
    };
    verify::check(header, members, &not_updated)?;
    Ok(Verification { not_updated })
}

async fn find_not_updated(
    context: &DriverContext,
    scope: &WaitScope,
    state: &ReplayState,
    writer: &mut JournalWriter,
) -> Result<Vec<NodeFailure>, Interrupt> {
    let (fleet, header) = (context.fleet.as_ref(), &state.header);
    let asked = verify::find_not_updated(fleet, &scope.timers, header, &state.nodes);
    let asked = scope.run(writer, &VERIFY, measured("deployment.verify", asked));
    Ok(asked.await??)
}

/// The strategy has ended: `state` is brought up to the journal's end, except for the calls, which
/// nobody needs any more.
fn finishing(writer: JournalWriter, mut state: ReplayState) -> StepOutcome {
    state.tail = writer.tail().clone();
    StepOutcome::Finishing(Box::new(Finishing { writer, state }))
}

/// A deployment whose strategy is not loaded: it can only end, pause or try again.
async fn without_strategy(
    error: PinError,
    mut writer: JournalWriter,
    scope: WaitScope,
    state: ReplayState,
) -> Result<StepOutcome, Error> {
    // Nothing below would notice an abort or the deadline.
    if let Err(cause) = scope.check(writer.tail(), &STRATEGY) {
        return interrupted(cause.into(), writer, state).await;
    }
    match error {
        PinError::Passing(error) => Err(Error::Strategy(error)),
        PinError::NoRoom(reason) => Err(Error::NoRoom(reason)),
        PinError::Refused(_) if writer.is_paused() => {
            Ok(suspend(writer, scope, state, WaitReason::Resume))
        }
        PinError::Refused(reason) => {
            tracing::error!(deployment = %state.header.id, reason, "deployment paused");
            let (by, reason) = (ENGINE.to_owned(), Some(reason));
            writer.push(EventBody::Paused { by, reason });
            writer.flush().await?;
            Ok(StepOutcome::Advanced)
        }
    }
}

fn suspend(
    writer: JournalWriter,
    scope: WaitScope,
    state: ReplayState,
    reason: WaitReason,
) -> StepOutcome {
    StepOutcome::Suspended(Box::new(Suspended {
        writer,
        scope,
        module: state.header.module,
        reason,
    }))
}
