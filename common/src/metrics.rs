//! What crates measure and servers show: counters and histograms with fixed label values, so
//! that nothing that clients send adds series. Cheap enough to be always on.
//!
//! They are those of the process: engines in one process, as in tests, share them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the buckets of a [`Durations`], in seconds: from a write to disk to a long
/// rollout. One more bucket has no bound.
pub const BOUNDS: [f64; 15] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0,
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// Points of metrics that were sent to a collector, by what became of them.
pub static METRIC_POINTS: Family<Counter, 2> =
    Family::new([("exported", Counter::new()), ("failed", Counter::new())]);

/// How long something took, each time it happened.
#[derive(Debug)]
pub struct Durations {
    buckets: [AtomicU64; BUCKETS],
    sum_micros: AtomicU64,
}

/// A snapshot of a [`Durations`].
#[derive(Debug, Clone, PartialEq)]
pub struct DurationsSnapshot {
    /// How often it happened.
    pub count: u64,
    /// How long it took altogether, in seconds.
    pub sum: f64,
    /// How often it took no longer than a bound, and longer than the one before. The last bound is
    /// infinite.
    pub buckets: Vec<(f64, u64)>,
}

/// A counter.
#[derive(Debug)]
pub struct Counter(AtomicU64);

/// A value that rises and falls.
#[derive(Debug)]
pub struct Gauge(AtomicU64);

/// One metric for each value of a label.
#[derive(Debug)]
pub struct Family<T, const N: usize>([(&'static str, T); N]);

impl Durations {
    /// Nothing has happened yet.
    pub const fn new() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum_micros: AtomicU64::new(0),
        }
    }

    /// Adds one.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    /// What has happened so far.
    pub fn snapshot(&self) -> DurationsSnapshot {
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|count| count.load(Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        DurationsSnapshot {
            count: buckets.iter().map(|(_, count)| count).sum(),
            sum: self.sum_micros.load(Relaxed) as f64 / 1e6,
            buckets,
        }
    }
}

impl Default for Durations {
    fn default() -> Self {
        Self::new()
    }
}

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds one.
    pub fn count(&self) {
        self.add(1);
    }

    /// Adds several at once.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

impl Gauge {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Replaces the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    /// Raises the value, or lowers it by a negative change.
    pub fn add(&self, change: f64) {
        let changed = |bits| Some((f64::from_bits(bits) + change).to_bits());
        // It never fails: the closure always returns a value.
        let _ = self.0.fetch_update(Relaxed, Relaxed, changed);
    }

    /// The value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}

impl Default for Gauge {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Family<T, N> {
    /// A family with these values of its label.
    pub const fn new(metrics: [(&'static str, T); N]) -> Self {
        Self(metrics)
    }

    /// The metric of a value. `None` if there is no such value.
    pub fn get(&self, value: &str) -> Option<&T> {
        let found = self.0.iter().find(|(known, _)| *known == value);
        found.map(|(_, metric)| metric)
    }

    /// Every value with its metric.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &T)> {
        self.0.iter().map(|(value, metric)| (*value, metric))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_buckets() {
        let durations = Durations::new();
        for millis in [1, 2, 40_000, 700_000] {
            durations.observe(Duration::from_millis(millis));
        }
        let snapshot = durations.snapshot();
        assert_eq!(snapshot.count, 4);
        assert!((snapshot.sum - 740.003).abs() < 1e-9, "{snapshot:?}");
        let count = |bound: f64| {
            let bucket = snapshot.buckets.iter().find(|(known, _)| *known == bound);
            bucket.unwrap().1
        };
        assert_eq!((count(0.001), count(0.0025)), (1, 1));
        assert_eq!((count(120.0), count(f64::INFINITY)), (1, 1));
    }

    #[test]
    fn a_family_has_the_values_that_it_was_made_with() {
        static FAMILY: Family<Counter, 2> =
            Family::new([("a", Counter::new()), ("b", Counter::new())]);
        FAMILY.get("b").unwrap().count();
        assert!(FAMILY.get("c").is_none());
        let counts: Vec<_> = FAMILY
            .iter()
            .map(|(value, count)| (value, count.get()))
            .collect();
        assert_eq!(counts, [("a", 0), ("b", 1)]);
    }
}
