//! By how much the latencies of one side depend on each other.

use std::collections::VecDeque;

use crate::Histogram;

use super::dispersion::{PRIOR, PRIOR_WEIGHT};

/// How many readings are kept, each as its share of slow requests.
const KEPT: usize = 64;
/// Readings by which it is decided which requests are slow.
pub(super) const FIRST: usize = 3;

/// The design effect of one side at one quantile: by how much the share of slow requests differs
/// between neighbouring blocks of readings, over what it does where latencies are independent.
/// Dividing all counts by it makes the tests hold for latencies that vary by reading.
#[derive(Debug, Clone)]
pub(super) struct DesignEffect {
    quantile: f64,
    /// The first readings, until there are enough to say what is slow.
    first: Vec<Histogram>,
    slow_above: usize,
    /// Slow requests and all requests of each of the last readings.
    shares: VecDeque<(f64, f64)>,
    slow: f64,
    total: f64,
}

impl DesignEffect {
    pub(super) fn new(quantile: f64) -> Self {
        Self {
            quantile,
            first: Vec::new(),
            slow_above: 0,
            shares: VecDeque::new(),
            slow: 0.0,
            total: 0.0,
        }
    }

    /// Adds a reading. One without requests says nothing.
    pub(super) fn add(&mut self, latency: &Histogram) {
        if latency.is_empty() {
            return;
        }
        if self.shares.is_empty() {
            self.first.push(latency.clone());
            if self.first.len() < FIRST {
                return;
            }
            let mut all = Histogram::default();
            for reading in &self.first {
                all.add(reading);
            }
            self.slow_above = all.quantile(self.quantile).map_or(0, Histogram::bucket);
            for reading in std::mem::take(&mut self.first) {
                self.add_share(&reading);
            }
        } else {
            self.add_share(latency);
        }
    }

    fn add_share(&mut self, latency: &Histogram) {
        let (slow, total) = (
            latency.above_bucket(self.slow_above) as f64,
            latency.total() as f64,
        );
        if self.shares.len() == KEPT {
            self.shares.pop_front();
        }
        self.shares.push_back((slow, total));
        self.slow += slow;
        self.total += total;
    }

    /// The bucket above which requests are slow. `None` before the third reading.
    pub(super) fn slow_above(&self) -> Option<usize> {
        (!self.shares.is_empty()).then_some(self.slow_above)
    }

    /// The design effect, 1 or more. Infinite before the third reading.
    pub(super) fn value(&self) -> f64 {
        if self.shares.is_empty() {
            return f64::INFINITY;
        }
        let edge = 1.0_f64.min(self.total / 2.0);
        let share = self.slow.clamp(edge, self.total - edge) / self.total;
        let spread = share * (1.0 - share);
        [1, 2, 4]
            .into_iter()
            .map(|length| self.of_blocks(length, spread))
            .fold(1.0, f64::max)
    }

    /// The design effect by blocks of `length` readings, counted from the last one. 1 where there
    /// are fewer than three blocks.
    fn of_blocks(&self, length: usize, spread: f64) -> f64 {
        let blocks = self.shares.len() / length;
        if blocks < FIRST {
            return 1.0;
        }
        let (mut squares, mut terms, mut before) = (0.0, 0.0, None);
        for block in 0..blocks {
            let end = self.shares.len() - block * length;
            let readings = self.shares.range(end - length..end);
            let (slow, total) =
                readings.fold((0.0, 0.0), |(slow, total), (k, m)| (slow + k, total + m));
            if let Some((slow_before, total_before)) = before {
                let difference: f64 = slow / total - slow_before / total_before;
                squares += difference * difference / (spread * (1.0 / total + 1.0 / total_before));
                terms += 1.0;
            }
            before = Some((slow, total));
        }
        // Few blocks cannot show that readings resemble those before them: until many do not, they
        // are taken to, the more the longer the blocks are.
        let prior = PRIOR + (length as f64).log2();
        (PRIOR_WEIGHT * prior + squares) / (PRIOR_WEIGHT + terms)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn latencies(fast: u64, slow: u64) -> Histogram {
        let mut counts = vec![0; Histogram::BUCKETS];
        counts[Histogram::bucket(Duration::from_millis(5))] = fast;
        counts[Histogram::bucket(Duration::from_millis(500))] = slow;
        Histogram::from_counts(counts)
    }

    fn after(readings: impl IntoIterator<Item = (u64, u64)>) -> f64 {
        let mut effect = DesignEffect::new(0.95);
        for (fast, slow) in readings {
            effect.add(&latencies(fast, slow));
        }
        effect.value()
    }

    #[test]
    fn it_is_not_known_before_the_third_reading() {
        assert_eq!(after([(95, 5), (95, 5)]), f64::INFINITY);
        assert_eq!(after([(95, 5), (0, 0), (95, 5)]), f64::INFINITY);
        assert!(after([(95, 5); 3]).is_finite());
    }

    /// The priors alone are 2, 3 and 4; steady readings bring them down to 1.
    #[test]
    fn steady_readings_have_no_effect() {
        assert_eq!(after([(97, 3); 64]), 1.0);
        assert!(after([(97, 3); 40]) < 1.5);
    }

    /// Of each four readings all are slow or none is: about one request in 40 counts.
    #[test]
    fn slow_spells_count_as_few_requests() {
        let spells = (0..40).map(|at| if at / 4 % 4 == 3 { (0, 10) } else { (10, 0) });
        let effect = after(spells);
        assert!((20.0..80.0).contains(&effect), "{effect}");
    }
}
