use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
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

/// Runs the future of `begin` to its end, and restarts it after a panic. Otherwise its subscribers
/// would wait for ever: later ones find that it has already begun.
pub(super) async fn run_to_end<F: Future<Output = ()>>(mut begin: impl FnMut() -> F) {
    let mut backoff = journal_backoff();
    while AssertUnwindSafe(begin()).catch_unwind().await.is_err() {
        tracing::error!(
            "what follows a journal for subscribers panicked, which is a bug: please report it; \
             it begins anew"
        );
        backoff.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_panics_is_begun_anew_until_it_ends() {
        let mut begun = 0;
        run_to_end(|| {
            begun += 1;
            let number = begun;
            async move {
                tokio::task::yield_now().await;
                assert!(number > 2, "as the test wants");
            }
        })
        .await;
        assert_eq!(begun, 3);
    }
}
