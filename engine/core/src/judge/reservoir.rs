/// How many samples are kept. More would hardly improve the tests, and a thousand soaks of
/// two gauges each then take 4 MiB.
const CAPACITY: usize = 256;

/// Samples of a gauge: all of them up to [`CAPACITY`], then an even choice among all that
/// were added (reservoir sampling), so that the end of a long soak does not decide alone.
#[derive(Debug, Default)]
pub(super) struct Reservoir {
    added: u64,
    samples: Vec<f32>,
}

impl Reservoir {
    pub(super) fn add(&mut self, value: f64) {
        self.added = self.added.saturating_add(1);
        if self.samples.len() < CAPACITY {
            self.samples.push(value as f32);
        } else if let Some(slot) = usize::try_from(mix(self.added) % self.added)
            .ok()
            .and_then(|index| self.samples.get_mut(index))
        {
            *slot = value as f32;
        }
    }

    /// How many samples are kept. Only these are judged.
    pub(super) fn len(&self) -> u64 {
        self.samples.len() as u64
    }

    /// How many samples are greater than `limit`.
    pub(super) fn count_above(&self, limit: f64) -> u64 {
        let above = self
            .samples
            .iter()
            .filter(|&&value| f64::from(value) > limit);
        above.count() as u64
    }

    /// The lowest sample that at least a share `quantile` (0 to 1) of the samples does not
    /// exceed.
    pub(super) fn quantile(&self, quantile: f64) -> Option<f64> {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let rank = (sorted.len() as f64 * quantile).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().map(f64::from)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a pseudo-random number from a
/// counter. With real randomness the judge would answer differently on replay.
fn mix(counter: u64) -> u64 {
    let mut mixed = counter.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_an_even_and_bounded_choice_of_a_long_stream() {
        let mut reservoir = Reservoir::default();
        for value in 0..100_000 {
            reservoir.add(f64::from(value));
        }
        assert_eq!(reservoir.len(), CAPACITY as u64);
        for (quantile, expected) in [(0.25, 25_000.0), (0.5, 50_000.0), (0.75, 75_000.0)] {
            let actual = reservoir.quantile(quantile).unwrap();
            assert!(
                (actual - expected).abs() < 10_000.0,
                "{quantile} of the stream: {actual}"
            );
        }
    }

    #[test]
    fn the_median_is_a_sample() {
        let mut reservoir = Reservoir::default();
        assert_eq!(reservoir.quantile(0.5), None);
        for value in [3.0, 1.0, 2.0, 9.0] {
            reservoir.add(value);
        }
        assert_eq!(reservoir.quantile(0.5), Some(2.0));
        assert_eq!(reservoir.count_above(2.0), 2, "equal is not above");
    }
}
