//! What the previous version did before a soak in which no node runs it.

use std::time::Duration;

use crate::{Check, Finding, Histogram, ModuleMetric, ModuleVersion, NodeReading, VersionReading};

/// For each check, the chance that its limit is derived too low: the recorded values are a sample,
/// too.
const ALPHA: f64 = 0.001;

/// The fewest requests from which an error rate is taken.
const MIN_REQUESTS: u64 = 50;

/// The counters of the previous version on the nodes of a soak, from the readings at its beginning:
/// all that it did on them since it was loaded.
///
/// Comparisons with it become absolute limits. The recorded value is a sample, so a limit counts
/// from the upper end of its confidence interval.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordedBaseline {
    requests: u64,
    errors: u64,
    latency: Histogram,
    memory_sum: u64,
    instances: u64,
    cpu_micros: u64,
    refused: u64,
    queued: u64,
    module_metrics: Vec<ModuleMetric>,
}

/// The checks of a soak without a baseline: those that are judged, and where their limits come
/// from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DerivedChecks {
    /// As the judge gets them.
    pub checks: Vec<Check>,
    /// For each of them, what it was derived from.
    origins: Vec<Option<Origin>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Origin {
    asked: Check,
    baseline: f64,
    samples: u64,
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
    /// stay as they are.
    pub fn derive(&self, checks: Vec<Check>) -> DerivedChecks {
        let mut derived = DerivedChecks::default();
        for asked in checks {
            let limit = asked.max_increase.and_then(|increase| {
                let recorded = self.value(&asked.metric)?;
                let least = asked.min_increase.unwrap_or(0.0);
                let limit = (recorded.upper * (1.0 + increase)).max(recorded.upper + least);
                Some((limit, recorded)).filter(|(limit, _)| limit.is_finite())
            });
            let Some((limit, recorded)) = limit else {
                derived.checks.push(asked);
                derived.origins.push(None);
                continue;
            };
            derived.checks.push(Check {
                max: Some(asked.max.map_or(limit, |max| max.min(limit))),
                max_increase: None,
                min_increase: None,
                ..asked.clone()
            });
            derived.origins.push(Some(Origin {
                asked,
                baseline: recorded.value,
                samples: recorded.samples,
            }));
        }
        derived
    }

    /// `None` where too little was recorded, or the metric cannot be compared over time.
    fn value(&self, metric: &str) -> Option<Recorded> {
        match metric {
            "error-rate" => self.share(self.errors),
            "refused" => self.share(self.refused),
            "queued" => self.share(self.queued),
            "memory" => mean(self.memory_sum, self.instances, 1.0),
            "cpu-per-request" => mean(self.cpu_micros, self.requests, 1e-3),
            _ => match metric.strip_prefix("module:") {
                Some(own) => self.module_metric(own),
                None => quantile(&self.latency, metric.strip_prefix("latency-")?),
            },
        }
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
            None => self.share(known.map_or(0, |known| known.requests)),
            Some("mean") => known.and_then(|known| mean(known.sum, known.values.total(), 1e-3)),
            Some(statistic) => known.and_then(|known| quantile(&known.values, statistic)),
        }
    }

    /// The share of requests that count as so many errors.
    fn share(&self, errors: u64) -> Option<Recorded> {
        if self.requests < MIN_REQUESTS {
            return None;
        }
        let errors = errors.min(self.requests);
        let value = errors as f64 / self.requests as f64;
        Some(Recorded {
            value,
            upper: upper_rate(self.requests, value),
            samples: self.requests,
        })
    }
}

/// A mean, in units of so much.
fn mean(sum: u64, samples: u64, unit: f64) -> Option<Recorded> {
    let mean = sum as f64 / samples as f64 * unit;
    (samples >= MIN_REQUESTS).then_some(Recorded {
        value: mean,
        upper: mean,
        samples,
    })
}

/// A quantile, such as `p95`.
fn quantile(values: &Histogram, name: &str) -> Option<Recorded> {
    let quantile = match name {
        "p50" => 0.5,
        "p90" => 0.9,
        "p95" => 0.95,
        "p99" => 0.99,
        "p999" => 0.999,
        _ => return None,
    };
    let samples = values.total();
    let upper = upper_share(samples, quantile)?;
    let millis = |latency: Duration| latency.as_secs_f64() * 1e3;
    Some(Recorded {
        value: millis(values.quantile(quantile)?),
        upper: millis(values.quantile(upper)?),
        samples,
    })
}

#[derive(Debug, Clone, Copy)]
struct Recorded {
    value: f64,
    upper: f64,
    samples: u64,
}

impl DerivedChecks {
    /// Changes the findings on the derived checks to those that were asked for: each says where its
    /// limit comes from.
    pub fn explain(&self, findings: &mut [Finding]) {
        for (finding, origin) in findings.iter_mut().zip(&self.origins) {
            let Some(origin) = origin else {
                continue;
            };
            finding.check = origin.asked.clone();
            finding.baseline = Some(origin.baseline);
            finding.baseline_samples = origin.samples;
            finding.reason = format!(
                "{}; no node runs the previous version any more, so the limit follows from its {} \
                 requests before",
                finding.reason, origin.samples
            );
        }
    }
}

/// The highest rate at which `rate` of `samples` or less is not too unlikely, by Chernoff's bound.
fn upper_rate(samples: u64, rate: f64) -> f64 {
    let allowed = -ALPHA.ln() / samples as f64;
    bisect(rate, 1.0, |upper| divergence(rate, upper) <= allowed)
}

/// The share of samples below which the true quantile lies, except for a small chance. `None` where
/// there are too few samples.
fn upper_share(samples: u64, quantile: f64) -> Option<f64> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Judgement, ReadSlot, Timestamp};

    fn module(version: &str) -> ModuleVersion {
        ModuleVersion {
            name: "hello".parse().unwrap(),
            version: version.parse().unwrap(),
            digest: Digest::of(version.as_bytes()),
        }
    }

    fn held(version: &str, slot: Option<ReadSlot>, requests: u64, errors: u64) -> VersionReading {
        let mut counts = vec![0; Histogram::BUCKETS];
        counts[Histogram::bucket(Duration::from_millis(10))] = requests;
        VersionReading {
            digest: Digest::of(version.as_bytes()),
            version: Some(version.to_owned()),
            generation: 1,
            slot,
            requests,
            errors,
            in_flight: 0,
            client_faults: 0,
            cpu_micros: 0,
            latency: Histogram::from_counts(counts),
            memory: 0,
            memory_sum: requests << 20,
            instances: requests,
            refused: 0,
            queued: 0,
            synthetic: 0,
            module_metrics: Vec::new(),
        }
    }

    fn recorded(requests: u64, errors: u64) -> RecordedBaseline {
        let reading = |node: &str| NodeReading {
            node: node.parse().unwrap(),
            boot: "first".to_owned(),
            at: Timestamp::default(),
            cpu_millis: 0,
            starts: None,
            traffic: None,
            versions: vec![
                held("0.9.0", None, 100_000, 50_000),
                held("1.0.0", Some(ReadSlot::Previous), requests / 2, errors / 2),
                held("2.0.0", Some(ReadSlot::Active), 1000, 1000),
            ],
        };
        RecordedBaseline::new(&module("2.0.0"), &[reading("a"), reading("b")])
    }

    fn check(metric: &str) -> Check {
        Check {
            metric: metric.to_owned(),
            max: None,
            max_increase: Some(0.5),
            min_increase: None,
        }
    }

    fn limit(baseline: &RecordedBaseline, check: Check) -> Option<f64> {
        let derived = baseline.derive(vec![check]);
        derived.origins[0].as_ref()?;
        derived.checks[0].max
    }

    #[test]
    fn comparisons_become_limits_from_what_was_recorded() {
        let baseline = recorded(10_000, 100);
        let errors = limit(&baseline, check("error-rate")).unwrap();
        assert!(
            (0.015..0.025).contains(&errors),
            "1 %, and half more: {errors}"
        );
        let latency = limit(&baseline, check("latency-p95")).unwrap();
        assert!(
            (15.0..18.0).contains(&latency),
            "10 ms, and half more: {latency}"
        );
        assert_eq!(
            limit(&baseline, check("memory")),
            Some(1.5 * f64::from(1 << 20))
        );
        let floor = Check {
            min_increase: Some(20.0),
            ..check("latency-p95")
        };
        assert!(limit(&baseline, floor).unwrap() >= 30.0);
        let stricter = Check {
            max: Some(0.001),
            ..check("error-rate")
        };
        assert_eq!(limit(&baseline, stricter), Some(0.001));
    }

    #[test]
    fn the_less_was_recorded_the_wider_is_the_limit() {
        let of = |requests| limit(&recorded(requests, 0), check("error-rate"));
        let (few, many) = (of(100).unwrap(), of(10_000).unwrap());
        // Without an error, the bound is exact: 1 - 0.001^(1/n), and half more.
        assert!((few - 0.1001).abs() < 0.001, "{few}");
        assert!(many < 0.0011, "{many}");
        assert_eq!(of(48), None);
        let quantile = |requests| limit(&recorded(requests, 0), check("latency-p99"));
        assert!(quantile(500).is_none() && quantile(1000).is_some());
    }

    #[test]
    fn what_cannot_be_compared_stays_as_it_is() {
        let baseline = recorded(10_000, 0);
        for metric in ["cpu", "restarts", "nonsense"] {
            assert_eq!(limit(&baseline, check(metric)), None, "{metric}");
        }
        let absolute = Check {
            max: Some(0.1),
            max_increase: None,
            ..check("error-rate")
        };
        assert_eq!(baseline.derive(vec![absolute.clone()]).checks, [absolute]);
    }

    #[test]
    fn findings_are_on_the_checks_that_were_asked_for() {
        let derived = recorded(10_000, 100).derive(vec![check("error-rate")]);
        let finding = Finding {
            check: derived.checks[0].clone(),
            judgement: Judgement::Pass,
            canary: Some(0.01),
            baseline: None,
            canary_samples: 500,
            baseline_samples: 0,
            reason: "5 of 500 requests failed".to_owned(),
            conditions: Vec::new(),
            queried: Vec::new(),
        };
        let mut findings = vec![finding];
        derived.explain(&mut findings);
        let finding = &findings[0];
        assert_eq!(finding.check, check("error-rate"));
        assert_eq!(
            (finding.baseline, finding.baseline_samples),
            (Some(0.01), 10_000)
        );
        assert_eq!(
            finding.reason,
            "5 of 500 requests failed; no node runs the previous version any more, so the limit \
             follows from its 10000 requests before"
        );
    }
}
