//! What the engine shows of its connection to a store that several engines share. Where it alone
//! has the store, nothing is counted, and the lag is zero.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hotswap_common::metrics::Counter;
use tokio::time::Instant;

/// Connections to the store's server that broke and were made again.
pub static RECONNECTS: Counter = Counter::new();

/// How far this engine's view of the appends of all engines is behind.
pub static TAIL: TailLag = TailLag::new();

/// For how long a follower of the log has not been at its end.
///
/// A span and not a number of events: an engine that is cut off cannot know how many events it
/// lacks, and what it shows is as old as the span says in any case.
#[derive(Debug)]
pub struct TailLag(Mutex<Option<Follower>>);

#[derive(Debug)]
struct Follower {
    /// When it had last read everything.
    at_end: Instant,
    /// How old that may be although nothing is wrong.
    patience: Duration,
}

impl TailLag {
    const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The follower has read all that there is. While it goes on reading, it says so again
    /// within `patience`.
    pub(crate) fn is_at_end(&self, patience: Duration) {
        let at_end = Instant::now();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Follower { at_end, patience });
    }

    /// Nothing is followed any more.
    pub(crate) fn ended(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The time since the follower had read everything. Zero while it reads on as it should, and
    /// where there is nothing to follow.
    pub fn get(&self) -> Duration {
        let follower = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Follower { at_end, patience }) = &*follower else {
            return Duration::ZERO;
        };
        let elapsed = at_end.elapsed();
        if elapsed <= *patience {
            return Duration::ZERO;
        }
        elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_lag_begins_with_the_patience_and_ends_with_the_next_reading() {
        let lag = TailLag::new();
        assert_eq!(lag.get(), Duration::ZERO);
        let patience = Duration::from_secs(3);
        lag.is_at_end(patience);
        tokio::time::advance(patience).await;
        assert_eq!(lag.get(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(lag.get(), Duration::from_secs(7));
        lag.is_at_end(patience);
        assert_eq!(lag.get(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(4)).await;
        lag.ended();
        assert_eq!(lag.get(), Duration::ZERO);
    }
}
