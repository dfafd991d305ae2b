//! What all drivers of an engine share. Imported by the supervisor and by every part of a
//! driver; imports none of them.

use std::sync::Arc;

use hotswap_core::{Clock, Timestamp};
use hotswap_fleet::Fleet;
use hotswap_store::Journal;
use tokio::sync::Semaphore;

use crate::limits::Limits;
use crate::strategies::Strategies;

pub(crate) struct DriverContext {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) strategies: Strategies,
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    /// One permit for each strategy that may run at the same time.
    pub(crate) instances: Semaphore,
}

impl DriverContext {
    /// A wait that is due after this moment suspends the deployment; for a shorter one the
    /// strategy keeps its instance.
    pub(crate) fn suspend_beyond(&self) -> Timestamp {
        self.clock.now() + self.limits.suspend_after
    }
}
