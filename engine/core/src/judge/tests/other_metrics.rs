//! Metrics beside requests, latencies and gauges: saturation, those of the module's own, and
//! answers of providers.

use super::fixture::*;
use crate::Judgement::{Fail, Inconclusive, Pass};
use crate::{
    Check, Finding, Judge, ModuleMetric, NodeInterval, QueryReading, SoakPlan, Timestamp,
    VersionInterval,
};

/// Requests that were refused, and that waited.
fn saturated(requests: u64, refused: u64, queued: u64) -> VersionInterval {
    VersionInterval {
        requests,
        refused,
        queued,
        ..VersionInterval::default()
    }
}

/// Requests of which so many name the metric `rows`, each with this value.
fn rows(requests: u64, named: u64, value: f64) -> VersionInterval {
    VersionInterval {
        requests,
        module_metrics: vec![ModuleMetric {
            name: "rows".to_owned(),
            requests: named,
            sum: (value * 1e3) as u64 * named,
            values: histogram((0..named).map(|_| value)),
        }],
        ..VersionInterval::default()
    }
}

fn judge_steady(check: Check, canary: VersionInterval, baseline: VersionInterval) -> Finding {
    judge_check(check, canary, baseline)
}

#[test]
fn saturation_is_judged_as_a_share_of_requests() {
    let refused = judge_steady(
        max_increase("refused", 0.5),
        saturated(250, 60, 0),
        saturated(250, 1, 0),
    );
    assert_eq!(refused.judgement, Fail);
    let start = "240 of 1,000 requests were refused (24 %), against 4 of 1,000 (0.4 %)";
    assert!(refused.reason.starts_with(start), "{}", refused.reason);
    let waited = judge_steady(max("queued", 0.1), saturated(250, 0, 90), requests(250, 0));
    assert_eq!(waited.judgement, Fail);
    assert!(
        waited.reason.contains("requests had to wait"),
        "{}",
        waited.reason
    );
    let idle = judge_steady(max("queued", 0.1), saturated(250, 0, 1), requests(250, 0));
    assert_eq!(idle.judgement, Pass, "{}", idle.reason);
}

#[test]
fn a_metric_of_the_module_is_judged_by_its_share_its_values_and_their_mean() {
    let (new, old) = (|| rows(250, 200, 50.0), || rows(250, 10, 10.0));
    let share = judge_steady(max_increase("module:rows", 0.5), new(), old());
    assert_eq!(share.judgement, Fail, "{}", share.reason);
    assert!(
        share.reason.contains("requests counted rows"),
        "{}",
        share.reason
    );
    let p95 = judge_steady(max_increase("module:rows:p95", 0.5), new(), old());
    // Forty values of the previous version are too few to compare with.
    assert_eq!(p95.judgement, Inconclusive, "{}", p95.reason);
    let many = rows(250, 200, 10.0);
    let p95 = judge_steady(max_increase("module:rows:p95", 0.5), new(), many);
    assert_eq!(p95.judgement, Fail, "{}", p95.reason);
    let start = "the 95th percentile of rows is 50.2, against 10.2 on the previous version";
    assert!(p95.reason.starts_with(start), "{}", p95.reason);
    let mean = judge_steady(max_increase("module:rows:mean", 0.5), new(), old());
    assert_eq!(mean.judgement, Fail, "{}", mean.reason);
    assert!(
        mean.reason.starts_with("the mean of rows is 50 "),
        "{}",
        mean.reason
    );
    for metric in ["module:rows", "module:rows:p95", "module:rows:mean"] {
        let same = judge_steady(max_increase(metric, 0.5), new(), new());
        assert_eq!(same.judgement, Pass, "{}", same.reason);
    }
}

#[test]
fn cpu_for_each_request_does_not_follow_the_load() {
    let used = |requests: u64, micros: u64| VersionInterval {
        requests,
        cpu_micros: requests * micros,
        ..VersionInterval::default()
    };
    let more = judge_steady(max("cpu-per-request", 2.0), used(250, 9000), used(25, 1000));
    assert_eq!(more.judgement, Fail, "{}", more.reason);
    assert!(
        more.reason.starts_with("CPU time for each request is 9 ms"),
        "{}",
        more.reason
    );
    let busy = max_increase("cpu-per-request", 0.5);
    let busy = judge_steady(busy, used(250, 1000), used(25, 1000));
    assert_eq!(busy.judgement, Pass, "{}", busy.reason);
}

/// A check of `query:orders` after these answers, of the new version and the previous one.
fn after_answers(check: Check, answers: &[(Option<f64>, Option<f64>)]) -> (Judge, Finding) {
    let mut judge = start_judge(vec![check]);
    for (second, &(canary, baseline)) in (0_u64..).zip(answers) {
        judge.observe(&reading(requests(10, 0), requests(10, 0)));
        judge.observe_queries(vec![QueryReading {
            query: "orders".to_owned(),
            at: Timestamp::from_millis(1000 * second),
            canary,
            baseline,
            error: canary.is_none().then(|| "it cannot be reached".to_owned()),
        }]);
    }
    let finding = only_finding(&judge);
    (judge, finding)
}

#[test]
fn an_answer_above_its_limit_fails_only_three_times_in_a_row() {
    let judge = |values: &[f64]| {
        let answers: Vec<_> = values.iter().map(|&value| (Some(value), None)).collect();
        after_answers(max("query:orders", 5.0), &answers)
    };
    let (_, once) = judge(&[1.0, 9.0, 1.0, 9.0, 9.0, 1.0]);
    assert_eq!(once.judgement, Pass, "{}", once.reason);
    let (_, not_yet) = judge(&[1.0, 1.0, 9.0, 9.0]);
    assert_eq!(not_yet.judgement, Inconclusive, "{}", not_yet.reason);
    let (failing, thrice) = judge(&[1.0, 9.0, 9.0, 9.0]);
    assert_eq!(
        thrice.reason,
        "orders is 9: more than the allowed 5 in 3 readings in a row; how sure that is cannot be \
         told of a number of others"
    );
    assert_eq!((thrice.judgement, thrice.queried.len()), (Fail, 4));
    assert!(thrice.conditions.is_empty(), "no probability is claimed");
    assert!(failing.interim().is_some(), "the soak ends");
}

#[test]
fn an_error_of_a_provider_is_never_a_pass() {
    let good = (Some(1.0), Some(1.0));
    let none = (None, None);
    for answers in [
        vec![],
        vec![none; 5],
        vec![good; 2],
        vec![good, good, good, none, none, none, none],
        vec![good, good, good, good, none],
    ] {
        for check in [max("query:orders", 5.0), max_increase("query:orders", 0.5)] {
            let (_, finding) = after_answers(check, &answers);
            assert_eq!(
                finding.judgement, Inconclusive,
                "{answers:?}: {}",
                finding.reason
            );
        }
    }
    let (_, finding) = after_answers(max("query:orders", 5.0), &[none; 5]);
    assert_eq!(
        finding.reason,
        "orders was answered in 0 of 5 readings (the last error: it cannot be reached); at least 3 \
         answers, and half of all, are needed for a verdict"
    );
    // An error does not forgive what was answered before it.
    let bad = (Some(9.0), None);
    let answers = [bad, none, bad, none, bad];
    let (_, finding) = after_answers(max("query:orders", 5.0), &answers);
    assert_eq!(finding.judgement, Fail, "{}", finding.reason);
    for strange in [f64::NAN, f64::INFINITY] {
        let (_, finding) = after_answers(max("query:orders", 5.0), &[(Some(strange), None); 5]);
        assert_eq!(finding.judgement, Inconclusive, "{}", finding.reason);
    }
}

#[test]
fn answers_for_both_versions_are_compared() {
    let relative = Check {
        min_increase: Some(1.0),
        ..max_increase("query:orders", 0.5)
    };
    let judge = |new: f64, old: f64| {
        let (_, finding) = after_answers(relative.clone(), &[(Some(new), Some(old)); 4]);
        finding
    };
    assert_eq!(judge(16.0, 10.0).judgement, Fail);
    assert_eq!(judge(15.0, 10.0).judgement, Pass);
    assert_eq!(
        judge(0.9, 0.1).judgement,
        Pass,
        "the rise is below minIncrease"
    );
    assert_eq!(judge(-4.0, -10.0).judgement, Fail);
    assert_eq!(judge(-6.0, -10.0).judgement, Pass);
    let (_, alone) = after_answers(relative, &[(Some(1.0), None); 4]);
    assert_eq!(alone.judgement, Inconclusive);
    assert!(
        alone.reason.contains("contains {{version}}"),
        "{}",
        alone.reason
    );
}

/// A foreign number takes nothing from the budget of false alarms of the others.
#[test]
fn a_query_shares_no_budget() {
    let threshold = |checks: Vec<Check>| {
        let mut judge = start_judge(checks);
        for _ in 0..4 {
            judge.observe(&reading(requests(50, 0), requests(50, 0)));
        }
        judge.verdict().findings[0].conditions[0].threshold
    };
    let errors = || max_increase("error-rate", 0.5);
    let alone = threshold(vec![errors()]);
    assert_eq!(threshold(vec![errors(), max("query:orders", 5.0)]), alone);
    assert!(threshold(vec![errors(), max("refused", 0.1)]) > alone);
}

#[test]
fn whether_a_soak_can_decide_is_told_of_every_metric() {
    let metrics = [
        "refused",
        "module:rows",
        "module:rows:p95",
        "query:orders",
        "cpu-per-request",
    ];
    let checks: Vec<_> = metrics.map(|metric| max(metric, 50.0)).to_vec();
    let traffic: Vec<_> = (0..4)
        .map(|number| crate::NodeTraffic {
            node: node(&format!("n{number}")),
            canary: (number == 0).then_some(5.0),
            baseline: (number > 0).then_some(5.0),
        })
        .collect();
    let window = std::time::Duration::from_secs(900);
    for finding in Judge::forecast(
        crate::SoakHistory::default(),
        checks,
        crate::SoakOptions::default(),
        window,
        &traffic,
    ) {
        assert_eq!(finding.judgement, Pass, "{finding:?}");
    }
}

#[test]
fn both_versions_on_one_node_are_compared_there() {
    let mut judge = Judge::new(SoakPlan {
        checks: vec![max_increase("module:rows", 0.5)],
        has_baseline: true,
        by_node: true,
        ..SoakPlan::default()
    });
    for _ in 0..4 {
        let both = |node: &str| -> NodeInterval {
            on_node(node, Some(rows(100, 50, 1.0)), Some(rows(100, 2, 1.0)))
        };
        judge.observe(&[both("a"), both("b")]);
    }
    assert_eq!(only_finding(&judge).judgement, Fail);
}
