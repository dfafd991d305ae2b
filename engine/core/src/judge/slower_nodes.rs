//! By how much single nodes of the canary were slower before the rollout.

use std::collections::BTreeMap;

use crate::{Histogram, NodeId, NodeInterval};

use super::latency::least_of_canary;

/// A node is taken to be at most this much slower by itself.
const HIGHEST: f64 = 4.0;
/// By so many standard errors a node may be slower than it seemed: there were only so many requests
/// before the rollout.
const STANDARD_ERRORS: f64 = 0.7;
/// The allowance is known for design effects of 1, 2, 4, … 64.
const EFFECTS: usize = 7;

/// The canary's latencies at one quantile, each divided by how much slower its node was with the
/// previous version.
///
/// Node by node: a version without spread may be at its limit on each node. All of its requests on
/// the slowest nodes are then above what the canary's nodes together would allow.
#[derive(Debug, Clone)]
pub(super) struct SlowerNodes {
    /// Of nodes that were slower, by how much.
    factors: BTreeMap<NodeId, f64>,
    /// By how much all nodes of the canary together were slower: 1 or more.
    ratio: f64,
    /// By how much more than by its factor a node may be slower where requests before the rollout
    /// had these design effects: the most of any node, 1 or more.
    allowances: [f64; EFFECTS],
    /// What cannot be compared yet: the baseline had no requests since.
    pending: Histogram,
    compared: Histogram,
}

impl SlowerNodes {
    /// Of nodes whose latencies before the rollout were these.
    pub(super) fn new(
        quantile: f64,
        canary: &BTreeMap<NodeId, Histogram>,
        baseline: &Histogram,
    ) -> Self {
        let factors = canary.iter().filter_map(|(node, before)| {
            let factor = factor(quantile, before, baseline, STANDARD_ERRORS);
            (factor > 1.0).then(|| (node.clone(), factor))
        });
        let mut effect = 0.5;
        let allowances = [(); EFFECTS].map(|()| {
            effect *= 2.0;
            let more = |before: &Histogram| {
                let errors = STANDARD_ERRORS * f64::sqrt(effect);
                factor(quantile, before, baseline, errors)
                    / factor(quantile, before, baseline, STANDARD_ERRORS)
            };
            canary.values().map(more).fold(1.0, f64::max)
        });
        Self {
            factors: factors.collect(),
            ratio: factor(quantile, &Histogram::sum(canary.values()), baseline, 0.0),
            allowances,
            pending: Histogram::default(),
            compared: Histogram::default(),
        }
    }

    /// Adds what the nodes of the canary did since the last reading.
    pub(super) fn add(&mut self, intervals: &[NodeInterval]) {
        let mut counts = vec![0_u64; Histogram::BUCKETS];
        for interval in intervals {
            let Some(version) = &interval.canary else {
                continue;
            };
            let factor = self.factors.get(&interval.node);
            for &(bucket, count) in version.latency.pairs() {
                let bucket = usize::from(bucket);
                let scaled = factor.map_or(bucket, |factor| scaled(bucket, *factor));
                if let Some(sum) = counts.get_mut(scaled) {
                    *sum = sum.saturating_add(count);
                }
            }
        }
        self.pending.add(&Histogram::from_counts(counts));
    }

    /// All that was added is compared from now on.
    pub(super) fn compare(&mut self) {
        self.compared.add(&std::mem::take(&mut self.pending));
    }

    /// The latencies that are compared.
    pub(super) fn compared(&self) -> &Histogram {
        &self.compared
    }

    /// By how much more a node may have been slower before the rollout than its requests show, where
    /// they resembled each other as much as those of a node do now: 1 or more.
    pub(super) fn allowance(&self, effect: f64) -> f64 {
        let power = effect.max(1.0).log2().round() as usize;
        self.allowances[power.min(EFFECTS - 1)]
    }

    /// By how much all nodes of the canary together were slower: 1 or more.
    pub(super) fn ratio(&self) -> f64 {
        self.ratio
    }
}

/// The bucket of a latency that is divided. By the lower end of its bucket: rounding must not make
/// a request slow.
fn scaled(bucket: usize, factor: f64) -> usize {
    let below = bucket.checked_sub(1).map(Histogram::upper_micros);
    let lower = below.map_or(0, |below| below.saturating_add(1));
    Histogram::bucket_of_micros((lower as f64 / factor) as u64)
}

/// By how much a node was slower than the baseline, at most: 1 or more.
fn factor(quantile: f64, node: &Histogram, baseline: &Histogram, errors: f64) -> f64 {
    let least = least_of_canary(quantile).round() as u64;
    if node.total() < least || baseline.total() < least {
        return 1.0;
    }
    let place = upper_share(quantile, node.total() as f64, errors);
    let micros = |side: &Histogram, quantile| {
        side.quantile(quantile)
            .map(|value| value.as_micros() as f64)
    };
    match (micros(node, place), micros(baseline, quantile)) {
        (Some(node), Some(baseline)) if baseline > 0.0 => (node / baseline).clamp(1.0, HIGHEST),
        _ => 1.0,
    }
}

/// The highest share that is likely where `share` of `size` were seen, at so many standard errors
/// (Wilson, "Probable inference, the law of succession, and statistical inference", 1927).
fn upper_share(share: f64, size: f64, errors: f64) -> f64 {
    let square = errors * errors;
    let spread = share * (1.0 - share) / size + square / (4.0 * size * size);
    (share + square / (2.0 * size) + errors * spread.sqrt()) / (1.0 + square / size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VersionInterval;

    fn latencies(micros: impl IntoIterator<Item = u64>) -> Histogram {
        let mut counts = vec![0; Histogram::BUCKETS];
        for value in micros {
            counts[Histogram::bucket_of_micros(value)] += 1;
        }
        Histogram::from_counts(counts)
    }

    /// 1 to 50 ms, times the factor.
    fn spread(factor: u64) -> Histogram {
        latencies((0..1000).map(|at| factor * (1000 + 49 * at)))
    }

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn interval(node: &str, latency: Histogram) -> NodeInterval {
        let version = VersionInterval {
            latency,
            ..VersionInterval::default()
        };
        NodeInterval {
            node: id(node),
            elapsed: std::time::Duration::from_secs(10),
            canary: Some(version),
            baseline: None,
        }
    }

    /// The slow node does not raise the limit of the other one.
    #[test]
    fn latencies_are_divided_by_how_much_slower_each_node_was() {
        let before = [(id("slow"), spread(2)), (id("fast"), spread(1))];
        let mut nodes = SlowerNodes::new(0.95, &before.into(), &spread(1));
        let reading = [
            interval("slow", latencies([80_000; 10])),
            interval("fast", latencies([80_000; 30])),
            interval("new", latencies([200_000; 2])),
        ];
        nodes.add(&reading);
        assert!(nodes.compared().is_empty(), "nothing to compare with yet");
        nodes.compare();
        let above = |millis| {
            let limit = std::time::Duration::from_millis(millis);
            nodes.compared().above(limit)
        };
        assert_eq!([30, 42, 70, 85].map(above), [42, 32, 32, 2]);
        assert!((1.5..2.0).contains(&nodes.ratio()), "{}", nodes.ratio());
    }

    /// The fewer requests there were before, the slower a node may be.
    #[test]
    fn what_is_hardly_known_may_be_more() {
        let rising = |n, by: f64| latencies((0..n).map(|at| (1000.0 * by.powi(at)) as u64));
        let of =
            |node: &Histogram, baseline: &Histogram| factor(0.95, node, baseline, STANDARD_ERRORS);
        let (few, many) = (rising(100, 1.1), rising(1000, 1.01));
        assert!(of(&few, &few) > 1.15, "{}", of(&few, &few));
        assert!(of(&many, &many) < 1.1, "{}", of(&many, &many));
        assert_eq!(of(&latencies([90_000; 50]), &spread(1)), 1.0, "too few");
        assert_eq!(of(&spread(9), &spread(1)), HIGHEST);
    }

    /// Where requests resembled each other, so many of them tell less.
    #[test]
    fn a_node_may_be_slower_where_requests_resembled_each_other() {
        let rising = |n, by: f64| latencies((0..n).map(|at| (1000.0 * by.powi(at)) as u64));
        let allowance = |before: &Histogram, effect| {
            let before = [(id("few"), before.clone()), (id("other"), spread(1))];
            let baseline = before[0].1.clone();
            SlowerNodes::new(0.95, &before.into(), &baseline).allowance(effect)
        };
        let few = rising(100, 1.1);
        assert_eq!(allowance(&few, 1.0), 1.0);
        assert!(allowance(&few, 4.0) > 1.1, "{}", allowance(&few, 4.0));
        assert!(allowance(&few, 1e6) <= HIGHEST);
        assert_eq!(allowance(&latencies([9000; 1000]), 16.0), 1.0, "all alike");
    }

    #[test]
    fn rounding_makes_no_request_slow() {
        for bucket in 0..Histogram::BUCKETS {
            for factor in [1.0, 1.01, 1.5, HIGHEST] {
                let most = Histogram::upper_micros(bucket) as f64 / factor;
                let most = Histogram::bucket_of_micros(most as u64);
                assert!(scaled(bucket, factor) <= most, "{bucket} {factor}");
            }
        }
    }

    /// By hand: of 100 with a share of one half, 0.5 ± 0.098 at two standard errors.
    #[test]
    fn upper_shares_have_their_textbook_values() {
        assert!((upper_share(0.5, 100.0, 2.0) - 0.598_06).abs() < 1e-4);
        assert_eq!(upper_share(0.95, 100.0, 0.0), 0.95);
        assert!(upper_share(0.95, 1.0, 10.0) < 1.0);
    }
}
