//! Answers from the journal, for the thread on which the strategy computes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hotswap_core::{Answer, Call, CallReplay, Cause, RecordedCall, ReplayedCall};
use hotswap_plugins::ReadyAnswers;

/// Answers the calls of a strategy from the journal, as far as it goes. The host asks it first,
/// and [`super::execution::Execution`] counts afterwards what was answered.
pub(super) struct ReplayAnswers(Mutex<Answers>);

struct Answers {
    replay: CallReplay,
    /// Answered and not counted yet.
    answered: Vec<RecordedCall>,
}

impl ReplayAnswers {
    pub(super) fn new(replay: CallReplay) -> Self {
        Self(Mutex::new(Answers {
            replay,
            answered: Vec::new(),
        }))
    }

    /// Compares a call that was not answered with the journal.
    ///
    /// # Errors
    /// As [`CallReplay::next`].
    pub(super) fn next(&self, request: Call) -> Result<ReplayedCall, Cause> {
        self.lock().replay.next(request)
    }

    /// The calls that were answered since the last time, in order.
    pub(super) fn take_answered(&self) -> Vec<RecordedCall> {
        std::mem::take(&mut self.lock().answered)
    }

    /// As [`CallReplay::check_finished`].
    pub(super) fn check_finished(&self) -> Result<(), Cause> {
        self.lock().replay.check_finished()
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadyAnswers for ReplayAnswers {
    fn answer(&self, call: &Call) -> Option<Answer> {
        let mut answers = self.lock();
        let recorded = answers.replay.next_answered(call)?;
        let answer = recorded.answer();
        answers.answered.push(recorded);
        Some(answer)
    }

    fn is_replaying(&self) -> bool {
        self.lock().replay.is_replaying()
    }
}
