use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::subscribers::Arrival;

/// How a series of events was delivered to all clients.
pub struct Delivery {
    /// The delay of each event at each client, in seconds, sorted.
    pub delays: Vec<f64>,
    /// How many events did not arrive, summed over all clients.
    pub lost: usize,
}

impl Delivery {
    /// Evaluates the events from number `first` on, which were due at the times `due`.
    ///
    /// # Errors
    /// If a client received an event twice, out of order, or one that was not published.
    pub fn evaluate(all_arrivals: &[Vec<Arrival>], first: u64, due: &[Instant]) -> Result<Self> {
        let mut delays = Vec::with_capacity(all_arrivals.len() * due.len());
        for arrivals in all_arrivals {
            let mut next = first;
            for Arrival { number, at } in arrivals {
                ensure!(
                    *number >= next,
                    "expected event {next} or later, got {number}"
                );
                let due = usize::try_from(number - first)
                    .ok()
                    .and_then(|n| due.get(n));
                let due = due.with_context(|| format!("event {number} was not published"))?;
                delays.push(at.saturating_duration_since(*due).as_secs_f64());
                next = number + 1;
            }
        }
        delays.sort_by(f64::total_cmp);
        let lost = all_arrivals.len() * due.len() - delays.len();
        Ok(Self { delays, lost })
    }

    /// The delay that this share of all events did not exceed, in seconds. NaN for no events.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.delays.len() as f64).ceil() as usize;
        let delay = self.delays.get(rank.saturating_sub(1));
        delay.copied().unwrap_or(f64::NAN)
    }
}
