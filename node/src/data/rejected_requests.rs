use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Requests that the node itself rejected: they never reached a version, so no version is at
/// fault.
#[derive(Debug, Default)]
pub(crate) struct RejectedRequests {
    malformed: AtomicU64,
    unroutable: AtomicU64,
}

impl RejectedRequests {
    /// Counts a request that is not valid HTTP, or whose host is not valid.
    pub(crate) fn count_malformed(&self) {
        self.malformed.fetch_add(1, Relaxed);
    }

    /// Counts a request for a module that does not run here.
    pub(super) fn count_unroutable(&self) {
        self.unroutable.fetch_add(1, Relaxed);
    }

    /// Requests that were not valid.
    pub(crate) fn malformed(&self) -> u64 {
        self.malformed.load(Relaxed)
    }

    /// Requests for modules that do not run here.
    pub(crate) fn unroutable(&self) -> u64 {
        self.unroutable.load(Relaxed)
    }
}
