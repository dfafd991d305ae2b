use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Sub-buckets for each power of two: a bucket is at most an eighth of its value wide.
const PRECISION_BITS: u32 = 3;

/// How many times something took how long, in buckets of microseconds whose width
/// grows with the value: below 8 µs one each, then eight for each power of two (the
/// log-linear layout of HdrHistogram). Kept sparse: only buckets that counted are held.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram {
    /// Bucket and count, sorted by bucket, each count above zero.
    counts: Vec<(u16, u64)>,
}

impl Histogram {
    /// How many buckets there are; the last one holds everything above 19 hours.
    pub const BUCKETS: usize = 272;

    /// The bucket that a span belongs to, below [`Self::BUCKETS`].
    pub fn bucket(span: Duration) -> usize {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let magnitude = (u64::BITS - micros.leading_zeros()).saturating_sub(PRECISION_BITS + 1);
        let index = (u64::from(magnitude) << PRECISION_BITS) + (micros >> magnitude);
        usize::try_from(index).map_or(Self::BUCKETS - 1, |index| index.min(Self::BUCKETS - 1))
    }

    /// The highest value that belongs to a bucket, in microseconds.
    pub fn upper_micros(bucket: usize) -> u64 {
        let bucket = bucket as u64;
        if bucket < 16 {
            return bucket;
        }
        let magnitude = (bucket >> PRECISION_BITS) - 1;
        let mantissa = (bucket & 7) + 8;
        ((mantissa + 1) << magnitude) - 1
    }

    /// From the counts of all buckets in order, as a node keeps them.
    pub fn from_counts(counts: impl IntoIterator<Item = u64>) -> Self {
        let counted = counts
            .into_iter()
            .enumerate()
            .filter(|&(_, count)| count > 0);
        Self {
            counts: counted
                .map(|(bucket, count)| (bucket as u16, count))
                .collect(),
        }
    }

    /// From bucket and count pairs off the wire; `None` where a bucket does not exist or
    /// they are not in rising order.
    pub fn from_pairs(pairs: Vec<(u16, u64)>) -> Option<Self> {
        let rising = pairs.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let known = pairs
            .last()
            .is_none_or(|&(bucket, _)| usize::from(bucket) < Self::BUCKETS);
        (rising && known).then_some(Self { counts: pairs })
    }

    /// Bucket and count of each bucket that counted, in rising order.
    pub fn pairs(&self) -> &[(u16, u64)] {
        &self.counts
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        // What comes off the wire may be absurd, but must not be a panic.
        self.counts
            .iter()
            .fold(0, |sum, &(_, count)| sum.saturating_add(count))
    }

    /// How many took longer than the whole of the bucket that `span` belongs to: those
    /// that were certainly slower, whatever the width of the buckets.
    pub fn above(&self, span: Duration) -> u64 {
        let limit = Self::bucket(span);
        self.counts
            .iter()
            .filter(|&&(at, _)| usize::from(at) > limit)
            .fold(0, |sum, &(_, count)| sum.saturating_add(count))
    }

    /// What was counted since `earlier`, where that is an earlier state of this one.
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bucket: u16| {
            let found = earlier.counts.binary_search_by_key(&bucket, |&(at, _)| at);
            found.map_or(0, |index| earlier.counts[index].1)
        };
        let rise = self
            .counts
            .iter()
            .map(|&(at, count)| (at, count.saturating_sub(before(at))));
        Self {
            counts: rise.filter(|&(_, count)| count > 0).collect(),
        }
    }

    /// Adds what another counted.
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

    /// The span that a share `quantile` (0 to 1) of them did not exceed, exact to the
    /// width of a bucket; `None` where nothing was counted.
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

    fn of(micros: &[u64]) -> Histogram {
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
    fn quantiles_are_the_values_within_a_bucket() {
        let histogram = of(&(1..=1000).collect::<Vec<_>>());
        for (quantile, exact) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0)] {
            let found = histogram.quantile(quantile).unwrap().as_micros() as f64;
            assert!(
                (found - exact).abs() / exact <= 0.125,
                "{quantile}: {found}"
            );
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn a_difference_undoes_a_sum() {
        let (early, late) = (of(&[1, 5, 900]), of(&[5, 70, 70]));
        let mut both = early.clone();
        both.add(&late);
        assert_eq!(both.since(&early), late);
        assert_eq!(
            both.above(Duration::from_micros(69)),
            1,
            "70 shares the bucket of 69"
        );
    }

    #[test]
    fn pairs_off_the_wire_are_checked() {
        assert!(Histogram::from_pairs(vec![(3, 1), (9, 2)]).is_some());
        assert!(Histogram::from_pairs(vec![(9, 1), (3, 2)]).is_none());
        assert!(Histogram::from_pairs(vec![(272, 1)]).is_none());
    }
}
