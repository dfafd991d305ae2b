use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use hotswap_core::{Clock, SystemClock, Timestamp};

/// The machine's clock. Tests set its wall-clock forward and back, as an administrator or a
/// time service does; the monotonic clock goes on.
#[derive(Default)]
pub struct SteppedClock {
    stepped_millis: AtomicI64,
}

impl SteppedClock {
    /// Sets the wall-clock forward, or back.
    pub fn step(&self, seconds: i64) {
        let millis = seconds * 1000;
        self.stepped_millis.fetch_add(millis, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        let stepped = self.stepped_millis.load(Ordering::Relaxed);
        let now = SystemClock.now().millis();
        Timestamp::from_millis(now.saturating_add_signed(stepped))
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    async fn sleep_until(&self, at: Instant) {
        SystemClock.sleep_until(at).await;
    }
}
