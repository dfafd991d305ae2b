use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hotswap_core::{Clock, SystemClock, Timestamp};

/// The machine's clock. Tests set its wall-clock forward and back, as an administrator or a
/// time service does; the monotonic clock goes on. Or they let time pass on both.
#[derive(Default)]
pub struct SteppedClock {
    stepped_millis: AtomicI64,
    passed_millis: AtomicU64,
}

impl SteppedClock {
    /// Sets the wall-clock forward, or back.
    pub fn step(&self, seconds: i64) {
        let millis = seconds * 1000;
        self.stepped_millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// Lets this time pass at once, on both clocks. It does not shorten a sleep that has begun.
    pub fn pass(&self, seconds: u64) {
        let millis = seconds * 1000;
        self.passed_millis.fetch_add(millis, Ordering::Relaxed);
    }

    fn passed(&self) -> Duration {
        Duration::from_millis(self.passed_millis.load(Ordering::Relaxed))
    }
}

#[async_trait]
impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        let stepped = self.stepped_millis.load(Ordering::Relaxed);
        let now = (SystemClock.now() + self.passed()).millis();
        Timestamp::from_millis(now.saturating_add_signed(stepped))
    }

    fn instant(&self) -> Instant {
        SystemClock.instant() + self.passed()
    }

    async fn sleep_until(&self, at: Instant) {
        let at = at.checked_sub(self.passed()).unwrap_or(at);
        SystemClock.sleep_until(at).await;
    }
}
