use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use hotswap_runner::deployments::Error;

const LONGEST: Duration = Duration::from_secs(2);

/// Pauses between tries of what must be done in the end: longer each time, with jitter.
#[derive(Debug)]
pub(super) struct Pauses(ExponentialBackoff);

impl Pauses {
    /// From the shortest on.
    pub fn new() -> Self {
        Self(
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(50))
                .with_max_delay(LONGEST)
                .with_jitter()
                .without_max_times()
                .build(),
        )
    }

    /// The next one, after this failure.
    pub fn pause(&mut self, error: &Error) -> impl Future<Output = ()> + use<> {
        let error = error as &dyn std::error::Error;
        tracing::warn!(error, "could not read what to tell; trying again");
        tokio::time::sleep(self.0.next().unwrap_or(LONGEST))
    }
}
