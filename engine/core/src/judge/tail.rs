use statrs::function::gamma::ln_gamma;

/// Above this the logarithms of factorials are too coarse, in absolute terms, for a
/// chance to be worked out from their difference.
const MOST: f64 = 1e12;

/// The variance up to which terms are summed one by one: 10,000 standard units make
/// some 100,000 terms, a fraction of a millisecond.
const MOST_VARIANCE: f64 = 1e8;

/// Samples of one side up to which the terms of [`exceedance`] are summed as they are.
const MOST_SAMPLES: f64 = 1e6;

/// The chance that of `n` independent trials, each of chance `p`, `k` or more come true:
/// P(Bin(n, p) ≥ k), exact to about ten digits. Of numbers so large that this would take
/// long, a smaller number in the same proportion is taken, which only makes the answer larger.
pub(super) fn binomial(n: u64, p: f64, k: u64) -> f64 {
    // A chance that is no number is taken as certain.
    if k == 0 || p.is_nan() || p >= 1.0 {
        return 1.0;
    }
    if k > n || p <= 0.0 {
        return 0.0;
    }
    let (n, k) = (n as f64, k as f64);
    let shrink = (MOST / n).min(MOST_VARIANCE / (n * p * (1.0 - p))).min(1.0);
    let (n, k) = ((n * shrink).floor(), (k * shrink).floor());
    if k < 1.0 {
        return 1.0;
    }
    let ln_term = |k: f64| ln_choose(n, k) + ln_times(k, p.ln()) + ln_times(n - k, (-p).ln_1p());
    let odds = p / (1.0 - p);
    if k > n * p {
        let rises = |i: f64| (n - i) / (i + 1.0) * odds;
        sum_from(ln_term(k), k, n, rises)
    } else {
        // The other tail, by counting the trials that did not come true.
        let rises = |i: f64| (n - i) / (i + 1.0) / odds;
        1.0 - sum_from(ln_term(k - 1.0), n - (k - 1.0), n, rises)
    }
}

/// The chance that `above` or more of `n1` samples exceed the `rank`-th lowest of `n0`
/// samples where both are of one distribution, whichever that is (the exceedance test of
/// Epstein, "Tables for the distribution of the number of exceedances", 1954). That is
/// so where at least `rank` of the lowest `rank + n1 − above` of all are of the `n0`: a
/// hypergeometric tail. It takes into account that the limit is itself an estimate.
pub(super) fn exceedance(n1: u64, above: u64, n0: u64, rank: u64) -> f64 {
    if above == 0 || rank == 0 {
        return 1.0;
    }
    if above > n1 || rank > n0 {
        return 0.0;
    }
    let shrunk = |part: u64, whole: u64| {
        let (part, whole) = (part as f64, whole as f64);
        let shrink = (MOST_SAMPLES / whole).min(1.0);
        ((part * shrink).floor(), (whole * shrink).floor())
    };
    let (above, n1) = shrunk(above, n1);
    let (rank, n0) = shrunk(rank, n0);
    if above < 1.0 || rank < 1.0 {
        return 1.0;
    }
    let drawn = rank + n1 - above;
    let ln_term = |h: f64| ln_choose(n0, h) + ln_choose(n1, drawn - h) - ln_choose(n0 + n1, drawn);
    if rank > drawn * n0 / (n0 + n1) {
        let rises = |h: f64| (n0 - h) / (h + 1.0) * (drawn - h) / (n1 - drawn + h + 1.0);
        sum_from(ln_term(rank), rank, drawn.min(n0), rises)
    } else {
        // The other tail, by drawing the same from the side of the `n1`.
        let least = drawn - (rank - 1.0);
        let rises = |h: f64| (n1 - h) / (h + 1.0) * (drawn - h) / (n0 - drawn + h + 1.0);
        1.0 - sum_from(ln_term(rank - 1.0), least, drawn.min(n1), rises)
    }
}

/// The sum of terms from `first` to `last`, of which the first is given by its logarithm
/// and each next one by its ratio to the one before; ratios fall, and are below one soon.
fn sum_from(ln_first: f64, first: f64, last: f64, ratio: impl Fn(f64) -> f64) -> f64 {
    let (mut at, mut term, mut sum) = (first, 1.0, 1.0);
    while at < last {
        term *= ratio(at);
        sum += term;
        at += 1.0;
        if term.is_nan() || term < sum * 1e-16 {
            break;
        }
    }
    (ln_first + f64::ln(sum)).exp().min(1.0)
}

fn ln_choose(n: f64, k: f64) -> f64 {
    ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0)
}

/// `times · ln`, where nothing times minus infinity is nothing.
fn ln_times(times: f64, ln: f64) -> f64 {
    if times == 0.0 { 0.0 } else { times * ln }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, exact: f64) {
        assert!(
            (found - exact).abs() <= exact * 1e-8,
            "{found} is not {exact}"
        );
    }

    /// The exact values are sums of fractions, without rounding.
    #[test]
    fn the_binomial_tail_is_exact() {
        for (n, p, k, exact) in [
            (10, 0.5, 9, 0.0107421875),
            (11, 0.5, 11, 0.00048828125),
            (240, 0.01, 12, 7.061415891424505e-06),
            (100, 0.05, 3, 0.8817370188148791),
            (1000, 0.001, 9, 1.0936095204800178e-06),
            (15, 1.0 / 7.0, 12, 2.1516519540834013e-08),
            (15, 1.0 / 7.0, 8, 0.0004339330730864909),
        ] {
            close(binomial(n, p, k), exact);
        }
    }

    #[test]
    fn the_edges_of_the_binomial_are_certain() {
        assert_eq!(binomial(0, 0.5, 0), 1.0);
        assert_eq!(binomial(5, 0.0, 0), 1.0);
        assert_eq!(binomial(5, 0.0, 1), 0.0);
        assert_eq!(binomial(5, 1.0, 5), 1.0);
        assert_eq!(binomial(5, 0.5, 6), 0.0);
        close(binomial(5, 0.5, 5), 1.0 / 32.0);
        close(binomial(5, 0.5, 1), 31.0 / 32.0);
    }

    #[test]
    fn the_exceedance_tail_is_exact() {
        for (n1, above, n0, rank, exact) in [
            (11, 11, 11, 6, 0.006191950464396285),
            (19, 19, 19, 10, 0.00019541231999518986),
            (18, 18, 18, 9, 0.0005164468457015732),
            (200, 30, 100, 95, 0.0068176453392555245),
            (50, 20, 60, 30, 0.8928547792768651),
        ] {
            close(exceedance(n1, above, n0, rank), exact);
        }
        assert_eq!(exceedance(5, 0, 5, 3), 1.0);
        assert_eq!(exceedance(5, 6, 5, 3), 0.0);
        assert_eq!(exceedance(5, 1, 5, 6), 0.0);
    }

    /// With a baseline that is known perfectly, what is left is the canary's own chance.
    #[test]
    fn a_large_baseline_turns_the_exceedances_binomial() {
        let (two_sided, one_sided) = (
            exceedance(100, 15, 1_000_000, 950_000),
            binomial(100, 0.05, 15),
        );
        assert!((two_sided / one_sided - 1.0).abs() < 1e-2);
    }

    #[test]
    fn absurd_numbers_are_answered_quickly_and_on_the_safe_side() {
        let n = u64::MAX;
        assert!(binomial(n, 0.5, n / 2 + n / 1000) < 1e-9);
        let even = binomial(n, 0.5, n / 2);
        assert!((0.49..=0.51).contains(&even), "{even}");
        assert_eq!(binomial(n, 1e-300, 1), 1.0, "too large to tell");
        assert!(exceedance(n, n, n, n / 2) < 1e-9);
        let even = exceedance(n, n / 2, n, n / 2);
        assert!((0.49..=0.51).contains(&even), "{even}");
    }
}
