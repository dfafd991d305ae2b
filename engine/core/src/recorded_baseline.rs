//! What the previous version did before a soak in which no node runs it.

use crate::{
    Check, Histogram, ModuleMetric, ModuleVersion, NodeReading, SoakHistory, VersionReading,
};

mod bounds;
mod derived_checks;
mod recorded;
#[cfg(test)]
mod tests;

pub use derived_checks::DerivedChecks;

use derived_checks::Origin;
use recorded::Recorded;

/// The fewest requests from which an error rate is taken.
const MIN_REQUESTS: u64 = 50;

/// The counters of the previous version on the nodes of a soak, from the readings at its beginning:
/// all that it did on them since it was loaded.
///
/// Comparisons with it become absolute limits. The recorded value is a sample, so a limit counts
/// from the upper end of its confidence interval, or from what the baseline of an earlier soak
/// showed where that is more. And the service may have changed since: so a limit allows for a drift
/// of the whole service, which nobody can tell from the new version's doing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordedBaseline {
    requests: u64,
    errors: u64,
    latency: Histogram,
    /// The latencies of each version on each node.
    latency_by_node: Vec<Histogram>,
    memory_sum: u64,
    instances: u64,
    cpu_micros: u64,
    refused: u64,
    queued: u64,
    module_metrics: Vec<ModuleMetric>,
}

impl RecordedBaseline {
    /// What the readings at the beginning of a soak of `module` hold of other versions. Only those
    /// count that the nodes still hold: what ran before them is no baseline.
    pub fn new(module: &ModuleVersion, start: &[NodeReading]) -> Self {
        let versions = start.iter().flat_map(|reading| &reading.versions);
        let previous = versions.filter(|held| held.slot.is_some() && !held.is_of(module));
        let mut sum = Self::default();
        for held in previous {
            sum.add(held);
        }
        sum
    }

    fn add(&mut self, held: &VersionReading) {
        self.requests = self.requests.saturating_add(held.requests);
        self.errors = self.errors.saturating_add(held.errors);
        self.latency.add(&held.latency);
        self.latency_by_node.push(held.latency.clone());
        self.memory_sum = self.memory_sum.saturating_add(held.memory_sum);
        self.instances = self.instances.saturating_add(held.instances);
        self.cpu_micros = self.cpu_micros.saturating_add(held.cpu_micros);
        self.refused = self.refused.saturating_add(held.refused);
        self.queued = self.queued.saturating_add(held.queued);
        for metric in &held.module_metrics {
            ModuleMetric::add_to(&mut self.module_metrics, metric.clone());
        }
    }

    /// The checks with their comparisons as absolute limits, where enough was recorded. Others
    /// stay as they are. `history` is of the earlier soaks of the deployment.
    pub fn derive(&self, checks: Vec<Check>, history: &SoakHistory) -> DerivedChecks {
        let mut derived = DerivedChecks {
            checks: Vec::with_capacity(checks.len()),
            origins: Vec::with_capacity(checks.len()),
        };
        for asked in checks {
            let limit = asked.max_increase.and_then(|max_increase| {
                let recorded = self.value(&asked.metric)?;
                let shown = history.highest_baseline(&asked.metric).unwrap_or(0.0);
                let slowest = self.slowest_node(&asked.metric).unwrap_or(0.0);
                let usual = (recorded.drift * recorded.upper.max(shown)).max(slowest);
                let least = asked.min_increase.unwrap_or(0.0);
                let limit = (usual * (1.0 + max_increase)).max(usual + least);
                let derived = (limit, max_increase, recorded);
                Some(derived).filter(|(limit, ..)| limit.is_finite())
            });
            let Some((limit, max_increase, recorded)) = limit else {
                derived.checks.push(asked);
                derived.origins.push(None);
                continue;
            };
            derived.origins.push(Some(Origin {
                max: asked.max,
                max_increase,
                min_increase: asked.min_increase,
                baseline: recorded.value,
                samples: recorded.samples,
                drift: recorded.drift,
            }));
            derived.checks.push(Check {
                metric: asked.metric,
                max: Some(asked.max.map_or(limit, |max| max.min(limit))),
                max_increase: None,
                min_increase: None,
            });
        }
        derived
    }

    /// `None` where too little was recorded, or the metric cannot be compared over time.
    fn value(&self, metric: &str) -> Option<Recorded> {
        match metric {
            "error-rate" => Recorded::share(self.errors, self.requests),
            "refused" => Recorded::share(self.refused, self.requests),
            "queued" => Recorded::share(self.queued, self.requests),
            "memory" => Recorded::mean(self.memory_sum, self.instances, 1.0),
            "cpu-per-request" => Recorded::mean(self.cpu_micros, self.requests, 1e-3),
            _ => match metric.strip_prefix("module:") {
                Some(own) => self.module_metric(own),
                None => Recorded::quantile(&self.latency, metric.strip_prefix("latency-")?),
            },
        }
    }

    /// The highest value of a quantile of latency on any node, in milliseconds, at the upper end of
    /// its interval. A version that takes longer than before by what is allowed, on each node,
    /// takes so long on the slowest. Where its latencies hardly differ, that is what all nodes
    /// together show.
    fn slowest_node(&self, metric: &str) -> Option<f64> {
        let quantile = metric.strip_prefix("latency-")?;
        let nodes = self.latency_by_node.iter();
        let values = nodes.filter_map(|latency| Recorded::quantile(latency, quantile));
        values.map(|recorded| recorded.upper).reduce(f64::max)
    }

    /// Of a metric of the module's own: `rows`, `rows:p95` or `rows:mean`.
    fn module_metric(&self, metric: &str) -> Option<Recorded> {
        let (name, statistic) = match metric.split_once(':') {
            Some((name, statistic)) => (name, Some(statistic)),
            None => (metric, None),
        };
        let mut metrics = self.module_metrics.iter();
        let known = metrics.find(|known| known.name == name);
        match statistic {
            None => Recorded::share(known.map_or(0, |known| known.requests), self.requests),
            Some("mean") => {
                known.and_then(|known| Recorded::mean(known.sum, known.values.total(), 1e-3))
            }
            Some(statistic) => known.and_then(|known| Recorded::quantile(&known.values, statistic)),
        }
    }
}
