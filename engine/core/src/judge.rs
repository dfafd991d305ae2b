//! Judges the new version by its metrics, with tests that are valid at any moment.
//!
//! A false alarm is a failed check of a version that keeps its limits. All conditions of all soaks
//! of a deployment together have a false alarm with a probability of at most
//! [`SoakOptions::false_alarms`], however often one looks: error rates and latencies are judged by
//! e-processes ([`mixture`]), gauges once at the end of a soak. What earlier soaks say counts on
//! ([`SoakHistory`]).
//!
//! A check can fail on any number of samples from the third reading on. It passes only where a
//! gross fault would have been found; otherwise it is inconclusive, and says what was missing.

mod budget;
mod derived_metrics;
mod design_effect;
mod dispersion;
mod error_checks;
mod error_rate;
mod forecast;
mod format;
mod gauge;
mod gauge_checks;
mod latency;
mod latency_checks;
mod limits;
mod metric;
mod mixture;
mod node_spells;
mod outcome;
mod query_checks;
mod restart_checks;
mod slower_nodes;
mod soak_plan;

#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::{Check, ConditionKind, Finding, Judgement, NodeInterval, QueryReading, Verdict};

use budget::Budget;
use derived_metrics::{DerivedMetric, Source};
use error_rate::ErrorRates;
use gauge::Gauges;
use latency::Latencies;
use latency_checks::Figure;
use limits::CheckLimits;
use metric::Metric;
use outcome::{Measured, Traffic};
use query_checks::QueryAnswers;
use restart_checks::Restarts;

pub use budget::SoakHistory;
pub use forecast::NodeTraffic;
pub use soak_plan::{SoakOptions, SoakPlan};

/// Judges the checks of one soak.
///
/// Pure. Its memory is bounded: it does not grow with the length of the soak.
#[derive(Debug, Clone)]
pub struct Judge {
    /// Each check of the plan, and how it is judged; or why it cannot be.
    checks: Vec<(Check, Result<JudgedCheck, String>)>,
    history: SoakHistory,
    options: SoakOptions,
    level: f64,
    errors: ErrorRates,
    latencies: Latencies,
    gauges: Gauges,
    restarts: Restarts,
    /// Metrics that are judged as if they were others.
    derived: Vec<DerivedMetric>,
    queries: Vec<QueryAnswers>,
    elapsed: Duration,
}

/// Which counters of a node checks need beside the requests and their errors. Ten thousand soaks
/// hold one reading for each of their nodes, so what nothing judges is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetricNeeds {
    /// The latencies.
    pub latency: bool,
    /// The metrics of the module's own.
    pub module_metrics: bool,
}

#[derive(Debug, Clone)]
struct JudgedCheck {
    metric: Metric,
    limits: CheckLimits,
}

/// When one looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Judges while the soak runs, to find out whether it is over. Leaves out the intervals: nobody
    /// reads them before the end.
    Quick,
    /// While the soak runs. Gauges do not fail: another reading of the same node says nothing new,
    /// so they may be tested only once.
    Interim,
    /// At the end.
    Final,
}

/// Both bounds of an interval. `None` if there is no bound.
type Bounds = (Option<f64>, Option<f64>);

impl Look {
    /// Computes what is only shown.
    fn shown(self, interval: impl FnOnce() -> Bounds) -> Bounds {
        if self == Self::Quick {
            (None, None)
        } else {
            interval()
        }
    }
}

impl JudgedCheck {
    /// # Errors
    /// Why the check cannot be judged.
    fn of(check: &Check, has_baseline: bool, restarts: &Restarts) -> Result<Self, String> {
        let metric = Metric::parse(&check.metric)?;
        // Crashes are compared with all that is known of the previous version.
        let has_baseline = match metric {
            Metric::Restarts => restarts.has_baseline(),
            _ => has_baseline,
        };
        Ok(Self {
            metric,
            limits: CheckLimits::validate(check, has_baseline)?,
        })
    }
}

impl Judge {
    /// The highest probability that a deployment fails a check whose limits its version keeps,
    /// where the deployment does not ask for another.
    pub const LEVEL: f64 = 0.01;

    /// What a deployment may ask for: at less, nothing is ever found; at more, every fifth good
    /// version is taken back.
    pub const LEVELS: RangeInclusive<f64> = 0.0001..=0.2;

    /// Starts judging a soak.
    pub fn new(plan: SoakPlan) -> Self {
        let SoakPlan {
            checks,
            has_baseline,
            by_node,
            before,
            history,
            options,
        } = plan;
        let restarts = Restarts::new(&history, before.lifetime, has_baseline);
        let checks: Vec<_> = checks
            .into_iter()
            .map(|check| {
                let judged = JudgedCheck::of(&check, has_baseline, &restarts);
                (check, judged)
            })
            .collect();
        let valid = || checks.iter().filter_map(|(_, judged)| judged.as_ref().ok());
        let shared: Vec<_> = checks
            .iter()
            .filter_map(|(check, judged)| {
                let judged = judged.as_ref().ok()?;
                Some((judged.metric, check.metric.clone(), judged.limits.clone()))
            })
            .collect();
        let shares = history.shares(&shared).max(1.0);
        let factors = valid().filter(|check| check.metric == Metric::ErrorRate);
        let factors = factors.filter_map(|check| Some(1.0 + check.limits.max_increase?));
        let quantiles = checks.iter().filter_map(|(check, judged)| {
            let Metric::Latency { quantile } = judged.as_ref().ok()?.metric else {
                return None;
            };
            Some((quantile, history.bursts_of(&check.metric)))
        });
        let gauges = if valid().any(|check| !check.metric.is_sequential()) {
            Gauges::new(&before.usage)
        } else {
            Gauges::default()
        };
        let named = || {
            checks.iter().filter_map(|(check, judged)| {
                let judged = judged.as_ref().ok()?;
                Some((check.metric.as_str(), judged))
            })
        };
        let mut derived: Vec<DerivedMetric> = Vec::new();
        for (name, judged) in named() {
            if let Some(source) = Source::of(judged.metric, name)
                && !derived.iter().any(|known| known.is_of(&source))
            {
                let same = named().filter(|(name, judged)| {
                    Source::of(judged.metric, name).as_ref() == Some(&source)
                });
                let same = same.map(|(name, judged)| (judged.metric, name, &judged.limits));
                derived.push(DerivedMetric::new(source.clone(), same, by_node, &history));
            }
        }
        // Soaks of a deployment may have different checks.
        let compares_restarts = history.lifetimes().is_some()
            || valid().any(|check| {
                check.metric == Metric::Restarts && check.limits.asked_increase.is_some()
            });
        let shared = if compares_restarts {
            1.0 - restart_checks::SHARE
        } else {
            1.0
        };
        let queries = query_checks::answers_of(named().map(|(name, judged)| (judged.metric, name)));
        Self {
            derived,
            queries,
            level: shared * options.level() / shares,
            errors: ErrorRates::new(factors, by_node, history.bursts_of("error-rate")),
            latencies: Latencies::new(quantiles, &before.canary, &before.baseline),
            gauges,
            restarts,
            elapsed: Duration::ZERO,
            checks,
            history,
            options,
        }
    }

    /// What these checks need of readings.
    pub fn needs(checks: &[Check]) -> MetricNeeds {
        let mut needs = MetricNeeds::default();
        for metric in checks
            .iter()
            .filter_map(|check| Metric::parse(&check.metric).ok())
        {
            needs.latency |= matches!(metric, Metric::Latency { .. });
            needs.module_metrics |=
                matches!(metric, Metric::Share | Metric::Value { .. } | Metric::Mean);
        }
        needs
    }

    /// The name of the module's own metric that a check of this metric judges: `rows` of
    /// `module:rows:p95`.
    pub fn module_metric_of(metric: &str) -> Option<&str> {
        metric::module_metric(metric)
    }

    /// The name of the query that a check of this metric judges: `orders` of `query:orders`.
    pub fn query_of(metric: &str) -> Option<&str> {
        metric::query(metric)
    }

    /// A value of a metric with its unit, for people: `1.49 MiB`, `0.14 %`. A plain number if the
    /// metric is not known here.
    pub fn describe(metric: &str, value: f64) -> String {
        match Metric::parse(metric) {
            Ok(metric) => metric.format(value),
            Err(_) => format::number(value),
        }
    }

    /// Adds one reading of the soak: what its nodes did since the last one.
    pub fn observe(&mut self, intervals: &[NodeInterval]) {
        let longest = intervals.iter().map(|interval| interval.elapsed).max();
        self.elapsed += longest.unwrap_or_default();
        self.errors.observe(intervals);
        self.latencies.observe(intervals);
        self.gauges.observe(intervals);
        self.restarts.observe(intervals);
        for derived in &mut self.derived {
            derived.observe(intervals);
        }
    }

    /// Adds what providers of metrics answered at one reading.
    ///
    /// The requests behind such a number are unknown, so no probability is computed: a limit fails
    /// if three answers in a row exceed it. An error does not count as an answer, and never passes.
    pub fn observe_queries(&mut self, readings: Vec<QueryReading>) {
        for reading in readings {
            let mut queries = self.queries.iter_mut();
            if let Some(answers) = queries.find(|known| known.name() == reading.query) {
                answers.add(reading);
            }
        }
    }

    /// Looks at the soak while it runs. Returns the verdict if a check has failed, or if all have
    /// passed and the deployment asks to end then. May be called after every reading.
    ///
    /// A soak without a check but of restarts passes at its end only: no reading shows that the
    /// version will not crash in the rest of the window.
    pub fn interim(&self) -> Option<Verdict> {
        match self.verdict_at(Look::Quick).judgement {
            Judgement::Fail => Some(self.verdict()),
            Judgement::Pass if self.options.pass_early && self.is_tested() => {
                // The soak ends here: the one look at gauges.
                let verdict = self.verdict();
                (verdict.judgement == Judgement::Pass).then_some(verdict)
            }
            Judgement::Pass | Judgement::Inconclusive => None,
        }
    }

    /// Whether some check passes only where enough was measured for that.
    fn is_tested(&self) -> bool {
        let mut checks = self.checks.iter();
        checks.any(|(_, judged)| {
            judged
                .as_ref()
                .is_ok_and(|judged| judged.metric != Metric::Restarts)
        })
    }

    /// The state of each check while the soak runs: a check that would pass now has passed, and
    /// one that cannot be judged yet says what is missing.
    pub fn findings(&self) -> Vec<Finding> {
        self.verdict_at(Look::Interim).findings
    }

    /// The verdict at the end of the soak: `Fail` if any check failed, else `Inconclusive` if
    /// any check was inconclusive, else `Pass`. A soak without checks passes.
    pub fn verdict(&self) -> Verdict {
        self.verdict_at(Look::Final)
    }

    fn verdict_at(&self, look: Look) -> Verdict {
        let findings: Vec<Finding> = self
            .checks
            .iter()
            .map(|(check, judged)| self.judge_check(check, judged, look).finite())
            .collect();
        let any = |judgement| {
            findings
                .iter()
                .any(|finding| finding.judgement == judgement)
        };
        let judgement = if any(Judgement::Fail) {
            Judgement::Fail
        } else if any(Judgement::Inconclusive) {
            Judgement::Inconclusive
        } else {
            Judgement::Pass
        };
        Verdict {
            judgement,
            findings,
            promoted_by: None,
        }
    }

    fn judge_check(
        &self,
        check: &Check,
        judged: &Result<JudgedCheck, String>,
        look: Look,
    ) -> Finding {
        let measured = match judged {
            Ok(judged) if judged.metric == Metric::Query => {
                let mut queries = self.queries.iter();
                let name = Self::query_of(&check.metric);
                let answers = queries.find(|known| Some(known.name()) == name);
                return answers.map_or_else(
                    || QueryAnswers::default().judge(check, &judged.limits, look),
                    |answers| answers.judge(check, &judged.limits, look),
                );
            }
            Ok(judged) => self.measure(check, judged, look),
            Err(reason) => Measured::unknown(reason.clone()),
        };
        measured.conclude(check, self.options.min_samples, self.traffic())
    }

    fn measure(&self, check: &Check, judged: &JudgedCheck, look: Look) -> Measured {
        let JudgedCheck { metric, limits } = judged;
        let budget = |kind: ConditionKind| -> Budget {
            self.history
                .of(self.level, *metric, &check.metric, limits, kind)
        };
        let (metric, name, traffic) = (*metric, check.metric.as_str(), self.traffic());
        let counted = metric.counted(name);
        let figure = |quantile| Figure {
            metric,
            name,
            quantile,
        };
        let source = Source::of(metric, name);
        let derived = source.and_then(|source| {
            let mut derived = self.derived.iter();
            derived.find(|known| known.is_of(&source))
        });
        match (metric, derived) {
            (Metric::ErrorRate, _) => {
                error_checks::test(&self.errors, &counted, limits, budget, traffic, look)
            }
            (Metric::Latency { quantile }, _) => {
                let (latencies, figure) = (&self.latencies, figure(quantile));
                latency_checks::test(latencies, figure, limits, budget, traffic, look)
            }
            (Metric::Cpu | Metric::CpuPerRequest | Metric::Memory, _) => {
                gauge_checks::test(&self.gauges, (metric, name), limits, budget, look)
            }
            (Metric::Restarts, _) => {
                let level = self.options.level();
                self.restarts.test(limits, level, traffic, look)
            }
            (Metric::Refused | Metric::Queued | Metric::Share, Some(derived)) => {
                error_checks::test(&derived.shares, &counted, limits, budget, traffic, look)
            }
            (Metric::Value { quantile }, Some(derived)) => {
                let figure = figure(quantile);
                latency_checks::test(&derived.values, figure, limits, budget, traffic, look)
            }
            (Metric::Mean, Some(derived)) => {
                gauge_checks::test(&derived.means, (metric, name), limits, budget, look)
            }
            // A query is judged before; the others have a source.
            (_, _) => Measured::unknown(format!("{name} is not read")),
        }
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.errors.total.requests[error_rate::CANARY],
            seconds: self.elapsed.as_secs_f64(),
        }
    }
}
