/// How many samples are kept: the tests gain little from more, and a thousand soaks of
/// two gauges each then hold 4 MiB.
const KEPT: usize = 256;

/// Samples of a gauge: all of them while they are few, then an even choice among all that
/// came (reservoir sampling), so that a long soak is not judged by its end alone.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    seen: u64,
    kept: Vec<f32>,
}

impl Gauge {
    pub(super) fn add(&mut self, value: f64) {
        self.seen = self.seen.saturating_add(1);
        if self.kept.len() < KEPT {
            self.kept.push(value as f32);
        } else if let Some(place) = usize::try_from(scatter(self.seen) % self.seen)
            .ok()
            .and_then(|place| self.kept.get_mut(place))
        {
            *place = value as f32;
        }
    }

    /// How many are kept, and so judged.
    pub(super) fn len(&self) -> u64 {
        self.kept.len() as u64
    }

    pub(super) fn above(&self, limit: f64) -> u64 {
        let above = self.kept.iter().filter(|&&value| f64::from(value) > limit);
        above.count() as u64
    }

    /// The value that a share `quantile` of the samples does not exceed.
    pub(super) fn quantile(&self, quantile: f64) -> Option<f64> {
        let mut sorted = self.kept.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let rank = (sorted.len() as f64 * quantile).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().map(f64::from)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): scatters a counter. A source of
/// chance would make the judge's answer differ on replay.
fn scatter(counter: u64) -> u64 {
    let mut mixed = counter.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_stream_is_kept_evenly_and_bounded() {
        let mut gauge = Gauge::default();
        for value in 0..100_000 {
            gauge.add(f64::from(value));
        }
        assert_eq!(gauge.len(), KEPT as u64);
        for (quantile, expected) in [(0.25, 25_000.0), (0.5, 50_000.0), (0.75, 75_000.0)] {
            let found = gauge.quantile(quantile).unwrap();
            assert!(
                (found - expected).abs() < 10_000.0,
                "{quantile} of the stream: {found}"
            );
        }
    }

    #[test]
    fn the_median_is_a_sample() {
        let mut gauge = Gauge::default();
        assert_eq!(gauge.quantile(0.5), None);
        for value in [3.0, 1.0, 2.0, 9.0] {
            gauge.add(value);
        }
        assert_eq!(gauge.quantile(0.5), Some(2.0));
        assert_eq!(gauge.above(2.0), 2, "equal is not above");
    }
}
