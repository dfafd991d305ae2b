use std::time::Duration;

use super::*;
use crate::{Answer, Digest, Finding, Judgement, ReadSlot, Timestamp, Verdict};

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
        lifetime: None,
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
    let derived = baseline.derive(vec![check], &SoakHistory::default());
    derived.origins[0].as_ref()?;
    derived.checks[0].max
}

#[test]
fn comparisons_become_limits_from_what_was_recorded() {
    let baseline = recorded(10_000, 100);
    let errors = limit(&baseline, check("error-rate")).unwrap();
    assert!(
        (0.045..0.075).contains(&errors),
        "1 %, and half more, three times: {errors}"
    );
    let latency = limit(&baseline, check("latency-p95")).unwrap();
    assert!(
        (30.0..36.0).contains(&latency),
        "10 ms, and half more, twice: {latency}"
    );
    assert_eq!(
        limit(&baseline, check("memory")),
        Some(2.25 * f64::from(1 << 20))
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

/// What one node did is a sample, too.
#[test]
fn the_slowest_node_may_be_slower_than_it_seemed() {
    let mut counts = vec![0; Histogram::BUCKETS];
    for at in 0..300 {
        counts[Histogram::bucket(Duration::from_millis(100 + at))] += 1;
    }
    let latency = Histogram::from_counts(counts);
    let mut slow = NodeReading {
        node: "slow".parse().unwrap(),
        boot: "first".to_owned(),
        at: Timestamp::default(),
        cpu_millis: 0,
        starts: None,
        traffic: None,
        versions: vec![held("1.0.0", Some(ReadSlot::Previous), 10_000, 0)],
    };
    let fast = NodeReading {
        node: "fast".parse().unwrap(),
        ..slow.clone()
    };
    slow.versions[0].latency = latency;
    let baseline = RecordedBaseline::new(&module("2.0.0"), &[fast, slow]);
    let limit = limit(&baseline, check("latency-p95")).unwrap();
    // Its 95th percentile is 385 ms, of which half more is 577 ms. Its longest latency is in a
    // bucket that ends below 402 ms.
    assert!((578.0..603.0).contains(&limit), "{limit}");
}

/// A version that takes half more on each node takes that on the slowest, too.
#[test]
fn no_limit_of_a_latency_is_below_what_the_slowest_node_may_take() {
    let slow = |micros: u64| {
        let mut counts = vec![0; Histogram::BUCKETS];
        counts[Histogram::bucket(Duration::from_micros(micros))] = 300;
        let latency = Histogram::from_counts(counts);
        let slot = Some(ReadSlot::Previous);
        NodeReading {
            node: "slow".parse().unwrap(),
            boot: "first".to_owned(),
            at: Timestamp::default(),
            cpu_millis: 0,
            starts: None,
            traffic: None,
            versions: vec![VersionReading {
                latency,
                ..held("1.0.0", slot, 10_000, 0)
            }],
        }
    };
    // Of 10,300 requests, 300 are the slow node's: the 95th percentile of all does not show it.
    for (micros, expected) in [(100_000, 150.0), (15_000, 30.0)] {
        let fast = NodeReading {
            node: "fast".parse().unwrap(),
            versions: vec![held("1.0.0", Some(ReadSlot::Previous), 10_000, 0)],
            ..slow(micros)
        };
        let baseline = RecordedBaseline::new(&module("2.0.0"), &[fast, slow(micros)]);
        let limit = limit(&baseline, check("latency-p95")).unwrap();
        assert!((limit / expected - 1.0).abs() < 0.1, "{micros}: {limit}");
    }
}

#[test]
fn the_less_was_recorded_the_wider_is_the_limit() {
    let of = |requests| limit(&recorded(requests, 0), check("error-rate"));
    let (few, many) = (of(100).unwrap(), of(10_000).unwrap());
    // Without an error, the bound is exact: 1 - 0.001^(1/n), and half more, three times.
    assert!((few - 0.3003).abs() < 0.003, "{few}");
    assert!(many < 0.0033, "{many}");
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
    assert_eq!(
        baseline
            .derive(vec![absolute.clone()], &SoakHistory::default())
            .checks,
        [absolute]
    );
}

#[test]
fn findings_are_on_the_checks_that_were_asked_for() {
    let derived = recorded(10_000, 100).derive(vec![check("error-rate")], &SoakHistory::default());
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
         follows from its 10000 requests before, and allows 3 times as much, since the service \
         itself may have changed"
    );
}

/// A service whose errors have risen since before the deployment: its earlier soaks show it.
#[test]
fn what_the_baseline_of_an_earlier_soak_showed_is_allowed() {
    let mut history = SoakHistory::default();
    let baseline = recorded(10_000, 100);
    let of = |history: &SoakHistory| {
        let derived = baseline.derive(vec![check("error-rate")], history);
        derived.checks[0].max.unwrap()
    };
    let before = of(&history);
    let mut record = |baseline, baseline_samples| {
        history.record(&Answer::Verdict(Verdict {
            judgement: Judgement::Pass,
            findings: vec![Finding {
                check: check("error-rate"),
                judgement: Judgement::Pass,
                canary: Some(0.5),
                baseline: Some(baseline),
                canary_samples: 1000,
                baseline_samples,
                reason: String::new(),
                conditions: Vec::new(),
                queried: Vec::new(),
            }],
            promoted_by: None,
        }));
        of(&history)
    };
    assert_eq!(record(0.001, 1000), before);
    assert_eq!(record(0.2, 50), before, "few requests say little");
    assert!((record(0.1, 1000) - 0.45).abs() < 1e-9);
    assert!(
        (record(0.02, 1000) - 0.45).abs() < 1e-9,
        "the highest counts"
    );
}
