use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use hotswap_core::{Clock, Timestamp};
use hotswap_store::Session;

/// The date and time of the store's server, on which all engines of the store agree: one engine
/// journals when a wait ends, and another one may wait for that. The monotonic clock is that of
/// this machine.
pub(crate) struct StoreClock {
    clock: Arc<dyn Clock>,
    session: Arc<dyn Session>,
}

impl StoreClock {
    pub(crate) fn new(clock: Arc<dyn Clock>, session: Arc<dyn Session>) -> Self {
        Self { clock, session }
    }
}

#[async_trait]
impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        let (time, moment) = self.session.server_time();
        time + self.clock.instant().saturating_duration_since(moment)
    }

    fn instant(&self) -> Instant {
        self.clock.instant()
    }

    async fn sleep_until(&self, at: Instant) {
        self.clock.sleep_until(at).await;
    }
}
