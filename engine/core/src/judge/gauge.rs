//! Tests gauges by node: readings of one node repeat themselves, so a node is one sample.

use std::collections::HashMap;

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::{NodeId, NodeInterval, VersionInterval};

use super::metric::Metric;

/// How much nodes differ is taken to be known from so many nodes before the first one is seen
/// (Smyth, "Linear models and empirical Bayes methods", 2004: the moderated t).
const PRIOR_NODES: f64 = 4.0;
/// They are taken to differ by this, as a standard deviation of logarithms.
const PRIOR_SPREAD: f64 = 0.1;
/// Nodes are never taken to differ by less.
const LEAST_SPREAD: f64 = 0.01;
/// CPU time for each request is not known from fewer.
const LEAST_REQUESTS: u64 = 20;
/// A gross fault, which a soak must be able to find: three times as much.
const GROSS: f64 = 3.0;

/// What one version used on one node over the soak.
#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    requests: u64,
    cpu_micros: u64,
    memory: f64,
    memory_readings: u32,
}

/// What both versions used on each node.
#[derive(Debug, Default, Clone)]
pub(super) struct Gauges {
    /// Whether any check needs them. Else nothing is kept.
    is_needed: bool,
    nodes: HashMap<NodeId, [Usage; 2]>,
    /// What the previous version used on each node before the soak.
    before: HashMap<NodeId, Usage>,
    /// The time that all nodes of the canary have run, in seconds.
    canary_seconds: f64,
}

/// A gauge of the canary against its limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct GaugeTest {
    /// Geometric means over nodes, in the metric's unit.
    pub(super) canary: f64,
    pub(super) baseline: Option<f64>,
    /// How many nodes there are on each side.
    pub(super) nodes: (u64, u64),
    /// The judged quantity, a ratio to the baseline or a value, and its limit.
    pub(super) estimate: f64,
    /// Whether the ratio is of what both sides use more than before the soak.
    pub(super) since_before: bool,
    pub(super) limit: f64,
    /// By how much nodes differ, as a standard deviation of logarithms.
    spread: f64,
    /// The nodes of the canary that the estimate is of, and of the baseline where those are others.
    of_nodes: (f64, Option<f64>),
    freedom: f64,
}

impl Gauges {
    /// Of a soak with a check of gauges, where the previous version had used `before` on each node.
    pub(super) fn new(before: &HashMap<NodeId, VersionInterval>) -> Self {
        let before = before.iter().map(|(node, used)| {
            let mut usage = Usage::default();
            usage.add(used);
            (node.clone(), usage)
        });
        Self {
            is_needed: true,
            before: before.collect(),
            ..Self::default()
        }
    }

    /// Adds what the nodes did since the last reading.
    pub(super) fn observe(&mut self, intervals: &[NodeInterval]) {
        if !self.is_needed {
            return;
        }
        for interval in intervals {
            if !self.nodes.contains_key(&interval.node) {
                self.nodes.insert(interval.node.clone(), Default::default());
            }
            let Some(node) = self.nodes.get_mut(&interval.node) else {
                continue;
            };
            for (usage, side) in node.iter_mut().zip([&interval.canary, &interval.baseline]) {
                if let Some(side) = side {
                    usage.add(side);
                }
            }
            if interval.canary.is_some() {
                self.canary_seconds += interval.elapsed.as_secs_f64();
            }
        }
    }

    /// The test of the canary against `max`, in the metric's unit. `None` if no node has a
    /// value.
    pub(super) fn absolute(&self, metric: Metric, max: f64) -> Option<GaugeTest> {
        let unit = self.unit(metric);
        let values = self.values(metric, |[canary, _]| *canary);
        let nodes = values.len() as f64;
        let mean = mean(&values)?;
        let freedom = PRIOR_NODES + nodes - 1.0;
        let spread = spread(squares(&values, mean), freedom);
        let canary = mean.exp() * unit;
        Some(GaugeTest {
            canary,
            baseline: None,
            nodes: (values.len() as u64, 0),
            estimate: canary,
            since_before: false,
            limit: max,
            spread,
            of_nodes: (nodes, None),
            freedom,
        })
    }

    /// The test of the canary against the baseline. Where nodes run both versions, within these;
    /// else between the nodes of both sides. `None` if a side has no value.
    pub(super) fn relative(
        &self,
        metric: Metric,
        max_increase: f64,
        min_increase: f64,
    ) -> Option<GaugeTest> {
        let unit = self.unit(metric);
        let both: Vec<[f64; 2]> = self
            .nodes
            .values()
            .filter_map(|[canary, baseline]| Some([canary.log(metric)?, baseline.log(metric)?]))
            .collect();
        if both.is_empty() {
            return self.between_nodes(metric, max_increase, min_increase);
        }
        let side = |index: usize| both.iter().map(|pair| pair[index]).collect::<Vec<_>>();
        let differences: Vec<_> = both.iter().map(|[new, old]| new - old).collect();
        let m = both.len() as f64;
        let freedom = PRIOR_NODES + m - 1.0;
        let difference = mean(&differences)?;
        let within = squares(&differences, difference);
        let canary = mean(&side(0))?.exp() * unit;
        Some(GaugeTest {
            canary,
            baseline: Some(mean(&side(1))?.exp() * unit),
            nodes: (both.len() as u64, both.len() as u64),
            estimate: difference.exp(),
            since_before: false,
            limit: ratio_limit(max_increase, min_increase, canary / difference.exp()),
            spread: spread(within, freedom),
            of_nodes: (m, None),
            freedom,
        })
    }

    /// The test of different nodes. Where it is known what each of them used before, by how much
    /// more they use since: nodes that differ by themselves then do not matter.
    fn between_nodes(
        &self,
        metric: Metric,
        max_increase: f64,
        min_increase: f64,
    ) -> Option<GaugeTest> {
        let unit = self.unit(metric);
        let new = self.values(metric, |[canary, _]| *canary);
        let old = self.values(metric, |[_, baseline]| *baseline);
        let (shown, shown_old) = (mean(&new)?.exp() * unit, mean(&old)?.exp() * unit);
        let rises = |side: usize| self.rises(metric, side);
        let rises = rises(0).zip(rises(1));
        let since_before = rises.is_some();
        let (new, old) = rises.unwrap_or((new, old));
        let (m, n) = (new.len() as f64, old.len() as f64);
        let (canary, baseline) = (mean(&new)?, mean(&old)?);
        let freedom = PRIOR_NODES + m + n - 2.0;
        let within = squares(&new, canary) + squares(&old, baseline);
        let estimate = (canary - baseline).exp();
        Some(GaugeTest {
            canary: shown,
            baseline: Some(shown_old),
            nodes: (new.len() as u64, old.len() as u64),
            estimate,
            since_before,
            limit: ratio_limit(max_increase, min_increase, shown / estimate),
            spread: spread(within, freedom),
            of_nodes: (m, Some(n)),
            freedom,
        })
    }

    /// How much more each node of a side uses than before, as a logarithm. `None` if that is
    /// not known of each.
    fn rises(&self, metric: Metric, side: usize) -> Option<Vec<f64>> {
        let nodes = self.nodes.iter();
        let values = nodes.filter_map(|(node, usage)| Some((node, usage[side].log(metric)?)));
        values
            .map(|(node, value)| Some(value - self.before.get(node)?.log(metric)?))
            .collect()
    }

    /// How many nodes of each side have a value.
    pub(super) fn nodes(&self, metric: Metric) -> (u64, u64) {
        let count = |values: Vec<f64>| values.len() as u64;
        (
            count(self.values(metric, |[canary, _]| *canary)),
            count(self.values(metric, |[_, baseline]| *baseline)),
        )
    }

    fn values(&self, metric: Metric, side: impl Fn(&[Usage; 2]) -> Usage) -> Vec<f64> {
        let values = self.nodes.values();
        values.filter_map(|node| side(node).log(metric)).collect()
    }

    /// By what a node's value is multiplied to have the metric's unit. CPU is compared for each
    /// request, so that load does not matter, and shown as the cores that a node of the canary
    /// needs for the requests that it gets.
    fn unit(&self, metric: Metric) -> f64 {
        match metric {
            Metric::Cpu => {}
            // Microseconds to milliseconds, and thousandths.
            Metric::CpuPerRequest | Metric::Mean => return 1e-3,
            _ => return 1.0,
        }
        let requests: f64 = self
            .nodes
            .values()
            .map(|[canary, _]| canary.requests as f64)
            .sum();
        if self.canary_seconds > 0.0 {
            requests / self.canary_seconds / 1e6
        } else {
            0.0
        }
    }
}

impl Usage {
    fn add(&mut self, interval: &VersionInterval) {
        self.requests = self.requests.saturating_add(interval.requests);
        self.cpu_micros = self.cpu_micros.saturating_add(interval.cpu_micros);
        if let Some(memory) = interval.memory {
            self.memory += memory as f64;
            self.memory_readings = self.memory_readings.saturating_add(1);
        }
    }

    /// The logarithm of the node's mean. `None` if it is not known.
    fn log(self, metric: Metric) -> Option<f64> {
        let mean = match metric {
            Metric::Cpu | Metric::CpuPerRequest if self.requests < LEAST_REQUESTS => return None,
            Metric::Cpu | Metric::CpuPerRequest => self.cpu_micros as f64 / self.requests as f64,
            _ if self.memory_readings == 0 => return None,
            _ => self.memory / f64::from(self.memory_readings),
        };
        (mean > 0.0).then(|| mean.ln())
    }
}

impl GaugeTest {
    /// The standard error of the estimate's logarithm, with so many more nodes of the canary.
    fn error(&self, more: f64) -> f64 {
        let (canary, baseline) = self.of_nodes;
        let of_baseline = baseline.map_or(0.0, |nodes| 1.0 / nodes);
        self.spread * (1.0 / (canary + more) + of_baseline).sqrt()
    }

    /// The probability that nodes differ so much by chance although the limit is kept.
    pub(super) fn chance(&self) -> f64 {
        let distance = (self.estimate / self.limit).ln() / self.error(0.0);
        upper_tail(distance, self.freedom)
    }

    /// How far above the limit three times as much is, or twice the limit where that is more.
    fn gross_margin(&self, is_relative: bool) -> f64 {
        let margin = if is_relative {
            GROSS.max(2.0 * self.limit) / self.limit
        } else {
            GROSS
        };
        margin.ln()
    }

    /// Whether a gross fault would be found at the level `level`.
    pub(super) fn finds_gross_fault(&self, level: f64, is_relative: bool) -> bool {
        upper_tail(
            self.gross_margin(is_relative) / self.error(0.0),
            self.freedom,
        ) <= level
    }

    /// How many more nodes of the canary, alike to these, would find a gross fault. `None` where
    /// that takes more of the baseline, too.
    pub(super) fn nodes_for_gross_fault(&self, level: f64, is_relative: bool) -> Option<u64> {
        self.nodes_for(level, self.gross_margin(is_relative))
    }

    /// How many more nodes of the canary, alike to these, would show that it is above its limit.
    /// `None` where it is not, or no number would.
    pub(super) fn nodes_to_fail(&self, level: f64) -> Option<u64> {
        let distance = (self.estimate / self.limit).ln();
        (distance > 0.0).then(|| self.nodes_for(level, distance))?
    }

    fn nodes_for(&self, level: f64, distance: f64) -> Option<u64> {
        /// No fleet of a soak is larger.
        const MOST: u64 = 4096;
        let is_enough = |more: u64| {
            let more = more as f64;
            upper_tail(distance / self.error(more), self.freedom + more) <= level
        };
        if !is_enough(MOST) {
            return None;
        }
        let (mut low, mut high) = (0, MOST);
        while high - low > 1 {
            let middle = u64::midpoint(low, high);
            if is_enough(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some(high)
    }

    /// The interval of the estimate at the level `level` on each side.
    pub(super) fn interval(&self, level: f64) -> (f64, f64) {
        let width = critical(level, self.freedom) * self.error(0.0);
        (self.estimate * (-width).exp(), self.estimate * width.exp())
    }
}

/// The highest ratio that is allowed, where the baseline's value is `baseline`.
fn ratio_limit(max_increase: f64, min_increase: f64, baseline: f64) -> f64 {
    let least = if baseline > 0.0 {
        1.0 + min_increase / baseline
    } else {
        f64::MAX
    };
    (1.0 + max_increase).max(least)
}

fn mean(values: &[f64]) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.iter().sum::<f64>() / count as f64)
}

fn squares(values: &[f64], mean: f64) -> f64 {
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

fn spread(within: f64, freedom: f64) -> f64 {
    let variance = (PRIOR_NODES * PRIOR_SPREAD * PRIOR_SPREAD + within) / freedom;
    variance.sqrt().max(LEAST_SPREAD)
}

/// The probability that Student's t is above `t`. 1 where it cannot be told.
fn upper_tail(t: f64, freedom: f64) -> f64 {
    if t.is_nan() {
        return 1.0;
    }
    StudentsT::new(0.0, 1.0, freedom).map_or(1.0, |student| student.sf(t))
}

/// The t that is exceeded with the probability `level`, by bisection.
fn critical(level: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while upper_tail(high, freedom) > level && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if upper_tail(middle, freedom) > level {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of Student's t.
    #[test]
    fn critical_values_are_exact() {
        for (level, freedom, expected) in [
            (0.01, 4.0, 3.746_947_388),
            (0.001_25, 12.0, 3.803_5),
            (0.025, 10.0, 2.228_138_852),
        ] {
            let actual = critical(level, freedom);
            assert!(
                (actual - expected).abs() < 0.02,
                "{level} {freedom}: {actual}"
            );
        }
    }
}
