//! Upper tail probabilities of the distributions behind the tests.

use statrs::function::gamma::ln_gamma;

/// Above this the logarithms of factorials are too coarse, in absolute terms, to derive a
/// probability from their difference.
const MAX_TRIALS: f64 = 1e12;

/// Terms are summed one by one up to this variance: 10,000 standard deviations make about
/// 100,000 terms, a fraction of a millisecond.
const MAX_VARIANCE: f64 = 1e8;

/// The terms of [`exceedance`] are summed as they are up to this many samples of one cohort.
const MAX_SAMPLES: f64 = 1e6;

/// The probability that `k` or more of `n` independent trials succeed, each with probability
/// `p`: P(Bin(n, p) ≥ k), exact to about ten digits.
///
/// Where `n` is so large that this would take long, uses a smaller number in the same
/// proportion, which only makes the result larger.
pub(super) fn binomial(n: u64, p: f64, k: u64) -> f64 {
    // NaN counts as certain, so that it never makes a check fail.
    if k == 0 || p.is_nan() || p >= 1.0 {
        return 1.0;
    }
    if k > n || p <= 0.0 {
        return 0.0;
    }
    let (n, k) = (n as f64, k as f64);
    let scale = (MAX_TRIALS / n)
        .min(MAX_VARIANCE / (n * p * (1.0 - p)))
        .min(1.0);
    let (n, k) = ((n * scale).floor(), (k * scale).floor());
    if k < 1.0 {
        return 1.0;
    }
    let ln_term = |k: f64| ln_choose(n, k) + ln_power(p.ln(), k) + ln_power((-p).ln_1p(), n - k);
    let odds = p / (1.0 - p);
    if k > n * p {
        let ratio = |i: f64| (n - i) / (i + 1.0) * odds;
        sum_terms(ln_term(k), k, n, ratio)
    } else {
        // The other tail: counts the trials that fail.
        let ratio = |i: f64| (n - i) / (i + 1.0) / odds;
        1.0 - sum_terms(ln_term(k - 1.0), n - (k - 1.0), n, ratio)
    }
}

/// The probability that `above` or more of `n1` samples exceed the `rank`-th lowest of `n0`
/// samples where both come from one distribution, whichever that is (the exceedance test of
/// Epstein, "Tables for the distribution of the number of exceedances", 1954).
///
/// This is a hypergeometric tail: at least `rank` of the lowest `rank + n1 − above` of all
/// samples belong to the `n0`. It accounts for the limit being an estimate itself.
pub(super) fn exceedance(n1: u64, above: u64, n0: u64, rank: u64) -> f64 {
    if above == 0 || rank == 0 {
        return 1.0;
    }
    if above > n1 || rank > n0 {
        return 0.0;
    }
    let scaled = |part: u64, whole: u64| {
        let (part, whole) = (part as f64, whole as f64);
        let scale = (MAX_SAMPLES / whole).min(1.0);
        ((part * scale).floor(), (whole * scale).floor())
    };
    let (above, n1) = scaled(above, n1);
    let (rank, n0) = scaled(rank, n0);
    if above < 1.0 || rank < 1.0 {
        return 1.0;
    }
    let drawn = rank + n1 - above;
    let ln_term = |h: f64| ln_choose(n0, h) + ln_choose(n1, drawn - h) - ln_choose(n0 + n1, drawn);
    if rank > drawn * n0 / (n0 + n1) {
        let ratio = |h: f64| (n0 - h) / (h + 1.0) * (drawn - h) / (n1 - drawn + h + 1.0);
        sum_terms(ln_term(rank), rank, drawn.min(n0), ratio)
    } else {
        // The other tail: counts what is drawn from the `n1`.
        let first = drawn - (rank - 1.0);
        let ratio = |h: f64| (n1 - h) / (h + 1.0) * (drawn - h) / (n0 - drawn + h + 1.0);
        1.0 - sum_terms(ln_term(rank - 1.0), first, drawn.min(n1), ratio)
    }
}

/// The sum of the terms from `first` to `last`.
///
/// `ln_first` is the logarithm of the first term, and `ratio` gives each next term relative
/// to the one before it. Ratios must fall, and soon be below one.
fn sum_terms(ln_first: f64, first: f64, last: f64, ratio: impl Fn(f64) -> f64) -> f64 {
    let (mut index, mut term, mut sum) = (first, 1.0, 1.0);
    while index < last {
        term *= ratio(index);
        sum += term;
        index += 1.0;
        if term.is_nan() || term < sum * 1e-16 {
            break;
        }
    }
    (ln_first + f64::ln(sum)).exp().min(1.0)
}

fn ln_choose(n: f64, k: f64) -> f64 {
    ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0)
}

/// The logarithm of a power: `exponent · ln_base`, and 0 for exponent 0 even where the
/// logarithm of the base is minus infinity.
fn ln_power(ln_base: f64, exponent: f64) -> f64 {
    if exponent == 0.0 {
        0.0
    } else {
        exponent * ln_base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(actual: f64, exact: f64) {
        assert!(
            (actual - exact).abs() <= exact * 1e-8,
            "{actual} is not {exact}"
        );
    }

    /// The exact values were summed as fractions, without rounding.
    #[test]
    fn binomial_tails_are_exact() {
        for (n, p, k, exact) in [
            (10, 0.5, 9, 0.0107421875),
            (11, 0.5, 11, 0.00048828125),
            (240, 0.01, 12, 7.061415891424505e-06),
            (100, 0.05, 3, 0.8817370188148791),
            (1000, 0.001, 9, 1.0936095204800178e-06),
            (15, 1.0 / 7.0, 12, 2.1516519540834013e-08),
            (15, 1.0 / 7.0, 8, 0.0004339330730864909),
        ] {
            assert_close(binomial(n, p, k), exact);
        }
    }

    #[test]
    fn binomial_tails_of_edge_cases_are_exact() {
        assert_eq!(binomial(0, 0.5, 0), 1.0);
        assert_eq!(binomial(5, 0.0, 0), 1.0);
        assert_eq!(binomial(5, 0.0, 1), 0.0);
        assert_eq!(binomial(5, 1.0, 5), 1.0);
        assert_eq!(binomial(5, 0.5, 6), 0.0);
        assert_close(binomial(5, 0.5, 5), 1.0 / 32.0);
        assert_close(binomial(5, 0.5, 1), 31.0 / 32.0);
    }

    #[test]
    fn exceedance_tails_are_exact() {
        for (n1, above, n0, rank, exact) in [
            (11, 11, 11, 6, 0.006191950464396285),
            (19, 19, 19, 10, 0.00019541231999518986),
            (18, 18, 18, 9, 0.0005164468457015732),
            (200, 30, 100, 95, 0.0068176453392555245),
            (50, 20, 60, 30, 0.8928547792768651),
        ] {
            assert_close(exceedance(n1, above, n0, rank), exact);
        }
        assert_eq!(exceedance(5, 0, 5, 3), 1.0);
        assert_eq!(exceedance(5, 6, 5, 3), 0.0);
        assert_eq!(exceedance(5, 1, 5, 6), 0.0);
    }

    /// With a perfectly known baseline, only the randomness of the canary is left.
    #[test]
    fn exceedance_approaches_binomial_for_a_large_baseline() {
        let (two_sided, one_sided) = (
            exceedance(100, 15, 1_000_000, 950_000),
            binomial(100, 0.05, 15),
        );
        assert!((two_sided / one_sided - 1.0).abs() < 1e-2);
    }

    #[test]
    fn huge_numbers_give_a_quick_and_conservative_result() {
        let n = u64::MAX;
        assert!(binomial(n, 0.5, n / 2 + n / 1000) < 1e-9);
        let even = binomial(n, 0.5, n / 2);
        assert!((0.49..=0.51).contains(&even), "{even}");
        assert_eq!(binomial(n, 1e-300, 1), 1.0, "too large to compute");
        assert!(exceedance(n, n, n, n / 2) < 1e-9);
        let even = exceedance(n, n / 2, n, n / 2);
        assert!((0.49..=0.51).contains(&even), "{even}");
    }
}
