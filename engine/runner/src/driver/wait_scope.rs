//! Waiting within the bounds of a deployment: an abort and the deadline interrupt every wait.

use std::convert::Infallible;
use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::Either;
use hotswap_core::{Cause, CauseKind, JournalTail};
use humantime::format_duration;
use tokio::sync::Notify;

use super::activity::{self, Activity};
use super::context::DriverContext;
use super::error::Error;
use super::journal_writer::JournalWriter;
use super::plan_repairs::PlanRepairs;
use super::timers::{End, Timers};

/// Bounds the waits of one deployment: they end early when somebody requests an abort, or
/// when the deadline passes. Meanwhile the writer catches up with what people append.
pub(super) struct WaitScope {
    /// Notified when somebody has appended something to the journal.
    wake: Arc<Notify>,
    /// When the waits end.
    pub(super) timers: Arc<Timers>,
}

/// Why a wait ended early.
#[derive(Debug)]
pub(super) enum Interrupt {
    /// The deployment is to be reverted.
    Fail(Cause),
    /// The journal cannot be read or written any more.
    Journal(Error),
}

impl WaitScope {
    pub(super) fn new(wake: Arc<Notify>, timers: Arc<Timers>) -> Self {
        Self { wake, timers }
    }

    /// Checks that the deployment may continue with `activity`. Returns when its deadline
    /// falls.
    ///
    /// # Errors
    /// Where an abort is requested, or the deadline has passed.
    pub(super) fn check(&self, tail: &JournalTail, activity: &Activity<'_>) -> Result<End, Cause> {
        if let Some(cause) = &tail.signals.abort {
            return Err(cause.clone());
        }
        let deadline = self.timers.deadline(&tail.deadline);
        if self.timers.has_passed(deadline) {
            return Err(deadline_exceeded(tail.deadline.allowed(), activity));
        }
        Ok(deadline)
    }

    /// Runs `work`, which is `activity`, to its end.
    ///
    /// # Errors
    /// [`Interrupt`]. Drops `work` wherever it is.
    pub(super) async fn run<T>(
        &self,
        writer: &mut JournalWriter,
        activity: &Activity<'_>,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupt> {
        let never = |_: &JournalWriter| None::<Infallible>;
        match self
            .run_until((None, writer), activity, work, never)
            .await?
        {
            Either::Left(result) => Ok(result),
            Either::Right(never) => match never {},
        }
    }

    /// Runs `work`, which is `activity`, to its end or until `condition` returns a value, as
    /// [`Self::wait_for`] evaluates it. Returns the result of whichever comes first. With a
    /// context, repairs nodes of the plan meanwhile: give it where `work` changes none. A repair
    /// that is under way ends before this returns.
    ///
    /// # Errors
    /// [`Interrupt`]. Drops `work` wherever it is.
    pub(super) async fn run_until<T, U>(
        &self,
        (repairing, writer): (Option<&DriverContext>, &mut JournalWriter),
        activity: &Activity<'_>,
        work: impl Future<Output = T>,
        mut condition: impl FnMut(&JournalWriter) -> Option<U>,
    ) -> Result<Either<T, U>, Interrupt> {
        let mut repairs = PlanRepairs::of(repairing);
        let mut result = None;
        let mut work = pin!(work);
        loop {
            // Finished work counts, even if the deadline passes at the same moment.
            if !repairs.is_under_way()
                && let Some(result) = result.take()
            {
                return Ok(Either::Left(result));
            }
            let deadline = self.check(writer.tail(), activity)?;
            if result.is_none() {
                let begun = pin!(repairs.begin_if_due(writer));
                beside(go_on(work.as_mut(), &mut result), begun).await?;
            }
            if !repairs.is_under_way()
                && let Some(value) = condition(writer)
            {
                return Ok(Either::Right(value));
            }
            tokio::select! {
                biased;
                done = &mut work, if result.is_none() => result = Some(done),
                progress = repairs.progress() => {
                    let mut taken = Box::pin(repairs.take(progress?, writer));
                    beside(go_on(work.as_mut(), &mut result), taken.as_mut()).await?;
                }
                () = self.wake.notified() => {
                    let mut caught_up = Box::pin(writer.catch_up());
                    let mut caught_up = Box::pin(beside(repairs.go_on(), caught_up.as_mut()));
                    beside(go_on(work.as_mut(), &mut result), caught_up.as_mut()).await?;
                }
                () = self.timers.sleep_until(deadline) => {}
            }
        }
    }

    /// Waits until `condition` returns a value, and returns it; `None` when `due` comes first.
    /// Evaluates `condition` at the start and after each append by a person. With a context, repairs
    /// nodes of the plan meanwhile. A repair that is under way ends before this returns.
    ///
    /// # Errors
    /// [`Interrupt`].
    pub(super) async fn wait_for<T>(
        &self,
        (repairing, writer): (Option<&DriverContext>, &mut JournalWriter),
        activity: &Activity<'_>,
        due: End,
        mut condition: impl FnMut(&mut JournalWriter) -> Option<T>,
    ) -> Result<Option<T>, Interrupt> {
        let mut repairs = PlanRepairs::of(repairing);
        loop {
            let deadline = self.check(writer.tail(), activity)?;
            if !self.timers.has_passed(due) {
                repairs.begin_if_due(writer).await?;
            }
            let mut next = deadline;
            if !repairs.is_under_way() {
                if let Some(value) = condition(writer) {
                    return Ok(Some(value));
                }
                if self.timers.has_passed(due) {
                    return Ok(None);
                }
                next = due.min(deadline);
            }
            tokio::select! {
                progress = repairs.progress() => Box::pin(repairs.take(progress?, writer)).await?,
                () = self.wake.notified() => {
                    // Boxed, so that what waits does not keep the memory of a read.
                    let mut caught_up = Box::pin(writer.catch_up());
                    Box::pin(beside(repairs.go_on(), caught_up.as_mut())).await?;
                }
                () = self.timers.sleep_until(next) => {}
            }
        }
    }

    /// Repairs nodes of the plan before `activity`, where that was requested.
    ///
    /// # Errors
    /// [`Interrupt`].
    pub(super) async fn repair(
        &self,
        context: &DriverContext,
        writer: &mut JournalWriter,
        activity: &Activity<'_>,
    ) -> Result<(), Interrupt> {
        let waiter = (Some(context), writer);
        let repaired = self.wait_for(waiter, activity, End::NEVER, |_| Some(()));
        // Boxed, so that what waits later does not keep its memory.
        Box::pin(repaired).await.map(drop)
    }

    /// Waits until the deployment is not paused. Returns whether that came before `due`.
    ///
    /// # Errors
    /// [`Interrupt`].
    pub(super) async fn wait_while_paused(
        &self,
        context: &DriverContext,
        writer: &mut JournalWriter,
        due: End,
    ) -> Result<bool, Interrupt> {
        let resumed = |writer: &mut JournalWriter| (!writer.is_paused()).then_some(());
        let waiter = (Some(context), writer);
        let waited = self.wait_for(waiter, &activity::RESUME, due, resumed);
        Ok(waited.await?.is_some())
    }
}

/// Waits for `done`, and keeps polling `others` meanwhile. A future that is not polled can still be
/// given what it queued for, such as a connection to the store, and then holds it. If `done` waits
/// for the same connection, neither would ever end.
async fn beside<T>(
    others: impl Future<Output = Infallible>,
    done: Pin<&mut impl Future<Output = T>>,
) -> T {
    tokio::select! {
        biased;
        done = done => done,
        never = others => match never {},
    }
}

/// Runs `work` to its end, unless it has ended, and keeps its result. Never returns. Cancel safe.
async fn go_on<T>(work: Pin<&mut impl Future<Output = T>>, result: &mut Option<T>) -> Infallible {
    if result.is_none() {
        *result = Some(work.await);
    }
    pending().await
}

fn deadline_exceeded(allowed: Duration, activity: &Activity<'_>) -> Cause {
    let allowed = format_duration(allowed);
    let message = format!(
        "not done within {allowed}, the deadline of the environment's policy; \
         it waited for {activity}"
    );
    Cause::new(CauseKind::Deadline, message)
}

impl From<Cause> for Interrupt {
    fn from(cause: Cause) -> Self {
        Self::Fail(cause)
    }
}

impl From<Error> for Interrupt {
    fn from(error: Error) -> Self {
        Self::Journal(error)
    }
}

#[cfg(test)]
mod tests {
    use hotswap_core::{Clock, Deadline, EventBody, Lifecycle, Policy, Signals, Timestamp};

    use super::super::fixture::TestClock;
    use super::*;

    /// A scope, and the tail of a journal whose deadline falls after a minute.
    fn scope(clock: &Arc<TestClock>, abort: Option<Cause>) -> (WaitScope, JournalTail) {
        let mut deadline = Deadline::new(&Policy {
            deadline: Duration::from_secs(60),
            ..Policy::default_for(&"production".parse().unwrap())
        });
        let planned = EventBody::Planned {
            nodes: Vec::new(),
            missing: Vec::new(),
            cordoned: Vec::new(),
        };
        deadline.apply(clock.now(), &planned);
        let tail = JournalTail {
            next_seq: 2,
            lifecycle: Lifecycle::INITIAL,
            deadline,
            signals: Signals {
                abort,
                decision: None,
                promotion: None,
            },
            losses: 0,
            repaired: Default::default(),
        };
        let timers = Arc::new(Timers::new(Arc::clone(clock) as Arc<_>));
        (WaitScope::new(Arc::default(), timers), tail)
    }

    #[tokio::test(start_paused = true)]
    async fn the_cause_of_a_deadline_tells_what_was_waited_for() {
        let clock = Arc::new(TestClock::default());
        let (scope, tail) = scope(&clock, None);
        assert!(scope.check(&tail, &activity::RESUME).is_ok());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(scope.check(&tail, &activity::RESUME).is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        let cause = scope.check(&tail, &activity::RESUME).unwrap_err();
        assert_eq!(cause.kind, CauseKind::Deadline);
        assert_eq!(
            cause.message,
            "not done within 1m, the deadline of the environment's policy; \
             it waited for a person to resume it"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_abort_interrupts_before_and_after_the_deadline() {
        let abort = Cause::new(CauseKind::Abort, "aborted by ada");
        let clock = Arc::new(TestClock::default());
        let (scope, tail) = scope(&clock, Some(abort.clone()));
        for _ in 0..2 {
            let checked = scope.check(&tail, &activity::RESUME);
            assert_eq!(checked, Err(abort.clone()));
            tokio::time::advance(Duration::from_secs(60)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_in_the_past_has_passed() {
        let clock = Arc::new(TestClock::default());
        let (scope, _) = scope(&clock, None);
        let past = scope.timers.call(0, Timestamp::default(), Duration::MAX);
        scope.timers.sleep_until(past).await;
        assert!(scope.timers.has_passed(past));
    }
}
