use std::time::Duration;

use hotswap_common::Backoff;
use hotswap_runner::deployments::Error;

const MIN_DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_secs(2);

/// The delays between attempts to read the journal.
pub(super) fn journal_backoff() -> Backoff {
    Backoff::new(MIN_DELAY, MAX_DELAY)
}

/// Logs why reading the journal failed. Retry after the back-off.
pub(super) fn log_retry(error: &Error) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(
        error,
        "reading the journal for subscribers failed; retrying"
    );
}
