use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Each power of two has 2³ buckets, so a bucket is at most an eighth of its value wide.
const PRECISION_BITS: u32 = 3;

/// A sparse histogram of durations, in buckets of microseconds.
///
/// The layout is log-linear, as in HdrHistogram: one bucket for each µs below 8 µs, then eight
/// buckets for each power of two. Only buckets with a count are stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram {
    /// Bucket and count, sorted by bucket, each count above zero.
    counts: Vec<(u16, u64)>,
}

impl Histogram {
    /// The number of buckets. The last one holds everything above 19 hours.
    pub const BUCKETS: usize = 272;

    /// The index of the bucket of a duration, less than [`Self::BUCKETS`].
    pub fn bucket(duration: Duration) -> usize {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let magnitude = (u64::BITS - micros.leading_zeros()).saturating_sub(PRECISION_BITS + 1);
        let index = (u64::from(magnitude) << PRECISION_BITS) + (micros >> magnitude);
        usize::try_from(index).map_or(Self::BUCKETS - 1, |index| index.min(Self::BUCKETS - 1))
    }

    /// The highest value in a bucket, in microseconds.
    pub fn upper_micros(bucket: usize) -> u64 {
        let bucket = bucket as u64;
        if bucket < 16 {
            return bucket;
        }
        let magnitude = (bucket >> PRECISION_BITS) - 1;
        let mantissa = (bucket & 7) + 8;
        ((mantissa + 1) << magnitude) - 1
    }

    /// A histogram from the counts of all buckets, in order of the index.
    pub fn from_counts(counts: impl IntoIterator<Item = u64>) -> Self {
        let non_zero = counts
            .into_iter()
            .enumerate()
            .filter(|&(_, count)| count > 0);
        Self {
            counts: non_zero
                .map(|(bucket, count)| (bucket as u16, count))
                .collect(),
        }
    }

    /// A histogram from pairs of bucket and count, which come off the wire. `None` if a bucket
    /// does not exist, or the buckets are not in rising order.
    pub fn from_pairs(pairs: Vec<(u16, u64)>) -> Option<Self> {
        let is_rising = pairs.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let is_known = pairs
            .last()
            .is_none_or(|&(bucket, _)| usize::from(bucket) < Self::BUCKETS);
        (is_rising && is_known).then_some(Self { counts: pairs })
    }

    /// Index and count of each bucket with a count, in rising order.
    pub fn pairs(&self) -> &[(u16, u64)] {
        &self.counts
    }

    /// Whether the histogram holds no durations.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The number of durations.
    pub fn total(&self) -> u64 {
        // Counts off the wire may be absurd; an overflow must not panic.
        self.counts
            .iter()
            .fold(0, |sum, &(_, count)| sum.saturating_add(count))
    }

    /// The number of durations above the bucket of `limit`: those that are certainly longer
    /// than `limit`, whatever the width of the bucket.
    pub fn above(&self, limit: Duration) -> u64 {
        let limit = Self::bucket(limit);
        self.counts
            .iter()
            .filter(|&&(bucket, _)| usize::from(bucket) > limit)
            .fold(0, |sum, &(_, count)| sum.saturating_add(count))
    }

    /// The durations added since `earlier`, an earlier state of this histogram.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bucket: u16| {
            let found = earlier
                .counts
                .binary_search_by_key(&bucket, |&(index, _)| index);
            found.map_or(0, |index| earlier.counts[index].1)
        };
        let increases = self
            .counts
            .iter()
            .map(|&(at, count)| (at, count.saturating_sub(before(at))));
        Self {
            counts: increases.filter(|&(_, count)| count > 0).collect(),
        }
    }

    /// Adds all durations of another histogram.
    pub fn add(&mut self, other: &Self) {
        for &(bucket, count) in &other.counts {
            match self.counts.binary_search_by_key(&bucket, |&(at, _)| at) {
                Ok(index) => {
                    let sum = &mut self.counts[index].1;
                    *sum = sum.saturating_add(count);
                }
                Err(index) => self.counts.insert(index, (bucket, count)),
            }
        }
    }

    /// The duration that a share `quantile` (0 to 1) of all durations does not exceed, exact to
    /// the width of a bucket. `None` if the histogram is empty.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let rank = ((self.total() as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0_u64;
        self.counts.iter().find_map(|&(bucket, count)| {
            seen = seen.saturating_add(count);
            (seen >= rank).then(|| Duration::from_micros(Self::upper_micros(bucket.into())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(micros: &[u64]) -> Histogram {
        let mut counts = vec![0; Histogram::BUCKETS];
        for &value in micros {
            counts[Histogram::bucket(Duration::from_micros(value))] += 1;
        }
        Histogram::from_counts(counts)
    }

    #[test]
    fn every_value_is_in_a_bucket_at_most_an_eighth_wide() {
        let mut last = 0;
        for micros in (0..100_000).chain((0..40).map(|shift| 1 << shift)) {
            let bucket = Histogram::bucket(Duration::from_micros(micros));
            assert!(bucket < Histogram::BUCKETS);
            if bucket + 1 < Histogram::BUCKETS {
                let upper = Histogram::upper_micros(bucket);
                assert!(
                    upper >= micros && upper <= micros + micros / 8,
                    "{micros} {upper}"
                );
            }
            last = last.max(bucket);
        }
        assert_eq!(last, Histogram::BUCKETS - 1, "the last bucket is reached");
    }

    #[test]
    fn quantiles_are_exact_to_the_width_of_a_bucket() {
        let histogram = histogram(&(1..=1000).collect::<Vec<_>>());
        for (quantile, exact) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0)] {
            let actual = histogram.quantile(quantile).unwrap().as_micros() as f64;
            assert!(
                (actual - exact).abs() / exact <= 0.125,
                "{quantile}: {actual}"
            );
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn since_is_the_inverse_of_add() {
        let (early, late) = (histogram(&[1, 5, 900]), histogram(&[5, 70, 70]));
        let mut both = early.clone();
        both.add(&late);
        assert_eq!(both.since(&early), late);
        assert_eq!(
            both.above(Duration::from_micros(69)),
            1,
            "70 is in the same bucket as 69"
        );
    }

    #[test]
    fn invalid_pairs_are_rejected() {
        assert!(Histogram::from_pairs(vec![(3, 1), (9, 2)]).is_some());
        assert!(Histogram::from_pairs(vec![(9, 1), (3, 2)]).is_none());
        assert!(Histogram::from_pairs(vec![(272, 1)]).is_none());
    }
}
