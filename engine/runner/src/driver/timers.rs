//! When the waits of one deployment end, by the monotonic clock.
//!
//! The journal holds due times of the wall-clock, which people see. A wait measures once how
//! much is left: when it begins, or when an engine resumes it. From then on it counts by the
//! monotonic clock, so that a step of the wall-clock neither shortens nor lengthens it. What is
//! left is never more than the whole length of the wait, so that a clock that was set back
//! before a restart lengthens no wait either.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hotswap_core::{Clock, Deadline, SteadyTime, Timestamp};

/// An engine that begins to revert again, this long after the first one did, has only
/// [`LAST_REVERT_PATIENCE`]: engines that restart over and over must end some day.
const REVERT_CAP: Duration = Duration::from_secs(24 * 3600);
/// Long enough for several tries of each node.
const LAST_REVERT_PATIENCE: Duration = Duration::from_secs(10);

/// The ends of a deployment's waits. Kept while the deployment is open, so that each wait is measured
/// once, however often the driver begins again.
pub(super) struct Timers {
    clock: Arc<dyn Clock>,
    time: SteadyTime,
    ends: Mutex<Ends>,
}

/// When a wait ends by the monotonic clock; maybe never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End(Option<Instant>);

/// What was measured so far, each with its due time: a journal that has lost events may have another
/// wait in its place.
#[derive(Default)]
struct Ends {
    approval: Option<(Timestamp, End)>,
    /// The last call that waits, by its number.
    call: Option<((u32, Timestamp), End)>,
    deadline: Option<DeadlineTimer>,
}

#[derive(Clone, Copy)]
enum DeadlineTimer {
    Runs { due: Timestamp, end: End },
    Stopped { left: Duration },
}

impl End {
    pub(super) const NEVER: Self = Self(None);

    /// The earlier of both.
    pub(super) fn min(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(other)) => Self(Some(one.min(other))),
            (one, other) => Self(one.or(other)),
        }
    }

    /// The end of a wait that was due at `from` and is due at `to` now.
    fn moved(self, from: Timestamp, to: Timestamp) -> Self {
        let moved = |end: Instant| match to >= from {
            true => end.checked_add(to.since(from)),
            false => Some(end.checked_sub(from.since(to)).unwrap_or(end)),
        };
        Self(self.0.and_then(moved))
    }
}

impl Timers {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            time: SteadyTime::start(clock.as_ref()),
            clock,
            ends: Mutex::default(),
        }
    }

    /// The date and time for the strategy, which measures spans with it: it does not step while
    /// one engine drives the deployment.
    pub(super) fn steady_now(&self) -> Timestamp {
        self.time.now(self.clock.as_ref())
    }

    /// The end of a span that begins now.
    pub(super) fn after(&self, span: Duration) -> End {
        End(self.clock.instant().checked_add(span))
    }

    /// The end of the wait for the approval to start, which is due at `due` and takes at most
    /// `length`. Measured at the first call.
    pub(super) fn approval(&self, due: Timestamp, length: Duration) -> End {
        let mut ends = self.ends();
        match ends.approval {
            Some((measured, end)) if measured == due => end,
            _ => {
                let end = self.measure(due, length);
                ends.approval = Some((due, end));
                end
            }
        }
    }

    /// Begins the wait of a new call, which is due at `due`.
    pub(super) fn begin_call(&self, number: u32, due: Timestamp, length: Duration) {
        self.ends().call = Some(((number, due), self.after(length)));
    }

    /// The end of the wait of a call, which is due at `due` and takes at most `length`.
    /// Measured at its begin, or at the first call.
    pub(super) fn call(&self, number: u32, due: Timestamp, length: Duration) -> End {
        let mut ends = self.ends();
        match ends.call {
            Some((measured, end)) if measured == (number, due) => end,
            _ => {
                let end = self.measure(due, length);
                ends.call = Some(((number, due), end));
                end
            }
        }
    }

    /// How long this engine tries to revert a node, where the policy says `patience` and some
    /// engine began at `began`. The whole patience: an engine that was down has not tried. Only
    /// where the first try was twice the patience and [`REVERT_CAP`] ago, the rest is short.
    pub(super) fn revert_patience(&self, began: Option<Timestamp>, patience: Duration) -> Duration {
        let Some(began) = began else {
            return patience;
        };
        let cap = began + patience.saturating_mul(2).saturating_add(REVERT_CAP);
        let left = cap.since(self.clock.now());
        patience.min(left.max(LAST_REVERT_PATIENCE))
    }

    /// The wall-clock, for what people see.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The monotonic clock.
    pub(super) fn instant(&self) -> Instant {
        self.clock.instant()
    }

    /// The end of the deadline that the journal tells. Measured when it is first seen to run;
    /// a pause that stops it keeps what is left. Where its due time has changed and no pause was
    /// seen, the end moves by as much.
    pub(super) fn deadline(&self, deadline: &Deadline) -> End {
        let mut ends = self.ends();
        let timer = match (ends.deadline, deadline.falls_at(), deadline.stopped_with()) {
            (_, None, None) => return End::NEVER,
            (None, Some(due), _) => DeadlineTimer::Runs {
                due,
                end: self.measure(due, deadline.allowed()),
            },
            (None, None, Some(left)) => DeadlineTimer::Stopped { left },
            (Some(DeadlineTimer::Stopped { left }), Some(due), _) => DeadlineTimer::Runs {
                due,
                end: self.after(left),
            },
            (Some(DeadlineTimer::Runs { due: before, end }), Some(due), _) => DeadlineTimer::Runs {
                due,
                end: end.moved(before, due).min(self.after(deadline.allowed())),
            },
            (Some(DeadlineTimer::Runs { end, .. }), None, Some(_)) => DeadlineTimer::Stopped {
                left: self.left(end),
            },
            (Some(timer @ DeadlineTimer::Stopped { .. }), None, Some(_)) => timer,
        };
        ends.deadline = Some(timer);
        match timer {
            DeadlineTimer::Runs { end, .. } => end,
            DeadlineTimer::Stopped { .. } => End::NEVER,
        }
    }

    /// How long it is until `end`; zero once it has passed.
    pub(super) fn left(&self, end: End) -> Duration {
        end.0.map_or(Duration::MAX, |end| {
            end.saturating_duration_since(self.clock.instant())
        })
    }

    pub(super) fn has_passed(&self, end: End) -> bool {
        self.left(end).is_zero()
    }

    /// Sleeps until `end`. Cancel safe.
    pub(super) async fn sleep_until(&self, end: End) {
        match end.0 {
            Some(end) => self.clock.sleep_until(end).await,
            None => std::future::pending().await,
        }
    }

    /// The end of a wait; the journal holds its due time and its whole length.
    fn measure(&self, due: Timestamp, length: Duration) -> End {
        if due == Timestamp::MAX {
            return End::NEVER;
        }
        self.after(due.since(self.clock.now()).min(length))
    }

    /// Ignores poisoning: the ends are whole after every statement.
    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
