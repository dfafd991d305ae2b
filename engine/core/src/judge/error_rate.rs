//! Tests the share of requests that failed.

use std::collections::HashMap;

use crate::{Bursts, NodeId, NodeInterval, VersionInterval};

use super::dispersion::Dispersion;
use super::mixture::{self, ODDS};

/// An error rate that must not be missed. A soak has seen enough where a test would find this
/// share of errors on the new version alone.
pub(super) const NOTICEABLE: f64 = 0.10;
/// With fewer requests of a side, even a clear difference says little about the rest.
pub(super) const LEAST_REQUESTS: f64 = 50.0;
/// As how many errors the most damning reading counts at most where errors come one by one. With 1,
/// these are found later; with 3 they are not, and bursts condemn half as often.
const COUNTED: f64 = 3.0;
/// As how many bursts it counts at most where errors come in bursts.
const BURSTS: f64 = 3.0;
/// Readings that are kept for the interval. Above that, neighbours are merged.
const KEPT: usize = 64;

/// Requests and errors of both sides.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Counts {
    pub(super) requests: [f64; 2],
    pub(super) errors: [f64; 2],
}

/// The index of the new version in [`Counts`].
pub(super) const CANARY: usize = 0;
/// The index of the previous version.
pub(super) const BASELINE: usize = 1;

/// What the error rates say, after each reading.
///
/// Compares errors given requests, reading by reading (Lindon and Malek, "Anytime-valid inference
/// for multinomial count data", 2022): whatever the rate of both sides does in time, and whatever
/// share of the requests the canary gets. On nodes that run both versions also node by node.
#[derive(Debug, Clone)]
pub(super) struct ErrorRates {
    /// Everything that was seen, for people and for absolute limits.
    pub(super) total: Counts,
    /// What of it was compared with the other side.
    pub(super) compared: Counts,
    /// Where both versions run on the same nodes.
    by_node: bool,
    /// What could not be compared yet: one side had no requests.
    pending: Counts,
    pending_by_node: HashMap<NodeId, Counts>,
    /// Without spare capacity: ten thousand soaks may be under way.
    relative: Box<[RelativeBets]>,
    /// The most errors of the canary in one reading.
    most_errors: f64,
    both: Dispersion,
    canary: Dispersion,
    carried: f64,
    kept: Vec<Counts>,
}

/// The bets against one limit.
#[derive(Debug, Clone)]
struct RelativeBets {
    /// The limit, as `1 + increase`.
    factor: f64,
    /// The exponent of each bet, before it is divided by the dispersion.
    exponents: [f64; ODDS.len()],
    /// What the most damning reading has added to each beyond [`COUNTED`] errors.
    most: [f64; ODDS.len()],
    /// The errors of that reading.
    most_errors: f64,
}

impl RelativeBets {
    /// Adds a reading: what was compared, on each node or at once.
    fn add(&mut self, compared: &[Counts]) {
        let mut step = [0.0; ODDS.len()];
        for counts in compared {
            counts.bet(CANARY, self.factor, &mut step);
        }
        let errors = compared.iter().map(|counts| counts.errors[CANARY]).sum();
        for (index, added) in step.into_iter().enumerate() {
            self.exponents[index] += added;
            self.most[index] = self.most[index].max(added * share_beyond(COUNTED, errors));
        }
        self.most_errors = self.most_errors.max(errors);
    }

    /// The evidence where the most damning reading counts as few errors: one burst must not
    /// condemn, and until there were several, nobody knows that errors come in bursts.
    fn evidence(&self, dispersion: f64) -> f64 {
        let counted = counted_at_most(dispersion);
        let kept = share_beyond(COUNTED, self.most_errors);
        let beyond = if kept > 0.0 {
            share_beyond(counted, self.most_errors) / kept
        } else {
            0.0
        };
        mixture::mix(std::array::from_fn(|index| {
            (self.exponents[index] - beyond * self.most[index]) / dispersion
        }))
    }
}

/// As how many errors the most damning reading counts at most, where errors come in bursts of this
/// dispersion: [`COUNTED`], or [`BURSTS`]. All counts are divided by the dispersion, so a burst is
/// one error then; less would count bursts as less than they are, which are known by then.
fn counted_at_most(dispersion: f64) -> f64 {
    COUNTED.max(BURSTS * dispersion)
}

/// The share of a reading's errors that is beyond those that count.
fn share_beyond(counted: f64, errors: f64) -> f64 {
    1.0 - counted / errors.max(counted)
}

impl Counts {
    /// Requests that were lost with a process failed, too, and no counter of the node has them.
    fn add(&mut self, side: usize, interval: &VersionInterval) {
        let lost = interval.lost as f64;
        self.requests[side] += interval.requests as f64 + lost;
        self.errors[side] += interval.errors as f64 + lost;
    }

    fn add_all(&mut self, other: &Self) {
        for side in [CANARY, BASELINE] {
            self.requests[side] += other.requests[side];
            self.errors[side] += other.errors[side];
        }
    }

    /// Takes what can be compared: both sides have requests. A node does not read its counters at
    /// one instant, so an error may be counted before its request: it stays.
    fn take_comparable(&mut self) -> Option<Self> {
        if self.requests.iter().any(|&requests| requests <= 0.0) {
            return None;
        }
        let mut taken = *self;
        *self = Self::default();
        for side in [CANARY, BASELINE] {
            let errors = taken.errors[side];
            taken.errors[side] = errors.min(taken.requests[side]);
            self.errors[side] = errors - taken.errors[side];
        }
        Some(taken)
    }

    /// The share of requests that failed on a side.
    pub(super) fn rate(&self, side: usize) -> Option<f64> {
        let (requests, errors) = (self.requests[side], self.errors[side]);
        (requests > 0.0).then(|| (errors / requests).min(1.0))
    }

    /// The odds of an error to be the canary's where its rate is `factor` times the baseline's.
    pub(super) fn odds(&self, factor: f64) -> f64 {
        factor * self.requests[CANARY] / self.requests[BASELINE]
    }

    /// Adds, for each bet, its exponent against "the rate of `side` is at most `factor` times the
    /// other side's".
    fn bet(&self, side: usize, factor: f64, exponents: &mut [f64; ODDS.len()]) {
        let errors = self.errors[side];
        let all = errors + self.errors[1 - side];
        if all <= 0.0 {
            return;
        }
        let odds = factor * self.requests[side] / self.requests[1 - side];
        let base = odds.ln_1p();
        for (exponent, ratio) in exponents.iter_mut().zip(ODDS) {
            *exponent += errors * ratio.ln() + all * (base - (ratio * odds).ln_1p());
        }
    }
}

impl ErrorRates {
    /// Compares at these limits, each `1 + increase`. Earlier soaks of the deployment saw errors
    /// come in bursts so much.
    pub(super) fn new(
        factors: impl IntoIterator<Item = f64>,
        by_node: bool,
        earlier: Bursts,
    ) -> Self {
        let relative = factors.into_iter().map(|factor| RelativeBets {
            factor,
            exponents: [0.0; ODDS.len()],
            most: [0.0; ODDS.len()],
            most_errors: 0.0,
        });
        Self {
            total: Counts::default(),
            compared: Counts::default(),
            by_node,
            pending: Counts::default(),
            pending_by_node: HashMap::new(),
            relative: relative.collect(),
            most_errors: 0.0,
            both: Dispersion::after_soaks(earlier),
            canary: Dispersion::default(),
            carried: 0.0,
            kept: Vec::new(),
        }
    }

    /// Adds what the nodes did since the last reading.
    pub(super) fn observe(&mut self, intervals: &[NodeInterval]) {
        let mut reading = Counts::default();
        let mut compared = Vec::new();
        for interval in intervals {
            let mut counts = Counts::default();
            if let Some(canary) = &interval.canary {
                counts.add(CANARY, canary);
            }
            if let Some(baseline) = &interval.baseline {
                counts.add(BASELINE, baseline);
            }
            reading.add_all(&counts);
            if self.by_node {
                if !self.pending_by_node.contains_key(&interval.node) {
                    self.pending_by_node
                        .insert(interval.node.clone(), Counts::default());
                }
                let Some(pending) = self.pending_by_node.get_mut(&interval.node) else {
                    continue;
                };
                pending.add_all(&counts);
                compared.extend(pending.take_comparable());
            } else {
                self.pending.add_all(&counts);
            }
        }
        self.total.add_all(&reading);
        self.observe_canary(&reading);
        compared.extend(self.pending.take_comparable());
        for bets in &mut self.relative {
            bets.add(&compared);
        }
        if !compared.is_empty() {
            let mut sum = Counts::default();
            for counts in &compared {
                sum.add_all(counts);
            }
            let compared = sum;
            self.compared.add_all(&compared);
            let side = |side: usize| (compared.errors[side], compared.requests[side]);
            self.both.add(&[side(CANARY), side(BASELINE)]);
            self.keep(compared);
        }
    }

    fn observe_canary(&mut self, reading: &Counts) {
        let requests = reading.requests[CANARY];
        let errors = reading.errors[CANARY] + self.carried;
        let counted = errors.min(requests);
        self.carried = errors - counted;
        self.most_errors = self.most_errors.max(counted);
        if requests > 0.0 {
            self.canary.add(&[(counted, requests)]);
        }
    }

    fn keep(&mut self, compared: Counts) {
        if self.kept.len() == KEPT {
            let pairs = self.kept.chunks_exact(2).map(|pair| {
                let mut sum = pair[0];
                sum.add_all(&pair[1]);
                sum
            });
            self.kept = pairs.collect();
        }
        self.kept.push(compared);
    }

    /// By how much errors would come in bursts after this many more, one by one: on both sides,
    /// and on the canary alone.
    pub(super) fn dispersions_after(&self, errors: f64) -> (f64, f64) {
        (self.both.after(errors), self.canary.after(errors))
    }

    /// By how much errors came in bursts in this soak.
    pub(super) fn bursts(&self) -> Bursts {
        self.both.seen()
    }

    /// Readings that count, of both sides and of the canary alone.
    pub(super) fn readings(&self) -> (u32, u32) {
        (self.both.readings(), self.canary.readings())
    }

    /// The evidence against "the canary's rate is at most `factor` times the baseline's". 0 before
    /// the third reading. `factor` is one of those that the rates were made with.
    pub(super) fn relative_evidence(&self, factor: f64) -> f64 {
        let dispersion = self.both.value();
        if !dispersion.is_finite() {
            return 0.0;
        }
        let found = self.relative.iter().find(|bets| bets.factor == factor);
        found.map_or(0.0, |bets| bets.evidence(dispersion))
    }

    /// The evidence against "the canary's rate is at most `max`". 0 before the third reading.
    pub(super) fn absolute_evidence(&self, max: f64) -> f64 {
        let dispersion = self.canary.value();
        if !dispersion.is_finite() {
            return 0.0;
        }
        // The reading with the most errors counts as few, as for relative limits.
        let errors = (self.canary_errors() - self.beyond(dispersion)).max(0.0);
        let requests = self.total.requests[CANARY];
        mixture::evidence(requests / dispersion, errors / dispersion, max)
    }

    /// The errors of the canary's worst reading that do not count.
    fn beyond(&self, dispersion: f64) -> f64 {
        (self.most_errors - counted_at_most(dispersion)).max(0.0)
    }

    fn canary_errors(&self) -> f64 {
        self.total.errors[CANARY].min(self.total.requests[CANARY])
    }

    /// The interval of the canary's rate over the baseline's that the test leaves at the evidence
    /// `needed`. A bound is `None` if there is none.
    pub(super) fn ratio_interval(&self, needed: f64) -> (Option<f64>, Option<f64>) {
        let dispersion = self.both.value();
        if !dispersion.is_finite() {
            return (None, None);
        }
        let evidence = |side: usize, factor: f64| {
            let mut exponents = [0.0; ODDS.len()];
            let mut most = [0.0_f64; ODDS.len()];
            for counts in &self.kept {
                let before = exponents;
                counts.bet(side, factor, &mut exponents);
                let counted = counted_at_most(dispersion);
                let beyond = share_beyond(counted, counts.errors[side]);
                for index in 0..ODDS.len() {
                    let added = exponents[index] - before[index];
                    most[index] = most[index].max(added * beyond);
                }
            }
            mixture::mix(std::array::from_fn(|index| {
                (exponents[index] - most[index]) / dispersion
            }))
        };
        let highest_refuted =
            |side: usize| mixture::highest_refuted(needed, |factor| evidence(side, factor));
        let low = highest_refuted(CANARY);
        let high = highest_refuted(BASELINE).map(|factor| 1.0 / factor);
        (low, high)
    }

    /// The interval of the canary's rate at the evidence `needed`.
    pub(super) fn rate_interval(&self, needed: f64) -> (Option<f64>, Option<f64>) {
        let dispersion = self.canary.value();
        let requests = self.total.requests[CANARY];
        if !dispersion.is_finite() || requests <= 0.0 {
            return (None, None);
        }
        let n = requests / dispersion;
        let highest_refuted = |k: f64| {
            let (mut low, mut high) = (0.0, 1.0);
            for _ in 0..20 {
                let middle = f64::midpoint(low, high);
                if mixture::evidence(n, k, middle) < needed {
                    high = middle;
                } else {
                    low = middle;
                }
            }
            low
        };
        let failed = self.canary_errors() / dispersion;
        let low = highest_refuted((failed - self.beyond(dispersion) / dispersion).max(0.0));
        let high = 1.0 - highest_refuted(n - failed);
        (Some(low), Some(high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the bets against +50 % come to after these readings of unequal size: with all errors,
    /// and as it counts.
    fn evidence(errors: &[(f64, f64)]) -> (f64, f64) {
        let sizes = [(20.0, 180.0), (20.0, 180.0), (30.0, 170.0), (20.0, 180.0)];
        let mut bets = RelativeBets {
            factor: 1.5,
            exponents: [0.0; ODDS.len()],
            most: [0.0; ODDS.len()],
            most_errors: 0.0,
        };
        let mut dispersion = Dispersion::default();
        for (&(x, y), (c, b)) in errors.iter().zip(sizes) {
            bets.add(&[Counts {
                requests: [c, b],
                errors: [x, y],
            }]);
            dispersion.add(&[(x, c), (y, b)]);
        }
        let dispersion = dispersion.value();
        let all = mixture::mix(bets.exponents.map(|exponent| exponent / dispersion));
        (all, bets.evidence(dispersion))
    }

    #[test]
    fn evidence_has_the_reference_values() {
        for (errors, expected) in [
            (&[(5.0, 0.0); 3][..], 25.673_96),
            (&[(5.0, 0.0); 4][..], 35.333_34),
            (&[(20.0, 0.0), (0.0, 0.0), (0.0, 0.0)][..], 1.655_69),
        ] {
            let (actual, _) = evidence(errors);
            assert!((actual - expected).abs() < 1e-5, "{errors:?}: {actual}");
        }
    }

    #[test]
    fn the_most_damning_reading_counts_as_three_errors() {
        let (all, without) = evidence(&[(5.0, 0.0); 4]);
        assert!((0.8..0.95).contains(&(without / all)), "{without} of {all}");
        // A burst alone has a dispersion of its own size, and counts as about one error.
        let (_, burst) = evidence(&[(20.0, 0.0), (0.0, 0.0), (0.0, 0.0)]);
        assert!((0.0..1.7).contains(&burst), "{burst}");
    }

    /// Once bursts are known, the worst reading counts as some of them.
    #[test]
    fn where_errors_come_in_bursts_the_worst_counts_as_bursts() {
        let (all, counted) = evidence(&[(9.0, 0.0), (0.0, 0.0), (9.0, 1.0), (0.0, 0.0)]);
        assert!((0.7..=1.0).contains(&(counted / all)), "{counted} of {all}");
    }
}
