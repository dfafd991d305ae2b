//! Tests latencies at a quantile, without any assumption on their distribution.

use std::collections::BTreeMap;

use crate::{Bursts, Histogram, NodeId, NodeInterval};

use super::design_effect::DesignEffect;
use super::mixture::{self, Binomial};
use super::node_spells::NodeSpells;
use super::slower_nodes::SlowerNodes;

/// The samples that one must expect beyond a quantile before it means anything.
const LEAST_BEYOND: f64 = 5.0;
const MICROS: f64 = 1e3;

/// The latencies of both sides.
#[derive(Debug, Clone)]
pub(super) struct Latencies {
    canary: Histogram,
    baseline: Histogram,
    /// What could not be compared yet, because one side had no requests: requests of the canary,
    /// and the baseline's latencies.
    pending: (u64, Histogram),
    /// The baseline's latencies by bucket, weighted so that each reading has the share of
    /// requests that it has on the canary: else a split that changes while both sides become
    /// slower would look like the version.
    weighted: Vec<f64>,
    weighted_total: f64,
    /// Σ c²/b over readings, for the size of the weighted sample (Kish).
    squares: f64,
    /// Without spare capacity: ten thousand soaks may be under way.
    effects: Box<[Effects]>,
}

/// The design effects of both sides at one quantile.
#[derive(Debug, Clone)]
struct Effects {
    quantile: f64,
    nodes: SlowerNodes,
    canary: DesignEffect,
    baseline: DesignEffect,
    canary_nodes: NodeSpells,
    baseline_nodes: NodeSpells,
}

impl Effects {
    fn observe(&mut self, intervals: &[NodeInterval], canary: &Histogram, baseline: &Histogram) {
        self.nodes.add(intervals);
        self.canary.add(canary);
        self.baseline.add(baseline);
        let (canary, baseline) = (self.canary.slow_above(), self.baseline.slow_above());
        for interval in intervals {
            if let Some(version) = &interval.canary {
                self.canary_nodes
                    .add(&interval.node, &version.latency, canary);
            }
            if let Some(version) = &interval.baseline {
                self.baseline_nodes
                    .add(&interval.node, &version.latency, baseline);
            }
        }
    }

    /// The design effect of the canary. Its nodes are few, so spells on one of them show late:
    /// until they do, they are as those on the nodes of the baseline.
    fn of_canary(&self) -> f64 {
        let nodes = self.canary_nodes.value().max(self.baseline_nodes.value());
        self.canary.value().max(nodes)
    }

    /// By how much more a node of the canary may have been slower before the rollout than it seemed:
    /// its requests resembled each other then, as those of the baseline's nodes do now.
    fn allowance(&self) -> f64 {
        self.nodes.allowance(self.baseline_nodes.value())
    }

    fn of_baseline(&self) -> f64 {
        self.baseline.value().max(self.baseline_nodes.value())
    }
}

/// One comparison of the canary with the baseline.
#[derive(Debug, Clone, Copy)]
pub(super) struct LatencyLimit {
    pub(super) quantile: f64,
    pub(super) max_increase: f64,
    /// In milliseconds.
    pub(super) min_increase: f64,
}

impl LatencyLimit {
    fn allowed(&self, baseline: f64) -> f64 {
        ((1.0 + self.max_increase) * baseline).max(baseline + self.min_increase)
    }
}

impl Latencies {
    /// Compares at these quantiles, 0 to 1, on nodes whose latencies before the soak were these.
    /// With each goes what earlier soaks of the deployment saw of slow spells.
    pub(super) fn new(
        quantiles: impl IntoIterator<Item = (f64, Bursts)>,
        canary_before: &BTreeMap<NodeId, Histogram>,
        baseline_before: &Histogram,
    ) -> Self {
        let mut effects: Vec<Effects> = Vec::new();
        for (quantile, earlier) in quantiles {
            if effects.iter().all(|effects| effects.quantile != quantile) {
                effects.push(Effects {
                    quantile,
                    nodes: SlowerNodes::new(quantile, canary_before, baseline_before),
                    canary: DesignEffect::new(quantile),
                    baseline: DesignEffect::new(quantile),
                    canary_nodes: NodeSpells::default(),
                    baseline_nodes: NodeSpells::after_soaks(earlier),
                });
            }
        }
        Self {
            canary: Histogram::default(),
            baseline: Histogram::default(),
            pending: (0, Histogram::default()),
            weighted: Vec::new(),
            weighted_total: 0.0,
            squares: 0.0,
            effects: effects.into(),
        }
    }

    /// Adds what the nodes did since the last reading.
    pub(super) fn observe(&mut self, intervals: &[NodeInterval]) {
        if self.effects.is_empty() {
            return;
        }
        let canary = Histogram::sum(intervals.iter().filter_map(|interval| {
            let canary = interval.canary.as_ref()?;
            Some(&canary.latency)
        }));
        let baseline = Histogram::sum(intervals.iter().filter_map(|interval| {
            let baseline = interval.baseline.as_ref()?;
            Some(&baseline.latency)
        }));
        for effects in &mut self.effects {
            effects.observe(intervals, &canary, &baseline);
        }
        self.canary.add(&canary);
        self.baseline.add(&baseline);
        self.pending.0 = self.pending.0.saturating_add(canary.total());
        self.pending.1.add(&baseline);
        let (c, b) = (self.pending.0 as f64, self.pending.1.total() as f64);
        if c > 0.0 && b > 0.0 {
            let weight = c / b;
            for &(bucket, count) in self.pending.1.pairs() {
                let bucket = usize::from(bucket);
                if self.weighted.len() <= bucket {
                    self.weighted.resize(bucket + 1, 0.0);
                }
                self.weighted[bucket] += weight * count as f64;
            }
            self.weighted_total += c;
            self.squares += c * weight;
            self.pending = (0, Histogram::default());
            for effects in &mut self.effects {
                effects.nodes.compare();
            }
        }
    }

    /// Requests of each side.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.canary.total(), self.baseline.total())
    }

    /// The quantile of each side in milliseconds, exact to the width of a bucket. The baseline's
    /// is the weighted one, which is compared.
    pub(super) fn values(&self, quantile: f64) -> (Option<f64>, Option<f64>) {
        let canary = self.canary.quantile(quantile);
        let canary = canary.map(|latency| latency.as_micros() as f64 / MICROS);
        let mut below = 0.0;
        let baseline = self.weighted.iter().position(|count| {
            below += count;
            below >= quantile * self.weighted_total && *count > 0.0
        });
        (canary, baseline.map(upper_millis))
    }

    /// The sizes of both samples, each divided by its design effect.
    pub(super) fn sizes(&self, quantile: f64) -> (f64, f64) {
        let Some(effects) = self.effects(quantile) else {
            return (0.0, 0.0);
        };
        let canary = self.canary.total() as f64 / effects.of_canary();
        let baseline = self.baseline_size() / effects.of_baseline();
        (canary, baseline)
    }

    /// By how much slow requests came in spells on the nodes of the baseline.
    pub(super) fn spells(&self, quantile: f64) -> Option<Bursts> {
        Some(self.effects(quantile)?.baseline_nodes.seen())
    }

    /// By how much the canary's nodes were slower before the rollout: 1 or more.
    pub(super) fn before(&self, quantile: f64) -> f64 {
        let effects = self.effects(quantile);
        effects.map_or(1.0, |effects| effects.nodes.ratio())
    }

    /// The highest latency in milliseconds that is allowed where the baseline's is `baseline`, on
    /// all nodes of the canary together.
    pub(super) fn allowed(&self, limit: &LatencyLimit, baseline: f64) -> f64 {
        let effects = self.effects(limit.quantile);
        let allowance = effects.map_or(1.0, Effects::allowance);
        allowance * self.before(limit.quantile) * limit.allowed(baseline)
    }

    /// The evidence against "the canary's quantile is at most that much above the baseline's, on
    /// nodes that are as slow as they were" (Howard and Ramdas, "Sequential estimation of
    /// quantiles", 2022, of two samples). 0 before the third reading.
    ///
    /// Each bucket may hold the baseline's quantile. It is evidence against one that so much of
    /// the baseline lies below, or that so much of the canary lies above what it allows. The
    /// least of all candidates counts.
    pub(super) fn relative_evidence(&self, limit: &LatencyLimit) -> f64 {
        let Some(effects) = self.effects(limit.quantile) else {
            return 0.0;
        };
        let (canary_effect, baseline_effect) = (effects.of_canary(), effects.of_baseline());
        if !canary_effect.is_finite() || !baseline_effect.is_finite() || self.squares <= 0.0 {
            return 0.0;
        }
        let compared = effects.nodes.compared();
        let (new, old) = (compared.total() as f64, self.baseline_size());
        let scale = old / self.weighted_total;
        let candidates = (0..self.weighted.len()).filter(|&bucket| self.weighted[bucket] > 0.0);
        // The top bucket says that the baseline is too small.
        let candidates = candidates.chain([Histogram::BUCKETS - 1]);
        let (mut below, mut next) = (0.0, 0);
        let (mut above, mut pairs) = (new, compared.pairs().iter().peekable());
        let of_baseline = Binomial::new(old / baseline_effect, limit.quantile);
        let of_canary = Binomial::new(new / canary_effect, 1.0 - limit.quantile);
        let allowance = effects.allowance();
        let mut least = mixture::MOST;
        for candidate in candidates {
            while next < candidate.min(self.weighted.len()) {
                below += self.weighted[next];
                next += 1;
            }
            let allowed = allowance * limit.allowed(upper_millis(candidate));
            let allowed = bucket_of_millis(allowed);
            while let Some(&(_, count)) =
                pairs.next_if(|&&(bucket, _)| usize::from(bucket) <= allowed)
            {
                above -= count as f64;
            }
            let below = below * scale / baseline_effect;
            let above = above / canary_effect;
            let bound = of_baseline.at_least(below).max(of_canary.at_least(above));
            // Most candidates are far from the quantile.
            if bound - 3.0_f64.ln() < least {
                let evidence = joint(of_baseline.evidence(below), of_canary.evidence(above));
                least = least.min(evidence);
            }
        }
        least
    }

    /// The evidence against "the canary's quantile is at most `max`", in milliseconds. 0 before
    /// the third reading.
    pub(super) fn absolute_evidence(&self, quantile: f64, max: f64) -> f64 {
        let Some(effects) = self.effects(quantile) else {
            return 0.0;
        };
        let effect = effects.of_canary();
        if !effect.is_finite() {
            return 0.0;
        }
        let above = self.canary.above_bucket(bucket_of_millis(max)) as f64;
        let total = self.canary.total() as f64;
        mixture::evidence(total / effect, above / effect, 1.0 - quantile)
    }

    /// How many requests of the canary were slower than `max` milliseconds.
    pub(super) fn above(&self, max: f64) -> u64 {
        self.canary.above_bucket(bucket_of_millis(max))
    }

    /// The interval of the canary's quantile in milliseconds, at the evidence `needed`.
    pub(super) fn canary_interval(&self, quantile: f64, needed: f64) -> (Option<f64>, Option<f64>) {
        let (size, _) = self.sizes(quantile);
        let total = self.canary.total() as f64;
        let counts = self.canary.pairs().iter();
        let counts = counts.map(|&(bucket, count)| (usize::from(bucket), count as f64));
        interval(counts, total, size, quantile, needed)
    }

    /// The same of the baseline.
    pub(super) fn baseline_interval(
        &self,
        quantile: f64,
        needed: f64,
    ) -> (Option<f64>, Option<f64>) {
        let (_, size) = self.sizes(quantile);
        let counts = self.weighted.iter().copied().enumerate();
        let counts = counts.filter(|&(_, count)| count > 0.0);
        interval(counts, self.weighted_total, size, quantile, needed)
    }

    fn effects(&self, quantile: f64) -> Option<&Effects> {
        self.effects
            .iter()
            .find(|effects| effects.quantile == quantile)
    }

    /// The size of an unweighted sample that says as much as the weighted baseline.
    fn baseline_size(&self) -> f64 {
        if self.squares > 0.0 {
            self.weighted_total * self.weighted_total / self.squares
        } else {
            0.0
        }
    }
}

/// How many samples of the canary are needed before a quantile means anything.
pub(super) fn least_of_canary(quantile: f64) -> f64 {
    LEAST_BEYOND / (1.0 - quantile)
}

/// How many samples of the baseline are needed where all of the canary are above the limit.
pub(super) fn least_of_baseline(quantile: f64, needed: f64) -> f64 {
    (needed + 3.0_f64.ln() + mixture::PRICE) / -quantile.ln()
}

/// How many samples of the canary are needed where all of them are above an absolute limit.
pub(super) fn least_for_max(quantile: f64, needed: f64) -> f64 {
    ((needed + mixture::PRICE) / -(1.0 - quantile).ln()).max(least_of_canary(quantile))
}

/// Joins the evidence of two independent samples: (a + b + ab) / 3.
fn joint(a: f64, b: f64) -> f64 {
    let sum = mixture::log_add(mixture::log_add(a, b), a + b) - 3.0_f64.ln();
    sum.clamp(-mixture::MOST, mixture::MOST)
}

/// The bounds of a quantile that a sample leaves: from its counts by bucket, in rising order.
fn interval(
    counts: impl Iterator<Item = (usize, f64)>,
    total: f64,
    size: f64,
    quantile: f64,
    needed: f64,
) -> (Option<f64>, Option<f64>) {
    if size <= 0.0 || total <= 0.0 {
        return (None, None);
    }
    let scale = size / total;
    let many_above = mixture::least_count(size, 1.0 - quantile, needed);
    let many_below = mixture::least_count(size, quantile, needed);
    let (mut low, mut high) = (None, None);
    let mut below = 0.0;
    for (bucket, count) in counts {
        if many_above.is_some_and(|many| (total - below) * scale >= many) {
            low = Some(bucket.checked_sub(1).map_or(0.0, upper_millis));
        }
        below += count;
        if many_below.is_some_and(|many| below * scale >= many) {
            high = high.or_else(|| Some(upper_millis(bucket)));
        }
    }
    (low, high)
}

fn upper_millis(bucket: usize) -> f64 {
    Histogram::upper_micros(bucket) as f64 / MICROS
}

fn bucket_of_millis(millis: f64) -> usize {
    // A cast saturates; NaN is 0.
    Histogram::bucket_of_micros((millis * MICROS).min(u64::MAX as f64) as u64)
}
