//! Whether a soak can decide anything, before it begins.

use std::time::Duration;

use crate::{
    Check, Finding, Histogram, NodeId, NodeInterval, QueryReading, SoakHistory, SoakOptions,
    Timestamp, VersionInterval,
};

use super::{Judge, SoakPlan, derived_metrics};

/// Readings of a soak that is only imagined.
const READINGS: u32 = 40;

/// The requests that a node of a soak answers with each version, in a second.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeTraffic {
    /// The node.
    pub node: NodeId,
    /// With the new version. `None` on a node of the baseline alone.
    pub canary: Option<f64>,
    /// With the previous version. `None` on a node of the canary alone.
    pub baseline: Option<f64>,
}

impl Judge {
    /// What a soak would come to at this traffic in a window of this length, after the earlier ones
    /// of `history`, if the new version did just as well as the previous one. A check that is
    /// inconclusive then cannot be decided. A later soak has a smaller share of the budget, so it
    /// takes more requests: [`SoakHistory::record_forecast`] goes on to it.
    pub fn forecast(
        history: SoakHistory,
        checks: Vec<Check>,
        options: SoakOptions,
        window: Duration,
        traffic: &[NodeTraffic],
    ) -> Vec<Finding> {
        let mut judge = Self::new(SoakPlan {
            has_baseline: traffic.iter().any(|node| node.baseline.is_some()),
            history,
            checks,
            options,
            ..SoakPlan::default()
        });
        let elapsed = window / READINGS;
        for reading in 1..=READINGS {
            let interval = |rate| {
                let mut version = interval(rate, elapsed, reading);
                let names = judge.checks.iter().map(|(check, _)| check.metric.as_str());
                version.module_metrics = derived_metrics::imagined(names, &version);
                version
            };
            let intervals: Vec<_> = traffic
                .iter()
                .map(|node| NodeInterval {
                    node: node.node.clone(),
                    elapsed,
                    canary: node.canary.map(interval),
                    baseline: node.baseline.map(interval),
                })
                .collect();
            judge.observe(&intervals);
            // Whether a provider answers is not up to the traffic.
            let queries = judge.queries.iter().map(|query| QueryReading {
                query: query.name().to_owned(),
                at: Timestamp::default(),
                canary: Some(0.0),
                baseline: Some(0.0),
                error: None,
            });
            judge.observe_queries(queries.collect());
        }
        judge.verdict().findings
    }
}

/// Requests without a fault at this rate, in one of many readings: rounded so that their sum is
/// that of the whole soak.
fn interval(rate: f64, elapsed: Duration, reading: u32) -> VersionInterval {
    let until = |reading: u32| (rate * elapsed.as_secs_f64() * f64::from(reading)) as u64;
    let requests = until(reading).saturating_sub(until(reading - 1));
    let bucket = Histogram::bucket(Duration::from_millis(10));
    let mut counts = vec![0; bucket + 1];
    counts[bucket] = requests;
    VersionInterval {
        requests,
        latency: Histogram::from_counts(counts),
        cpu_micros: requests.saturating_mul(1000),
        memory: Some(1 << 20),
        ..VersionInterval::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Judgement;

    /// Of the soak with this number, from 1.
    fn forecast(soak: u32, rate: f64, window: u64) -> Vec<Judgement> {
        let check = |metric: &str| Check {
            metric: metric.to_owned(),
            max: None,
            max_increase: Some(1.0),
            min_increase: None,
        };
        let checks = ["error-rate", "latency-p95", "memory"].map(check).to_vec();
        let traffic: Vec<_> = (0..10)
            .map(|number| NodeTraffic {
                node: format!("n{number}").parse().unwrap(),
                canary: (number == 0).then_some(rate),
                baseline: (number > 0).then_some(rate),
            })
            .collect();
        let window = Duration::from_secs(window);
        let mut history = SoakHistory::default();
        let mut judgements = Vec::new();
        for _ in 0..soak {
            let (checks, options) = (checks.clone(), SoakOptions::default());
            let findings = Judge::forecast(history.clone(), checks, options, window, &traffic);
            judgements = findings.iter().map(|finding| finding.judgement).collect();
            history.record_forecast(findings);
        }
        judgements
    }

    #[test]
    fn weak_traffic_is_known_before_the_soak() {
        use Judgement::{Inconclusive, Pass};
        assert_eq!(forecast(1, 5.0, 900), [Pass, Pass, Pass]);
        assert_eq!(forecast(1, 0.01, 900), [Inconclusive, Inconclusive, Pass]);
        assert_eq!(forecast(1, 5.0, 4), [Inconclusive, Inconclusive, Pass]);
        assert_eq!(forecast(1, 0.0, 900), [Inconclusive, Inconclusive, Pass]);
    }

    /// What is just enough for the first soak is too little for the fourth.
    #[test]
    fn a_later_soak_needs_more_requests() {
        let errors = |soak, rate| forecast(soak, rate, 100)[0];
        let enough = (1..200).map(|tenth| f64::from(tenth) / 10.0);
        let enough = enough
            .into_iter()
            .find(|&rate| errors(1, rate) == Judgement::Pass);
        let enough = enough.expect("some rate is enough");
        assert_eq!(errors(4, enough), Judgement::Inconclusive);
        assert_eq!(errors(4, 3.0 * enough), Judgement::Pass);
    }
}
