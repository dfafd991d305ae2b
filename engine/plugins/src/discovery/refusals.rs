//! What a backend was refused in one call. Refusals are in the log one by one, but a component cannot
//! fill the log with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tracing::warn;

use super::outgoing::Outgoing;

/// Refusals of one call that are in the log one by one.
const LOGGED: u32 = 10;

/// Counts the refusals of a call.
#[derive(Debug, Default)]
pub(super) struct Refusals(AtomicU32);

impl Refusals {
    /// Counts a refusal. Returns whether it belongs in the log.
    pub(super) fn count(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) < LOGGED
    }
}

/// A call of an instance. Says at its end, however it ends, how much the instance was refused if the
/// log does not have it all.
pub(super) struct RefusalsOfCall(Arc<Outgoing>);

impl RefusalsOfCall {
    pub(super) fn begin(outgoing: Arc<Outgoing>) -> Self {
        outgoing.refusals.0.store(0, Ordering::Relaxed);
        Self(outgoing)
    }
}

impl Drop for RefusalsOfCall {
    fn drop(&mut self) {
        let refused = self.0.refusals.0.load(Ordering::Relaxed);
        if refused > LOGGED {
            warn!(
                backend = &*self.0.name,
                refused,
                "the discovery backend was refused too much in one call; only the first refusals are in the log"
            );
        }
    }
}
