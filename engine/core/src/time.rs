use std::fmt;
use std::ops::Add;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since the Unix epoch.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The latest time. It is never reached.
    pub const MAX: Self = Self(u64::MAX);

    /// The time this many milliseconds after the Unix epoch.
    pub fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this; zero if this is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    /// Saturates at [`Self::MAX`].
    fn add(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The time, injected so that tests can replace it.
///
/// The wall-clock and the monotonic clock are different things. Dates that people see and that
/// are journaled come from the wall-clock, which steps when the machine's clock is set. Spans
/// are measured by the monotonic clock alone.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The current date and time. It can step forward and back.
    fn now(&self) -> Timestamp;

    /// The current moment of the monotonic clock, which never steps. It may stand still while
    /// the machine is suspended.
    fn instant(&self) -> Instant;

    /// Returns once the monotonic clock shows `at`; at once if it is past.
    ///
    /// Cancel safe.
    async fn sleep_until(&self, at: Instant);
}

/// The machine's clock. Sleeping needs a tokio runtime; its monotonic clock is that of tokio,
/// which tests can pause.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that reads the system clock"
    )]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Timestamp(since.map_or(0, |elapsed| {
            u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
        }))
    }

    fn instant(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    async fn sleep_until(&self, at: Instant) {
        tokio::time::sleep_until(at.into()).await;
    }
}

/// A date and time that never steps: the wall-clock when it was started, plus the monotonic
/// span since. For times whose differences are spans.
#[derive(Debug, Clone, Copy)]
pub struct SteadyTime {
    started_at: Timestamp,
    started: Instant,
}

impl SteadyTime {
    /// Starts at the current time of `clock`.
    pub fn start(clock: &dyn Clock) -> Self {
        Self {
            started_at: clock.now(),
            started: clock.instant(),
        }
    }

    /// The current time. Pass the clock that it was started with.
    pub fn now(&self, clock: &dyn Clock) -> Timestamp {
        self.started_at + clock.instant().saturating_duration_since(self.started)
    }
}
