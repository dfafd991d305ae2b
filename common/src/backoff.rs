use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// Exponential back-off: each delay is twice the one before, up to a maximum. Jitter keeps
/// clients that failed together from retrying together.
///
/// Never gives up: the caller decides when to stop.
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    delays: ExponentialBackoff,
}

impl Backoff {
    /// Starts at `min` and doubles up to `max`. Jitter then adds up to 100 % of the delay, so no
    /// delay is longer than twice `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            delays: delays(min, max),
        }
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        // The sequence has no end: `max` only satisfies the iterator's type.
        self.delays.next().unwrap_or(self.max)
    }

    /// Sleeps for [`Self::next_delay`]. Cancel safe; a cancelled sleep counts as an attempt.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_delay()).await;
    }

    /// Starts over at the shortest delay. Call it after an attempt succeeded.
    pub fn reset(&mut self) {
        self.delays = delays(self.min, self.max);
    }
}

fn delays(min: Duration, max: Duration) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(min)
        .with_max_delay(max)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(2);

    #[test]
    fn doubles_up_to_the_maximum_and_never_ends() {
        let mut backoff = Backoff::new(MIN, MAX);
        let mut expected = MIN;
        for _ in 0..1000 {
            let delay = backoff.next_delay();
            assert!(delay >= expected && delay <= 2 * expected, "{delay:?}");
            expected = (2 * expected).min(MAX);
        }
    }

    #[test]
    fn reset_starts_at_the_minimum() {
        let mut backoff = Backoff::new(MIN, MAX);
        for _ in 0..10 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= 2 * MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_next_delay() {
        let mut backoff = Backoff::new(MIN, MAX);
        let start = tokio::time::Instant::now();
        backoff.wait().await;
        assert!(start.elapsed() >= MIN && start.elapsed() <= 3 * MIN);
    }
}
