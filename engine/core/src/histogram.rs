use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Each power of two has 2⁵ buckets, so a bucket is at most a 32nd of its value wide. With 2³ the
/// judge needed twice the requests near a limit.
const PRECISION_BITS: u32 = 5;
/// The precision of histograms that do not say theirs: of old journals and of old nodes.
const OLD_PRECISION_BITS: u32 = 3;
/// The buckets that they have.
const OLD_BUCKETS: u16 = 272;

/// A sparse histogram of durations, in buckets of microseconds.
///
/// The layout is log-linear, as in HdrHistogram: one bucket for each µs below 64 µs, then 32
/// buckets for each power of two. Only buckets with a count are stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "StoredHistogram", into = "StoredHistogram")]
pub struct Histogram {
    /// Bucket and count, sorted by bucket, each count above zero.
    counts: Vec<(u16, u64)>,
}

/// A histogram as it is stored. One without precision is older than the present one, and has
/// eight buckets for each power of two.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredHistogram {
    Old(Vec<(u16, u64)>),
    New {
        precision: u32,
        counts: Vec<(u16, u64)>,
    },
}

impl From<StoredHistogram> for Histogram {
    fn from(stored: StoredHistogram) -> Self {
        match stored {
            StoredHistogram::New { precision, counts } if precision == PRECISION_BITS => {
                Self::from_non_zero(counts)
            }
            StoredHistogram::Old(counts) | StoredHistogram::New { counts, .. } => {
                Self::from_old_pairs(&counts)
            }
        }
    }
}

impl From<Histogram> for StoredHistogram {
    fn from(histogram: Histogram) -> Self {
        Self::New {
            precision: PRECISION_BITS,
            counts: histogram.counts,
        }
    }
}

impl Histogram {
    /// The number of buckets. The last one holds everything above two hours.
    pub const BUCKETS: usize = 928;
    /// How many bits of a value tell its bucket within a power of two.
    pub const PRECISION_BITS: u32 = PRECISION_BITS;

    /// The index of the bucket of a duration, less than [`Self::BUCKETS`].
    pub fn bucket(duration: Duration) -> usize {
        Self::bucket_of_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    /// The index of the bucket of a duration in microseconds, less than [`Self::BUCKETS`].
    pub fn bucket_of_micros(micros: u64) -> usize {
        let magnitude = (u64::BITS - micros.leading_zeros()).saturating_sub(PRECISION_BITS + 1);
        let index = (u64::from(magnitude) << PRECISION_BITS) + (micros >> magnitude);
        usize::try_from(index).map_or(Self::BUCKETS - 1, |index| index.min(Self::BUCKETS - 1))
    }

    /// The highest value in a bucket, in microseconds.
    pub fn upper_micros(bucket: usize) -> u64 {
        upper_micros(bucket as u64, PRECISION_BITS)
    }

    /// A histogram from pairs of bucket and count in the old layout, of eight buckets for each
    /// power of two. Each counts at the upper end of its bucket, as it was read there.
    fn from_old_pairs(pairs: &[(u16, u64)]) -> Self {
        let mut histogram = Self::default();
        for &(bucket, count) in pairs.iter().filter(|&&(_, count)| count > 0) {
            let upper = upper_micros(bucket.into(), OLD_PRECISION_BITS);
            let bucket = Self::bucket_of_micros(upper) as u16;
            histogram.add(&Self {
                counts: vec![(bucket, count)],
            });
        }
        histogram
    }

    /// The sum of histograms.
    pub fn sum<'a>(histograms: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sums = vec![0_u64; Self::BUCKETS];
        for &(bucket, count) in histograms
            .into_iter()
            .flat_map(|histogram| &histogram.counts)
        {
            if let Some(sum) = sums.get_mut(usize::from(bucket)) {
                *sum = sum.saturating_add(count);
            }
        }
        Self::from_counts(sums)
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

    /// A histogram from pairs of bucket and count, which come off the wire, in the layout of
    /// `precision`. `None` if that is not known, a bucket does not exist, or the buckets are not in
    /// rising order.
    pub fn from_pairs(precision: u32, pairs: Vec<(u16, u64)>) -> Option<Self> {
        let buckets = match precision {
            PRECISION_BITS => Self::BUCKETS,
            OLD_PRECISION_BITS => usize::from(OLD_BUCKETS),
            _ => return None,
        };
        let is_rising = pairs.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let is_known = pairs
            .last()
            .is_none_or(|&(bucket, _)| usize::from(bucket) < buckets);
        if !is_rising || !is_known {
            return None;
        }
        Some(if precision == PRECISION_BITS {
            Self::from_non_zero(pairs)
        } else {
            Self::from_old_pairs(&pairs)
        })
    }

    /// Pairs come from other programs and from journals of earlier engines.
    fn from_non_zero(mut counts: Vec<(u16, u64)>) -> Self {
        counts.retain(|&(_, count)| count > 0);
        Self { counts }
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
        self.above_bucket(Self::bucket(limit))
    }

    /// The number of durations in the buckets above `limit`.
    pub fn above_bucket(&self, limit: usize) -> u64 {
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

/// The highest value in a bucket of a layout, in microseconds.
fn upper_micros(bucket: u64, precision: u32) -> u64 {
    let each = 1_u64 << precision;
    if bucket < 2 * each {
        return bucket;
    }
    // A bucket off the wire or of a journal may be absurd; an overflow must not panic.
    let magnitude = u32::try_from((bucket >> precision) - 1).unwrap_or(u32::MAX);
    let mantissa = (bucket & (each - 1)) + each + 1;
    mantissa
        .checked_shl(magnitude)
        .filter(|value| value >> magnitude == mantissa)
        .map_or(u64::MAX, |end| end - 1)
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
    fn every_value_is_in_a_bucket_at_most_a_32nd_wide() {
        let mut last = 0;
        for micros in (0..100_000).chain((0..40).map(|shift| 1 << shift)) {
            let bucket = Histogram::bucket(Duration::from_micros(micros));
            assert!(bucket < Histogram::BUCKETS);
            if bucket + 1 < Histogram::BUCKETS {
                let upper = Histogram::upper_micros(bucket);
                assert!(
                    upper >= micros && upper <= micros + micros / 32,
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
                (actual - exact).abs() / exact <= 1.0 / 32.0,
                "{quantile}: {actual}"
            );
        }
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn since_is_the_inverse_of_add() {
        let (early, late) = (histogram(&[1, 5, 900]), histogram(&[5, 71, 71]));
        let mut both = early.clone();
        both.add(&late);
        assert_eq!(both.since(&early), late);
        assert_eq!(
            both.above(Duration::from_micros(70)),
            1,
            "71 is in the same bucket as 70"
        );
    }

    #[test]
    fn invalid_pairs_are_rejected() {
        let from_pairs = |pairs| Histogram::from_pairs(PRECISION_BITS, pairs);
        assert!(from_pairs(vec![(3, 1), (9, 2)]).is_some());
        assert!(from_pairs(vec![(9, 1), (3, 2)]).is_none());
        assert!(from_pairs(vec![(928, 1)]).is_none());
        assert!(Histogram::from_pairs(3, vec![(272, 1)]).is_none());
        assert!(Histogram::from_pairs(4, vec![(3, 1)]).is_none());
    }

    /// Otherwise a histogram of nothing would not be empty, and its shares were not numbers.
    #[test]
    fn buckets_without_durations_are_left_out() {
        for precision in [OLD_PRECISION_BITS, PRECISION_BITS] {
            let read = Histogram::from_pairs(precision, vec![(3, 0), (9, 2)]).unwrap();
            assert_eq!(read.pairs().len(), 1, "{precision}");
            let nothing = Histogram::from_pairs(precision, vec![(3, 0)]).unwrap();
            assert!(nothing.is_empty(), "{precision}");
        }
        for stored in ["[[3,0]]", r#"{"precision":5,"counts":[[3,0]]}"#] {
            let stored: Histogram = serde_json::from_str(stored).unwrap();
            assert!(stored.is_empty());
        }
    }

    /// Nodes and journals that are older than the present layout.
    #[test]
    fn the_old_layout_is_read_on() {
        // 100 µs and 5 ms in the old layout: buckets of 96 to 103 µs and of 4,608 to 5,119 µs.
        let old = vec![(36, 7), (81, 2)];
        let read = Histogram::from_pairs(3, old).unwrap();
        assert_eq!(read.quantile(0.5), Some(Duration::from_micros(103)));
        assert_eq!(read.quantile(0.95), Some(Duration::from_micros(5119)));
        let stored: Histogram = serde_json::from_str("[[36,7],[81,2]]").unwrap();
        assert_eq!(stored, read);
        let text = serde_json::to_string(&read).unwrap();
        assert!(text.starts_with(r#"{"precision":5,"counts":[["#), "{text}");
        assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), read);
        assert_eq!(upper_micros(u64::MAX, 3), u64::MAX);
    }
}
