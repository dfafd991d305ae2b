//! Whether the wall-clock can be believed.

use std::time::{Duration, Instant};

use hotswap_core::{Clock, SteadyTime, Timestamp};

/// How far the wall-clock may move away from the monotonic clock. Far more than time services
/// correct in normal operation, and far less than a useful limit of age.
const TOLERANCE: Duration = Duration::from_secs(60 * 60);

/// How long nothing is deleted by age after the wall-clock was set, and after the engine's start.
/// In this time people and time services can notice a wrong date. A deletion cannot be undone.
const CAUTION: Duration = Duration::from_secs(60 * 60);

/// Compares the wall-clock with the monotonic clock.
pub(super) struct WallClock {
    /// The date when the watch began or the last step was noticed, plus the time since.
    expected: SteadyTime,
    believed_from: Instant,
}

/// What one look at the wall-clock found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// The date.
    pub now: Timestamp,
    /// Whether anything may be deleted because it is old at this date.
    pub is_believed: bool,
}

impl WallClock {
    /// Starts to watch `clock`. Its date is not believed at first: it may have been set while no
    /// engine ran.
    pub fn watch(clock: &dyn Clock) -> Self {
        Self {
            expected: SteadyTime::start(clock),
            believed_from: clock.instant() + CAUTION,
        }
    }

    /// Reads the date. Pass the clock that is watched.
    pub fn look(&mut self, clock: &dyn Clock) -> Look {
        // The date is read between the two, so that a thread that stands still shows no step.
        let earliest = self.expected.now(clock);
        let now = clock.now();
        let latest = self.expected.now(clock);
        // One of the two is zero.
        let difference = now.since(latest).max(earliest.since(now));
        if difference > TOLERANCE {
            tracing::warn!(
                ?difference,
                delay = ?CAUTION,
                "the wall-clock was set: nothing is deleted by its age for now"
            );
            *self = Self::watch(clock);
        }
        Look {
            now,
            is_believed: clock.instant() >= self.believed_from,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(60 * 60);
    const MONTH: Duration = Duration::from_secs(31 * 24 * 60 * 60);

    /// Both clocks stand still until a test moves them.
    struct StillClock(Mutex<(Timestamp, Instant)>);

    impl StillClock {
        fn start() -> Self {
            let now = Timestamp::from_millis(1_700_000_000_000);
            Self(Mutex::new((now, hotswap_core::SystemClock.instant())))
        }

        fn pass(&self, span: Duration) {
            let mut clocks = self.0.lock().unwrap();
            *clocks = (clocks.0 + span, clocks.1 + span);
        }

        fn set_forward(&self, span: Duration) {
            let mut clocks = self.0.lock().unwrap();
            clocks.0 = clocks.0 + span;
        }

        fn set_back(&self, span: Duration) {
            let mut clocks = self.0.lock().unwrap();
            let millis = clocks.0.millis() - span.as_millis() as u64;
            clocks.0 = Timestamp::from_millis(millis);
        }
    }

    #[async_trait]
    impl Clock for StillClock {
        fn now(&self) -> Timestamp {
            self.0.lock().unwrap().0
        }

        fn instant(&self) -> Instant {
            self.0.lock().unwrap().1
        }

        async fn sleep_until(&self, _at: Instant) {}
    }

    /// A wall-clock that has been right for an hour.
    fn believed() -> (StillClock, WallClock) {
        let clock = StillClock::start();
        let mut wall_clock = WallClock::watch(&clock);
        assert!(!wall_clock.look(&clock).is_believed);
        clock.pass(HOUR - MINUTE);
        assert!(!wall_clock.look(&clock).is_believed);
        clock.pass(MINUTE);
        let look = wall_clock.look(&clock);
        assert!(look.is_believed && look.now == clock.now());
        (clock, wall_clock)
    }

    #[test]
    fn a_step_in_either_direction_is_not_believed_for_an_hour() {
        for step in [StillClock::set_forward, StillClock::set_back] {
            let (clock, mut wall_clock) = believed();
            step(&clock, MONTH);
            assert!(!wall_clock.look(&clock).is_believed);
            clock.pass(HOUR - MINUTE);
            assert!(!wall_clock.look(&clock).is_believed);
            clock.pass(MINUTE);
            assert!(wall_clock.look(&clock).is_believed);
        }
    }

    #[test]
    fn a_date_that_is_set_right_again_is_not_believed_before_an_hour_either() {
        let (clock, mut wall_clock) = believed();
        clock.set_forward(MONTH);
        assert!(!wall_clock.look(&clock).is_believed);
        clock.pass(HOUR - MINUTE);
        clock.set_back(MONTH);
        assert!(!wall_clock.look(&clock).is_believed);
        clock.pass(HOUR - MINUTE);
        assert!(!wall_clock.look(&clock).is_believed);
        clock.pass(MINUTE);
        assert!(wall_clock.look(&clock).is_believed);
    }

    #[test]
    fn small_corrections_are_believed_until_they_add_up() {
        let (clock, mut wall_clock) = believed();
        for _ in 0..60 {
            clock.set_forward(MINUTE);
            assert!(wall_clock.look(&clock).is_believed);
        }
        clock.set_forward(MINUTE);
        assert!(!wall_clock.look(&clock).is_believed);
    }

    #[test]
    fn time_that_passes_on_both_clocks_is_no_step() {
        let (clock, mut wall_clock) = believed();
        clock.pass(MONTH);
        assert!(wall_clock.look(&clock).is_believed);
    }
}
