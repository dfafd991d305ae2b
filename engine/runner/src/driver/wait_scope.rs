//! Waiting within the bounds of a deployment: an abort and the deadline interrupt every wait.

use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{Cause, CauseKind, Clock, JournalTail, Timestamp};
use tokio::sync::Notify;

use super::error::Error;
use super::journal_writer::JournalWriter;

/// Bounds the waits of one deployment: they end early when somebody requests an abort, or
/// when the deadline passes. Meanwhile the writer catches up with what people append.
pub(super) struct WaitScope {
    /// Notified when somebody has appended something to the journal.
    wake: Arc<Notify>,
    clock: Arc<dyn Clock>,
    /// When the policy of the environment ends the deployment.
    deadline: Timestamp,
    /// How long the policy allows, for the message.
    allowed: Duration,
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
    pub(super) fn new(
        wake: Arc<Notify>,
        clock: Arc<dyn Clock>,
        deadline: Timestamp,
        allowed: Duration,
    ) -> Self {
        Self {
            wake,
            clock,
            deadline,
            allowed,
        }
    }

    /// Checks that the deployment may continue.
    ///
    /// # Errors
    /// Where an abort is requested, or the deadline has passed.
    pub(super) fn check(&self, tail: &JournalTail) -> Result<(), Cause> {
        if let Some(cause) = &tail.signals.abort {
            return Err(cause.clone());
        }
        if self.clock.now() >= self.deadline {
            return Err(self.deadline_exceeded());
        }
        Ok(())
    }

    /// Runs `work` to its end.
    ///
    /// # Errors
    /// [`Interrupt`]. Drops `work` wherever it is.
    pub(super) async fn run<T>(
        &self,
        writer: &mut JournalWriter,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupt> {
        let mut work = std::pin::pin!(work);
        loop {
            self.check(writer.tail())?;
            tokio::select! {
                // Finished work counts, even if the deadline passes at the same moment.
                biased;
                result = &mut work => return Ok(result),
                () = self.wake.notified() => writer.catch_up().await?,
                () = self.sleep_until(self.deadline) => {}
            }
        }
    }

    /// Waits until `condition` returns a value, and returns it; `None` when `due` comes first.
    /// Evaluates `condition` at the start and after each append by a person.
    ///
    /// # Errors
    /// [`Interrupt`].
    pub(super) async fn wait_for<T>(
        &self,
        writer: &mut JournalWriter,
        due: Timestamp,
        mut condition: impl FnMut(&mut JournalWriter) -> Option<T>,
    ) -> Result<Option<T>, Interrupt> {
        loop {
            self.check(writer.tail())?;
            if let Some(value) = condition(writer) {
                return Ok(Some(value));
            }
            if self.clock.now() >= due {
                return Ok(None);
            }
            tokio::select! {
                () = self.wake.notified() => writer.catch_up().await?,
                () = self.sleep_until(due.min(self.deadline)) => {}
            }
        }
    }

    /// Waits until the deployment is not paused. Returns whether that came before `due`.
    ///
    /// # Errors
    /// [`Interrupt`].
    pub(super) async fn wait_while_paused(
        &self,
        writer: &mut JournalWriter,
        due: Timestamp,
    ) -> Result<bool, Interrupt> {
        let resumed = |writer: &mut JournalWriter| (!writer.is_paused()).then_some(());
        Ok(self.wait_for(writer, due, resumed).await?.is_some())
    }

    /// Sleeps until the clock shows `due`. Cancel safe.
    pub(super) async fn sleep_until(&self, due: Timestamp) {
        loop {
            let rest = due.since(self.clock.now());
            if rest.is_zero() {
                return;
            }
            // The clock may have been set back meanwhile: look again.
            tokio::time::sleep(rest).await;
        }
    }

    fn deadline_exceeded(&self) -> Cause {
        let seconds = self.allowed.as_secs_f64();
        let message =
            format!("not done within {seconds} s, the deadline of the environment's policy");
        Cause::new(CauseKind::Deadline, message)
    }
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
    use hotswap_core::{Lifecycle, Signals};

    use super::*;

    struct FixedClock(Timestamp);

    impl Clock for FixedClock {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    /// A scope whose deadline is second 60, at this second.
    fn scope(now: u64) -> WaitScope {
        let second = |seconds| Timestamp::from_millis(seconds * 1000);
        WaitScope::new(
            Arc::default(),
            Arc::new(FixedClock(second(now))),
            second(60),
            Duration::from_secs(30),
        )
    }

    fn tail(abort: Option<Cause>) -> JournalTail {
        JournalTail {
            next_seq: 2,
            lifecycle: Lifecycle::INITIAL,
            signals: Signals {
                abort,
                decision: None,
            },
        }
    }

    #[test]
    fn a_deployment_may_continue_until_its_deadline() {
        assert_eq!(scope(59).check(&tail(None)), Ok(()));
        let cause = scope(60).check(&tail(None)).unwrap_err();
        assert_eq!(cause.kind, CauseKind::Deadline);
        assert_eq!(
            cause.message,
            "not done within 30 s, the deadline of the environment's policy"
        );
    }

    #[test]
    fn an_abort_interrupts_before_and_after_the_deadline() {
        let abort = Cause::new(CauseKind::Abort, "aborted by ada");
        for now in [0, 60] {
            let checked = scope(now).check(&tail(Some(abort.clone())));
            assert_eq!(checked, Err(abort.clone()));
        }
    }

    #[tokio::test]
    async fn sleeping_until_a_moment_in_the_past_returns_at_once() {
        let past = Timestamp::from_millis(1);
        scope(1).sleep_until(past).await;
    }
}
