//! How long an order may take that loads a version.

use std::time::Duration;

use hotswap_core::{NodeError, NodeId};
use hotswap_protocol::{LoadPhase, OrderProgress};
use tokio::time::Instant;

use crate::Options;

/// How often the progress of one order is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Follows an order that takes long. It may take as long as it comes on.
#[derive(Debug)]
pub(super) struct Staging<'a> {
    node: &'a NodeId,
    options: &'a Options,
    last: Option<OrderProgress>,
    /// When something last changed.
    changed_at: Instant,
    logged_at: Instant,
}

impl<'a> Staging<'a> {
    pub(super) fn new(node: &'a NodeId, options: &'a Options) -> Self {
        let now = Instant::now();
        Self {
            node,
            options,
            last: None,
            changed_at: now,
            logged_at: now,
        }
    }

    /// Notes how far the node is.
    ///
    /// # Errors
    /// [`NodeError::Other`] if it has not come on for too long.
    pub(super) fn check(&mut self, progress: OrderProgress) -> Result<(), NodeError> {
        let now = Instant::now();
        let changed = self.last.is_none_or(|last| {
            last.phase != progress.phase || last.received_bytes != progress.received_bytes
        });
        if changed {
            self.changed_at = now;
        }
        self.last = Some(progress);
        if now - self.logged_at >= LOG_INTERVAL {
            self.logged_at = now;
            tracing::info!(node = %self.node, "{}", describe(progress));
        }
        let span = now - self.changed_at;
        let (limit, what) = match progress.phase {
            LoadPhase::Fetching => (self.options.stall_timeout, "no byte has arrived"),
            LoadPhase::Compiling => (self.options.compile_timeout, "it has not been ready"),
        };
        if span < limit {
            return Ok(());
        }
        Err(NodeError::Other(format!(
            "{}; {what} for {:.0} s",
            describe(progress),
            limit.as_secs_f64()
        )))
    }
}

fn describe(progress: OrderProgress) -> String {
    match progress.phase {
        LoadPhase::Fetching => {
            let received = megabytes(progress.received_bytes);
            match progress.total_bytes {
                Some(total) => format!("still fetching, {received} of {} MB", megabytes(total)),
                None => format!("still fetching, {received} MB so far"),
            }
        }
        LoadPhase::Compiling => "still compiling".to_owned(),
    }
}

/// Millions of bytes, in one decimal if it is few.
fn megabytes(bytes: u64) -> String {
    let millions = bytes as f64 / 1e6;
    if millions < 10.0 {
        format!("{millions:.1}")
    } else {
        format!("{millions:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetching(received: u64) -> OrderProgress {
        OrderProgress {
            phase: LoadPhase::Fetching,
            received_bytes: received,
            total_bytes: Some(100_000_000),
        }
    }

    fn compiling() -> OrderProgress {
        OrderProgress {
            phase: LoadPhase::Compiling,
            ..fetching(100_000_000)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_may_take_as_long_as_bytes_arrive() {
        let (node, options) = ("node-1".parse().expect("an id"), Options::default());
        let mut staging = Staging::new(&node, &options);
        for received in 0..100 {
            tokio::time::advance(Duration::from_secs(59)).await;
            assert_eq!(staging.check(fetching(received * 1_000_000)), Ok(()));
        }
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(staging.check(compiling()), Ok(()));
        tokio::time::advance(Duration::from_secs(299)).await;
        assert_eq!(staging.check(compiling()), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        let error = staging.check(compiling()).expect_err("too long");
        assert_eq!(
            error.to_string(),
            "still compiling; it has not been ready for 300 s"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_without_new_bytes_fails_and_says_how_far_it_got() {
        let (node, options) = ("node-1".parse().expect("an id"), Options::default());
        let mut staging = Staging::new(&node, &options);
        assert_eq!(staging.check(fetching(43_200_000)), Ok(()));
        tokio::time::advance(Duration::from_secs(60)).await;
        let error = staging.check(fetching(43_200_000)).expect_err("a stall");
        assert_eq!(
            error.to_string(),
            "still fetching, 43 of 100 MB; no byte has arrived for 60 s"
        );
    }
}
