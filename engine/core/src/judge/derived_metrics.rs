//! Metrics that are judged as if they were others: a share of requests as an error rate, values
//! as latencies, a mean as memory.

use std::collections::{BTreeMap, HashMap};

use crate::{Histogram, ModuleMetric, NodeInterval, VersionInterval};

use super::SoakHistory;
use super::error_rate::ErrorRates;
use super::gauge::Gauges;
use super::latency::Latencies;
use super::limits::CheckLimits;
use super::metric::{Metric, module_metric};

/// What a metric is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Refused,
    Queued,
    /// A metric of the module's own.
    Module(String),
}

/// One source of metrics, as both versions show it.
#[derive(Debug, Clone)]
pub(super) struct DerivedMetric {
    source: Source,
    /// The requests that it counts, as errors.
    pub(super) shares: ErrorRates,
    /// Its values, each as so many milliseconds.
    pub(super) values: Latencies,
    /// The means of its values by node, in thousandths.
    pub(super) means: Gauges,
}

impl Source {
    /// What the metric `name` is read from. `None` if the judge reads it itself.
    pub(super) fn of(metric: Metric, name: &str) -> Option<Self> {
        match metric {
            Metric::Refused => Some(Self::Refused),
            Metric::Queued => Some(Self::Queued),
            Metric::Share | Metric::Value { .. } | Metric::Mean => {
                module_metric(name).map(|own| Self::Module(own.to_owned()))
            }
            _ => None,
        }
    }

    /// The metric of the requests that it counts, as a check names it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Refused => "refused".to_owned(),
            Self::Queued => "queued".to_owned(),
            Self::Module(name) => format!("module:{name}"),
        }
    }
}

impl DerivedMetric {
    /// A source that these checks judge, whose counts came in such bursts in earlier soaks.
    pub(super) fn new<'a>(
        source: Source,
        checks: impl Iterator<Item = (Metric, &'a str, &'a CheckLimits)> + Clone,
        by_node: bool,
        history: &SoakHistory,
    ) -> Self {
        let factors = checks.clone().filter_map(|(metric, _, limits)| {
            let is_share = matches!(metric, Metric::Refused | Metric::Queued | Metric::Share);
            Some(1.0 + limits.max_increase.filter(|_| is_share)?)
        });
        let quantiles = checks.clone().filter_map(|(metric, name, _)| match metric {
            Metric::Value { quantile } => Some((quantile, history.bursts_of(name))),
            _ => None,
        });
        let earlier = history.bursts_of(&source.name());
        Self {
            source,
            shares: ErrorRates::new(factors, by_node, earlier),
            values: Latencies::new(quantiles, &BTreeMap::new(), &Histogram::default()),
            means: Gauges::new(&HashMap::new()),
        }
    }

    pub(super) fn is_of(&self, source: &Source) -> bool {
        self.source == *source
    }

    /// Adds what the nodes did since the last reading.
    pub(super) fn observe(&mut self, intervals: &[NodeInterval]) {
        let side = |version: &Option<VersionInterval>| Some(self.read(version.as_ref()?));
        let derived: Vec<_> = intervals
            .iter()
            .map(|interval| NodeInterval {
                node: interval.node.clone(),
                elapsed: interval.elapsed,
                canary: side(&interval.canary),
                baseline: side(&interval.baseline),
            })
            .collect();
        self.shares.observe(&derived);
        self.values.observe(&derived);
        self.means.observe(&derived);
    }

    fn read(&self, version: &VersionInterval) -> VersionInterval {
        let requests = version.requests;
        let counted = |errors| VersionInterval {
            requests,
            errors,
            ..VersionInterval::default()
        };
        match &self.source {
            Source::Refused => counted(version.refused),
            Source::Queued => counted(version.queued),
            Source::Module(name) => {
                let mut metrics = version.module_metrics.iter();
                let Some(metric) = metrics.find(|metric| metric.name == *name) else {
                    return counted(0);
                };
                VersionInterval {
                    latency: metric.values.clone(),
                    memory: metric.mean(),
                    ..counted(metric.requests)
                }
            }
        }
    }
}

/// What a version that is only imagined says of the metrics that these checks name.
pub(super) fn imagined<'a>(
    names: impl Iterator<Item = &'a str>,
    version: &VersionInterval,
) -> Vec<ModuleMetric> {
    let mut metrics = Vec::new();
    for name in names.filter_map(module_metric) {
        if metrics
            .iter()
            .all(|known: &ModuleMetric| known.name != name)
        {
            metrics.push(ModuleMetric {
                name: name.to_owned(),
                requests: 0,
                sum: version.requests.saturating_mul(10_000),
                values: version.latency.clone(),
            });
        }
    }
    metrics
}
