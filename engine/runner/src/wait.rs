use std::sync::Arc;

use hotswap_core::{Cause, CauseKind, Clock, Timestamp};
use tokio::sync::Notify;

use crate::tape::{self, Tape};

/// What ends a deployment from outside while something is under way: somebody asks for
/// it, or its time is over. Also tells of pauses and decisions as they come.
pub(crate) struct Guard {
    /// Rung when somebody has appended something to the journal.
    pub(crate) bell: Arc<Notify>,
    pub(crate) clock: Arc<dyn Clock>,
    /// When the environment's policy ends the deployment.
    pub(crate) deadline: Timestamp,
    /// How long that is, for the message.
    pub(crate) allowed: std::time::Duration,
}

/// Why a wait ended before what it waited for.
pub(crate) enum Cut {
    /// The deployment is to end.
    Fail(Cause),
    /// The tape cannot be written any more.
    Tape(tape::Error),
}

impl Guard {
    /// Whether the deployment is to end now.
    pub(crate) fn check(&self, tape: &Tape) -> Result<(), Cut> {
        if let Some(cause) = tape.abort() {
            return Err(Cut::Fail(cause.clone()));
        }
        if self.clock.now() >= self.deadline {
            return Err(Cut::Fail(self.late()));
        }
        Ok(())
    }

    /// Waits for what `until` gives, unless the deployment is to end first. What people
    /// ask for meanwhile is heard by the tape; `until` is asked anew each time.
    pub(crate) async fn wait<T>(
        &self,
        tape: &mut Tape,
        work: impl Future<Output = T>,
    ) -> Result<T, Cut> {
        let mut work = std::pin::pin!(work);
        loop {
            self.check(tape)?;
            tokio::select! {
                // Work that is done counts, even when the deadline passes in the same moment.
                biased;
                done = &mut work => return Ok(done),
                () = self.bell.notified() => tape.catch_up().await.map_err(Cut::Tape)?,
                () = self.sleep_until(self.deadline) => {}
            }
        }
    }

    /// Waits until the tape has heard what `done` looks for; `None` when `due` came first.
    pub(crate) async fn hear<T>(
        &self,
        tape: &mut Tape,
        due: Timestamp,
        mut done: impl FnMut(&mut Tape) -> Option<T>,
    ) -> Result<Option<T>, Cut> {
        loop {
            self.check(tape)?;
            if let Some(found) = done(tape) {
                return Ok(Some(found));
            }
            if self.clock.now() >= due {
                return Ok(None);
            }
            tokio::select! {
                () = self.bell.notified() => tape.catch_up().await.map_err(Cut::Tape)?,
                () = self.sleep_until(due.min(self.deadline)) => {}
            }
        }
    }

    /// Sleeps until the clock says that `due` has come.
    pub(crate) async fn sleep_until(&self, due: Timestamp) {
        loop {
            let rest = due.since(self.clock.now());
            if rest.is_zero() {
                return;
            }
            tokio::time::sleep(rest).await;
        }
    }

    fn late(&self) -> Cause {
        let seconds = self.allowed.as_secs_f64();
        let message =
            format!("not done within {seconds} s, the deadline that the environment's policy sets");
        Cause::new(CauseKind::Deadline, message)
    }
}
