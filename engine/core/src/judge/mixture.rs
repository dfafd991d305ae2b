//! The one building block of all sequential tests: a mixture e-process.
//!
//! Evidence is the logarithm of an e-value. Under the hypothesis that a limit is kept, the e-value
//! averages at most 1, whenever one looks, so that it ever reaches 1/α with a probability of at
//! most α (Ville's inequality). Each odds ratio of [`ODDS`] is a bet that the odds are that much
//! worse than the limit; the mixture grows nearly as fast as the best of them.

/// The odds ratios against the limit that are tried, and how much is put on each.
const BETS: [(f64, f64); 6] = [
    (1.3, 0.15),
    (2.0, 0.2),
    (4.0, 0.2),
    (10.0, 0.15),
    (40.0, 0.1),
    (1000.0, 0.2),
];

/// The odds ratios against the limit that are tried.
pub(super) const ODDS: [f64; BETS.len()] = {
    let mut odds = [0.0; BETS.len()];
    let mut index = 0;
    while index < odds.len() {
        odds[index] = BETS[index].0;
        index += 1;
    }
    odds
};

/// What the highest bet costs: where everything speaks against the limit, the evidence is this
/// much below the logarithm of the likelihood.
pub(super) const PRICE: f64 = 1.61;

/// Evidence beyond this is cut off. JSON has no infinity.
pub(super) const MOST: f64 = 1e6;

/// The logarithm of the mixture of e-values whose logarithms are given, one for each of [`ODDS`].
pub(super) fn mix(logs: [f64; ODDS.len()]) -> f64 {
    let mut bets = BETS.iter();
    mix_weighted(logs.map(|log| (log, bets.next().map_or(0.0, |(_, weight)| *weight))))
}

/// The logarithm of the mixture of e-values whose logarithms are given, each with its weight.
pub(super) fn mix_weighted<const N: usize>(bets: [(f64, f64); N]) -> f64 {
    let logs = bets.iter().map(|(log, _)| *log);
    let highest = logs.fold(f64::NEG_INFINITY, f64::max);
    if !highest.is_finite() {
        // NaN never counts against a version.
        return if highest == f64::INFINITY {
            MOST
        } else {
            -MOST
        };
    }
    let terms = bets.into_iter();
    let sum: f64 = terms
        .map(|(log, weight)| weight * (log - highest).exp())
        .sum();
    (highest + sum.ln()).clamp(-MOST, MOST)
}

/// The evidence against "each of `n` happens with a probability of at most `p`", of which `k`
/// happened. Both may be fractions.
pub(super) fn evidence(n: f64, k: f64, p: f64) -> f64 {
    if p <= 0.0 {
        return if k > 0.0 { MOST } else { 0.0 };
    }
    let p = p.min(1.0);
    mix(ODDS.map(|odds| k * odds.ln() - n * ((odds - 1.0) * p).ln_1p()))
}

/// [`evidence`] for many counts of one total.
pub(super) struct Binomial {
    p: f64,
    logs: [f64; ODDS.len()],
    costs: [f64; ODDS.len()],
}

impl Binomial {
    pub(super) fn new(n: f64, p: f64) -> Self {
        Self {
            p,
            logs: ODDS.map(f64::ln),
            costs: ODDS.map(|odds| n * ((odds - 1.0) * p.min(1.0)).ln_1p()),
        }
    }

    fn bet(&self, index: usize, k: f64) -> f64 {
        k * self.logs[index] - self.costs[index]
    }

    /// The evidence of `k`.
    pub(super) fn evidence(&self, k: f64) -> f64 {
        if self.p <= 0.0 {
            return if k > 0.0 { MOST } else { 0.0 };
        }
        mix(std::array::from_fn(|index| self.bet(index, k)))
    }

    /// A number that the evidence of `k` is not below: the best bet alone. Quick.
    pub(super) fn at_least(&self, k: f64) -> f64 {
        /// The logarithm of the least weight.
        const LEAST_WEIGHT: f64 = -2.302_586;
        let bets = (0..ODDS.len()).map(|index| self.bet(index, k));
        let best = bets.fold(-MOST, f64::max);
        (best + LEAST_WEIGHT).clamp(-MOST, MOST)
    }
}

/// The least `k` of `n` that is evidence of at least `needed` against the probability `p`. `None`
/// where not even `n` of them are.
pub(super) fn least_count(n: f64, p: f64, needed: f64) -> Option<f64> {
    if evidence(n, n, p) < needed {
        return None;
    }
    let (mut low, mut high) = (0.0, n);
    // Until the bounds are a millionth apart.
    for _ in 0..20 {
        let middle = f64::midpoint(low, high);
        if evidence(n, middle, p) < needed {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

/// The least `n` with which a share `share` of them is evidence of at least `needed` against the
/// probability `p`.
pub(super) fn least_total(share: f64, p: f64, needed: f64) -> f64 {
    const LARGEST: f64 = 1e12;
    let is_enough = |n: f64| evidence(n, n * share, p) >= needed;
    let mut high = 1.0;
    while !is_enough(high) {
        high *= 2.0;
        if high > LARGEST {
            return LARGEST;
        }
    }
    let mut low = high / 2.0;
    for _ in 0..20 {
        let middle = f64::midpoint(low, high);
        if is_enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The highest ratio that `evidence`, which falls with the ratio, refutes: by bisection of its
/// logarithm. `None` where it refutes none.
pub(super) fn highest_refuted(needed: f64, evidence: impl Fn(f64) -> f64) -> Option<f64> {
    let (mut low, mut high) = (-14.0_f64, 14.0_f64);
    if evidence(low.exp()) < needed {
        return None;
    }
    for _ in 0..16 {
        let middle = f64::midpoint(low, high);
        if evidence(middle.exp()) < needed {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(low.exp())
}

/// ln(eᵃ + eᵇ).
pub(super) fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY {
        return high;
    }
    high + (low - high).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_has_the_reference_values() {
        for (n, k, p, expected) in [
            (100.0, 15.0, 0.05, 5.457_25),
            (1000.0, 100.0, 0.05, 18.915_19),
            (200.0, 200.0, 0.95, 9.188_88),
            (1000.0, 5.0, 0.05, -15.473_91),
        ] {
            let actual = evidence(n, k, p);
            assert!((actual - expected).abs() < 1e-5, "{n} {k} {p}: {actual}");
        }
    }

    #[test]
    fn extremes_are_finite() {
        assert!(evidence(0.0, 0.0, 0.5).abs() < 1e-12);
        assert_eq!(evidence(10.0, 1.0, 0.0), MOST);
        assert_eq!(evidence(10.0, 0.0, 0.0), 0.0);
        assert_eq!(evidence(1e19, 1e19, 0.5), MOST);
        assert_eq!(evidence(1e19, 0.0, 0.5), -MOST);
        assert!(evidence(100.0, 100.0, 7.0) <= 0.0);
        assert_eq!(evidence(f64::NAN, 1.0, 0.5), -MOST);
    }

    #[test]
    fn many_counts_of_one_total_have_the_same_evidence() {
        for (n, p) in [(200.0, 0.05), (37.5, 0.95)] {
            let many = Binomial::new(n, p);
            for k in [0.0, 1.0, 12.5, n] {
                let exact = evidence(n, k, p);
                assert!((many.evidence(k) - exact).abs() < 1e-9, "{n} {k} {p}");
                assert!(many.at_least(k) <= exact, "{n} {k} {p}");
            }
        }
    }

    /// Averages at most 1 under the limit: exactly, by the sum over all outcomes.
    #[test]
    fn an_e_value_averages_at_most_one() {
        for (n, p) in [(12_u32, 0.05), (30, 0.5), (20, 0.95)] {
            let mut log_choose = 0.0_f64;
            let mut mean = 0.0;
            for k in 0..=n {
                let chance =
                    log_choose + f64::from(k) * f64::ln(p) + f64::from(n - k) * f64::ln_1p(-p);
                mean += (chance + evidence(n.into(), k.into(), p)).exp();
                log_choose += (f64::from(n - k) / f64::from(k + 1)).ln();
            }
            assert!((mean - 1.0).abs() < 1e-9, "{n} {p}: {mean}");
        }
    }

    #[test]
    fn least_counts_are_the_first_that_suffice() {
        let least = least_count(200.0, 0.05, 6.0).unwrap();
        assert!(evidence(200.0, least, 0.05) >= 6.0);
        assert!(evidence(200.0, least - 0.01, 0.05) < 6.0);
        assert_eq!(least_count(3.0, 0.95, 6.0), None);
        let least = least_total(0.15, 0.05, 6.0);
        assert!(evidence(least, 0.15 * least, 0.05) >= 6.0);
        assert!(evidence(0.999 * least, 0.15 * 0.999 * least, 0.05) < 6.0);
    }
}
