//! How far the true value may be above a recorded one.

/// The chance that a bound is too low: what was recorded is a sample, too.
const ALPHA: f64 = 0.001;

/// The highest rate at which `rate` of `samples` or less is not too unlikely, by Chernoff's bound.
pub(super) fn upper_rate(samples: u64, rate: f64) -> f64 {
    let allowed = -ALPHA.ln() / samples as f64;
    bisect(rate, 1.0, |upper| divergence(rate, upper) <= allowed)
}

/// The share of samples below which the true quantile lies, except for a small chance. `None` where
/// there are too few samples.
pub(super) fn upper_share(samples: u64, quantile: f64) -> Option<f64> {
    if samples == 0 {
        return None;
    }
    let allowed = -ALPHA.ln() / samples as f64;
    if divergence(1.0, quantile) <= allowed {
        return None;
    }
    Some(bisect(quantile, 1.0, |share| {
        divergence(share, quantile) <= allowed
    }))
}

/// The highest value between `low` and `high` for which `holds`, where all below do, too.
fn bisect(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The Kullback–Leibler divergence of two coins that show heads with these chances.
fn divergence(p: f64, q: f64) -> f64 {
    let part = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    part(p, q) + part(1.0 - p, 1.0 - q)
}
