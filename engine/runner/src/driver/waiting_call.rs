//! Calls that wait: sleep, soak and approval.

use futures_util::future::Either;
use hotswap_core::{Answer, Call, Decision, ModuleVersion, RecordedCall};
use hotswap_fleet::Fleet;

use super::activity::CallActivity;
use super::context::DriverContext;
use super::error::Error;
use super::fresh_baseline::RestartedBaseline;
use super::journal_writer::JournalWriter;
use super::silence::SilenceWatch;
use super::soak::{Soak, Sources};
use super::soak_context::SoakContext;
use super::timers::{End, Timers};
use super::wait_scope::{Interrupt, WaitScope};
use crate::live_soaks::LiveSoak;

/// Waits until call `number`, which waits, is over, and returns its answer. After a restart
/// only the rest of the time is waited. A person can end a sleep and a soak before.
///
/// The call and what a soak needs come boxed: thousands may wait, and a future keeps its arguments
/// to its end.
///
/// # Errors
/// [`Interrupt`].
pub(super) async fn complete(
    context: &DriverContext,
    scope: &WaitScope,
    module: &ModuleVersion,
    (number, call): (u32, Box<RecordedCall>),
    soaks: Box<SoakContext>,
    writer: &mut JournalWriter,
) -> Result<Answer, Interrupt> {
    let end = end_of(scope, number, &call);
    let activity = CallActivity(&call.request).to_string();
    match call.request {
        Call::Approval { .. } => {
            let waiter = (Some(context), writer);
            let decision = scope.wait_for(waiter, &activity, end, JournalWriter::take_decision);
            Ok(Answer::Decision(decision.await?.unwrap_or_else(timed_out)))
        }
        Call::Soak { .. } => {
            // Boxed with all that only the beginning needs, so that the wait after it keeps none.
            let begun = {
                let (writer, activity) = (&mut *writer, &activity);
                Box::pin(async move {
                    let mut restarted = None;
                    if let Some(fresh) = &soaks.fresh_baseline {
                        let fence = writer.fence();
                        let restart = fresh.restart(context, fence, module, (number, &call));
                        let silence = SilenceWatch::new(soaks.tolerated);
                        let fleet = context.fleet.as_ref();
                        let restart =
                            unless_silent(restart, silence, &call.request, fleet, &scope.timers);
                        restarted = Some(scope.run(writer, activity, restart).await??);
                    }
                    let live = context.live_soaks.begin(soaks.deployment);
                    let mut soak = begin_soak(call, module, end, soaks, live);
                    if let (Some(soak), Some(restarted)) = (&mut soak, restarted) {
                        soak.compare_with(restarted);
                    }
                    Ok::<_, Interrupt>(soak)
                })
            };
            let Some(mut soak) = begun.await? else {
                return Ok(Answer::Done);
            };
            let sources = Sources {
                fleet: context.fleet.as_ref(),
                providers: &context.metric_providers,
                clock: &context.clock,
                retries: &context.retries,
            };
            // Boxed, as is what comes after the wait.
            let judged = Box::pin(soak.run(&sources, &scope.timers));
            let promoted = |writer: &JournalWriter| writer.promotion().cloned();
            let waiter = (Some(context), &mut *writer);
            let judged = scope.run_until(waiter, &activity, judged, promoted).await?;
            let promotion = match judged {
                Either::Left(verdict) => return Ok(Answer::Verdict(verdict)),
                Either::Right(promotion) => promotion,
            };
            let verdict =
                Box::pin(scope.run(writer, &activity, soak.finish(&sources, &scope.timers)))
                    .await?;
            Ok(Answer::Verdict(verdict.promoted(&promotion.by)))
        }
        _ => {
            let is_promoted = |writer: &mut JournalWriter| writer.promotion().map(drop);
            let waiter = (Some(context), writer);
            scope.wait_for(waiter, &activity, end, is_promoted).await?;
            Ok(Answer::Done)
        }
    }
}

/// The result of reloading the nodes of a baseline. Empty as soon as the canary falls silent: the
/// soak then ends before it compares.
async fn unless_silent(
    restart: impl Future<Output = Result<RestartedBaseline, Error>>,
    mut silence: SilenceWatch,
    soak: &Call,
    fleet: &dyn Fleet,
    timers: &Timers,
) -> Result<RestartedBaseline, Error> {
    let Call::Soak { canary, .. } = soak else {
        return restart.await;
    };
    tokio::select! {
        biased;
        restarted = restart => restarted,
        _ = silence.wait(canary.iter(), fleet, timers, End::NEVER) => {
            Ok(RestartedBaseline::default())
        }
    }
}

/// The soak of a call. No future, so that the boxes are gone once it begins.
#[expect(
    clippy::boxed_local,
    reason = "the boxes are taken over, so that the future that waits does not keep them"
)]
fn begin_soak(
    call: Box<RecordedCall>,
    module: &ModuleVersion,
    end: End,
    soaks: Box<SoakContext>,
    live: LiveSoak,
) -> Option<Box<Soak>> {
    let RecordedCall {
        request, readings, ..
    } = *call;
    Soak::resume(request, module, end, readings, *soaks, live).map(Box::new)
}

/// When the wait of a call ends.
pub(super) fn end_of(scope: &WaitScope, number: u32, call: &RecordedCall) -> End {
    let due = call.due.unwrap_or(call.at);
    let length = call.request.wait().unwrap_or_default();
    scope.timers.call(number, due, length)
}

/// The decision on a question that was not answered before its time-out.
fn timed_out() -> Decision {
    Decision {
        approved: false,
        by: String::new(),
        comment: Some("no decision in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hotswap_core::Health;

    use super::super::fixture::{ListedFleet, TestClock};
    use super::*;

    /// Without the canary there is nothing to compare with the reloaded nodes.
    #[tokio::test(start_paused = true)]
    async fn a_baseline_does_not_start_anew_beside_a_silent_canary() {
        let soak = Call::Soak {
            window: 3_600_000,
            canary: vec!["a".parse().unwrap()],
            baseline: vec!["b".parse().unwrap()],
            checks: Vec::new(),
        };
        let timers = Timers::new(Arc::new(TestClock::default()));
        for (health, ends) in [(Health::Passing, false), (Health::Critical, true)] {
            let mut fleet = ListedFleet::new(&[]);
            fleet.set_health("a", health);
            let never = std::future::pending();
            let silence = SilenceWatch::new(1);
            let restart = unless_silent(never, silence, &soak, &fleet, &timers);
            let minute = std::time::Duration::from_secs(60);
            let restarted = tokio::time::timeout(minute, restart).await;
            assert_eq!(restarted.is_ok(), ends, "{health:?}");
        }
    }
}
