//! How long the reconciler rests between two looks at the nodes.

use std::time::{Duration, Instant};

/// The least rest after each look. A node that registers during a rest waits for its end, so this
/// is as short as a look; changes that come one right after the other are still looked at together.
const MIN_REST: Duration = Duration::from_millis(1);
/// A look that took long because the machine is busy must not delay a node for longer.
const MAX_REST: Duration = Duration::from_millis(250);
/// A rest lasts so many times as long as the looks before took: with many nodes, they take a fifth
/// of a core.
const FACTOR: u32 = 4;
/// Looks of so much time together may follow each other without that. A few nodes that come and go
/// are looked at at once.
const BURST: Duration = Duration::from_millis(50);

/// Keeps looks at the nodes to a fifth of a core, except for bursts.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The time of looks that no rest has made up for yet.
    debt: Duration,
    /// When the last look ended.
    last: Option<Instant>,
}

impl Rest {
    /// How long to rest after a look that lasted from `began` to `ended`.
    pub(super) fn after(&mut self, began: Instant, ended: Instant) -> Duration {
        let rested = self
            .last
            .replace(ended)
            .map_or(Duration::ZERO, |last| began.saturating_duration_since(last));
        let took = ended.saturating_duration_since(began);
        let debt = self.debt.saturating_sub(rested / FACTOR) + took;
        // More than the longest rest makes up for would delay nodes long after a storm.
        self.debt = debt.min(BURST + MAX_REST / FACTOR);
        let rest = self.debt.saturating_sub(BURST).saturating_mul(FACTOR);
        rest.clamp(MIN_REST, MAX_REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// The rests after looks that take `took` each and follow each other without a pause.
    fn rests(took: Duration, looks: usize) -> Vec<Duration> {
        let (mut rest, mut now) = (Rest::default(), Instant::now());
        let mut rests = Vec::new();
        for _ in 0..looks {
            let length = rest.after(now, now + took);
            rests.push(length);
            now += took + length;
        }
        rests
    }

    #[test]
    fn a_few_long_looks_are_followed_by_the_least_rest() {
        assert_eq!(rests(millis(10), 5), [MIN_REST; 5]);
    }

    #[test]
    fn many_looks_take_a_fifth_of_the_time() {
        let rests = rests(millis(20), 100);
        let late: Duration = rests[50..].iter().sum();
        let share = 50.0 * 0.020 / (50.0 * 0.020 + late.as_secs_f64());
        assert!((0.19..0.21).contains(&share), "{share}");
    }

    #[test]
    fn no_rest_is_longer_than_the_longest_and_none_comes_long_after_a_storm() {
        // But for the rounding of a division.
        let is_longest = |rest: Duration| rest <= MAX_REST && rest + millis(1) > MAX_REST;
        assert!(
            rests(Duration::from_secs(5), 10)
                .into_iter()
                .all(is_longest)
        );
        let (mut rest, now) = (Rest::default(), Instant::now());
        let ended = now + Duration::from_secs(60);
        assert!(is_longest(rest.after(now, ended)));
        let later = ended + Duration::from_secs(1);
        assert_eq!(rest.after(later, later + millis(5)), MIN_REST);
    }
}
