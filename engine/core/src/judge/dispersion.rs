//! By how much errors come in bursts.

use crate::Bursts;

/// So many errors of a dispersion of [`PRIOR`] count as seen before any reading.
pub(super) const PRIOR_WEIGHT: f64 = 5.0;
/// The dispersion that is assumed before anything is known.
pub(super) const PRIOR: f64 = 2.0;
/// Before this many readings it is not known whether errors come in bursts.
pub(super) const LEAST_READINGS: u32 = 3;

/// The squared differences of neighbouring readings, over what they are where errors are
/// independent: about 1 then, and `b` where each error comes `b` times (Rao and Scott, "A simple
/// method for the analysis of clustered binary data", 1992). Dividing all counts by it makes the
/// tests hold for bursts, too.
#[derive(Debug, Default, Clone)]
pub(super) struct Dispersion {
    readings: u32,
    /// What earlier soaks saw.
    earlier: Bursts,
    squares: f64,
    expected: f64,
    /// Errors and requests of each side in the last reading.
    last: Vec<(f64, f64)>,
}

impl Dispersion {
    /// Of a deployment whose earlier soaks saw this.
    pub(super) fn after_soaks(earlier: Bursts) -> Self {
        Self {
            earlier,
            ..Self::default()
        }
    }

    /// What was seen in this soak.
    pub(super) fn seen(&self) -> Bursts {
        Bursts {
            squares: self.squares,
            expected: self.expected,
        }
    }

    /// Adds a reading: errors and requests of each side. Readings need not have equally many
    /// requests.
    pub(super) fn add(&mut self, sides: &[(f64, f64)]) {
        self.readings = self.readings.saturating_add(1);
        for (&(errors, requests), &(before, requests_before)) in sides.iter().zip(&self.last) {
            let exposures = requests * requests_before;
            if exposures > 0.0 {
                let difference = errors * requests_before - before * requests;
                self.squares += difference * difference / exposures;
                self.expected += errors + before;
            }
        }
        self.last.clear();
        self.last.extend_from_slice(sides);
    }

    /// How many readings there were.
    pub(super) fn readings(&self) -> u32 {
        self.readings
    }

    /// The dispersion, 1 or more. Infinite before the third reading: one burst must not condemn.
    pub(super) fn value(&self) -> f64 {
        if self.readings < LEAST_READINGS {
            return f64::INFINITY;
        }
        self.after(0.0)
    }

    /// The dispersion after this many more errors that come one by one.
    pub(super) fn after(&self, errors: f64) -> f64 {
        // Each is in two differences.
        let more = 2.0 * errors;
        let top = PRIOR_WEIGHT * PRIOR + self.earlier.squares + self.squares + more;
        let expected = PRIOR_WEIGHT + self.earlier.expected + self.expected + more;
        (top / expected).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(readings: &[[(f64, f64); 2]]) -> f64 {
        let mut dispersion = Dispersion::default();
        for sides in readings {
            dispersion.add(sides);
        }
        dispersion.value()
    }

    #[test]
    fn dispersion_has_the_reference_values() {
        let reading = |x, y| [(x, 20.0), (y, 180.0)];
        let burst = [reading(20.0, 0.0), reading(0.0, 0.0), reading(0.0, 0.0)];
        assert_eq!(after(&burst[..2]), f64::INFINITY);
        assert!((after(&burst) - 16.4).abs() < 1e-12);
        let few = [reading(1.0, 1.0), reading(0.0, 0.0), reading(2.0, 1.0)];
        assert!((after(&few) - 1.7).abs() < 1e-12);
    }

    /// The prior counts less with each error.
    #[test]
    fn errors_that_come_one_by_one_bring_it_down() {
        let dispersion = Dispersion::default();
        assert_eq!(dispersion.after(0.0), PRIOR);
        assert!((dispersion.after(7.0) - 24.0 / 19.0).abs() < 1e-12);
    }

    /// Twice as many requests with twice as many errors are no burst.
    #[test]
    fn traffic_that_changes_is_no_burst() {
        let reading = |n: f64| [(0.1 * n, n), (0.1 * n, n)];
        let steady = after(&[
            reading(100.0),
            reading(1000.0),
            reading(50.0),
            reading(700.0),
        ]);
        assert_eq!(steady, 1.0);
    }

    /// Each earlier error counts as one of this soak.
    #[test]
    fn what_earlier_soaks_saw_is_known_from_the_start() {
        let earlier = Bursts {
            squares: 990.0,
            expected: 195.0,
        };
        let dispersion = Dispersion::after_soaks(earlier);
        assert_eq!(dispersion.after(0.0), 5.0);
        assert_eq!(
            dispersion.value(),
            f64::INFINITY,
            "one burst must not condemn"
        );
        assert_eq!(dispersion.seen(), Bursts::default());
    }
}
