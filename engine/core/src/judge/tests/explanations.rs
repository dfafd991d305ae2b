//! Each sentence says what was compared, and what the condition beside it says.

use super::fixture::*;
use crate::Judgement::{Fail, Inconclusive, Pass};
use crate::{
    Check, Condition, ConditionKind, Finding, Judge, Judgement, ModuleMetric, NodeInterval,
    QueryReading, SoakPlan, Timestamp, VersionInterval,
};

use crate::judge::format;
use crate::judge::metric::Metric;

/// What one node does of everything between two readings: `bad` says by how much more.
fn version(requests: u64, bad: f64, at: u64) -> VersionInterval {
    let share = |per_mille: f64| (requests as f64 * per_mille * bad / 1000.0).round() as u64;
    let values =
        |unit: f64| (0..requests).map(move |one| unit * bad * (1.0 + (one % 50) as f64 / 50.0));
    VersionInterval {
        errors: share(20.0),
        refused: share(20.0),
        queued: share(20.0),
        cpu_micros: (requests as f64 * 4000.0 * bad) as u64,
        memory: Some((5e6 * bad) as u64),
        restarts: u64::from(bad > 2.0 && at.is_multiple_of(2)),
        module_metrics: vec![ModuleMetric {
            name: "rows".to_owned(),
            requests: share(20.0),
            sum: (requests as f64 * 1e4 * bad) as u64,
            values: histogram(values(10.0)),
        }],
        ..latencies(values(20.0))
    }
}

/// The finding on a fleet of `nodes`, of which one or three tenths run the new version.
fn finding(check: &Check, requests: u64, bad: f64, nodes: u64) -> Finding {
    let mut judge = start_judge(vec![check.clone()]);
    for at in 0..40 {
        let interval = |node: u64| -> NodeInterval {
            let name = format!("n{node}");
            if node < nodes.div_ceil(3) {
                on_node(&name, Some(version(requests, bad, at)), None)
            } else {
                on_node(&name, None, Some(version(requests, 1.0, at)))
            }
        };
        judge.observe(&(0..nodes).map(interval).collect::<Vec<_>>());
    }
    only_finding(&judge)
}

/// The bound, as the sentence has it.
fn spelled(metric: Metric, condition: &Condition, bound: f64) -> String {
    match condition.kind {
        ConditionKind::Max => metric.format(bound),
        ConditionKind::Increase => format::times(bound),
    }
}

fn assert_explained(finding: &Finding, case: &str) {
    let metric = Metric::parse(&finding.check.metric).unwrap();
    let is_counted = metric == Metric::Restarts && finding.check.max.is_some();
    let reason = &finding.reason;
    for condition in &finding.conditions {
        let bounds = [condition.low, condition.high];
        for bound in bounds.into_iter().flatten().filter(|_| !is_counted) {
            let spelled = spelled(metric, condition, bound);
            assert!(
                reason.contains(&spelled),
                "{case}: {spelled} is not in {reason}"
            );
        }
        if finding.judgement == Fail {
            let low = condition
                .low
                .unwrap_or_else(|| panic!("{case}: no interval of {reason}"));
            assert!(low >= condition.limit, "{case}: {condition:?}");
            assert_eq!(condition.missing_requests, None, "{case}");
        } else {
            let is_violated = condition.evidence + condition.earlier >= condition.threshold;
            assert!(!is_violated, "{case}: {condition:?}");
            assert!(
                condition.low.is_none_or(|low| low <= condition.limit),
                "{case}: {condition:?}"
            );
        }
    }
}

/// Every metric, with each kind of limit, in each judgement.
#[test]
fn every_sentence_has_the_interval_of_its_condition() {
    let mut seen: Vec<(String, Judgement)> = Vec::new();
    for (metric, limit) in [
        ("error-rate", 0.025),
        ("latency-p50", 35.0),
        ("latency-p90", 45.0),
        ("latency-p95", 45.0),
        ("latency-p99", 45.0),
        ("latency-p999", 45.0),
        ("cpu", 0.05),
        ("cpu-per-request", 5.0),
        ("memory", 6e6),
        ("restarts", 0.0),
        ("refused", 0.025),
        ("queued", 0.025),
        ("module:rows", 0.025),
        ("module:rows:p95", 25.0),
        ("module:rows:mean", 13.0),
    ] {
        for check in [max(metric, limit), max_increase(metric, 0.5)] {
            for (requests, bad, nodes) in [
                (100, 8.0, 9),
                (100, 1.0, 9),
                (100, 1.4, 9),
                (100, 1.7, 3),
                (1, 1.0, 2),
                (2, 1.5, 2),
                (0, 1.0, 2),
            ] {
                let finding = finding(&check, requests, bad, nodes);
                let case = format!("{check:?} {requests} {bad} {nodes}");
                assert_explained(&finding, &case);
                seen.push((metric.to_owned(), finding.judgement));
            }
        }
        let has = |judgement| seen.contains(&(metric.to_owned(), judgement));
        assert!(has(Fail) && has(Pass), "{metric}: {seen:?}");
        // Restarts are certain, and one node tells its memory.
        assert!(
            has(Inconclusive) || matches!(metric, "restarts" | "memory"),
            "{metric}: {seen:?}"
        );
    }
}

/// What is allowed in any case says so, whatever the comparison comes to.
#[test]
fn restarts_that_are_always_allowed_are_no_failure_and_say_why() {
    for (check, why) in [
        (
            Check {
                max: Some(30.0),
                ..max_increase("restarts", 0.5)
            },
            "not more than the 30 that are allowed in any case",
        ),
        (
            Check {
                min_increase: Some(100.0),
                ..max_increase("restarts", 0.5)
            },
            "the increase is less than 100 restarts, which is never a failure",
        ),
    ] {
        let finding = finding(&check, 100, 8.0, 3);
        assert_eq!(finding.judgement, Pass, "{}", finding.reason);
        assert_explained(&finding, "restarts");
        assert!(finding.reason.ends_with(why), "{}", finding.reason);
    }
}

/// Where each node runs both versions, the test is of each node, and the interval of all of them.
#[test]
fn a_check_of_shared_nodes_that_passes_has_no_interval_above_its_limit() {
    let check = max_increase("error-rate", 0.5);
    let mut passed = 0;
    for errors in 0..40 {
        let mut judge = Judge::new(SoakPlan {
            checks: vec![check.clone()],
            has_baseline: true,
            by_node: true,
            ..SoakPlan::default()
        });
        for _ in 0..8 {
            // One node has nearly all errors and most requests of the new version.
            let bad = on_node(
                "a",
                Some(requests(90, errors)),
                Some(requests(10, errors / 9)),
            );
            let good = on_node("b", Some(requests(10, 0)), Some(requests(90, 0)));
            judge.observe(&[bad, good]);
        }
        let finding = only_finding(&judge);
        assert_explained(&finding, &format!("{errors} errors"));
        passed += u32::from(finding.judgement == Pass);
    }
    assert!(passed > 0);
}

/// Numbers of other servers have no interval: the sentence has the answers, the limit, and that
/// nobody knows how sure it is.
#[test]
fn every_sentence_on_a_query_has_its_answers_and_its_limit() {
    let by_version = |new: Option<f64>, old: Option<f64>| QueryReading {
        query: "orders".to_owned(),
        at: Timestamp::default(),
        canary: new,
        baseline: old,
        error: new.is_none().then(|| "it is down".to_owned()),
    };
    let unsure = "how sure that is cannot be told of a number of others";
    for (check, answer, judgement, told) in [
        (
            max("query:orders", 3.0),
            (Some(4.5), None),
            Fail,
            ["4.5", "allowed 3", unsure],
        ),
        (
            max("query:orders", 3.0),
            (Some(2.5), None),
            Pass,
            ["2.5", "allowed 3", unsure],
        ),
        (
            max("query:orders", 3.0),
            (None, None),
            Inconclusive,
            ["0 of 5", "it is down", "needed"],
        ),
        (
            max_increase("query:orders", 0.5),
            (Some(4.5), Some(2.0)),
            Fail,
            ["4.5, against 2", "allowed increase of 50 %", unsure],
        ),
        (
            max_increase("query:orders", 0.5),
            (Some(2.5), Some(2.0)),
            Pass,
            ["2.5, against 2", "allowed increase of 50 %", unsure],
        ),
    ] {
        let mut judge = start_judge(vec![check]);
        for _ in 0..5 {
            judge.observe_queries(vec![by_version(answer.0, answer.1)]);
        }
        let finding = only_finding(&judge);
        assert_eq!(finding.judgement, judgement, "{}", finding.reason);
        for told in told {
            assert!(finding.reason.contains(told), "{told}: {}", finding.reason);
        }
    }
}

/// Nodes get no more by waiting: what is missing is told in nodes.
#[test]
fn a_gauge_says_how_many_more_nodes_it_takes() {
    let others = ["cpu", "error-rate", "latency-p95"].map(|metric| max_increase(metric, 0.3));
    let memory = |of: u64| VersionInterval {
        memory: Some(of << 20),
        ..requests(100, 0)
    };
    let judge = |new: u64, old: usize| {
        let mut checks = vec![max_increase("memory", 0.3)];
        checks.extend(others.clone());
        let mut judge = start_judge(checks);
        let old = (0..old).map(|at| on_node(&format!("b{at}"), None, Some(memory(10))));
        let new = on_node("c", Some(memory(new)), None);
        judge.observe(&old.chain([new]).collect::<Vec<_>>());
        judge.verdict().findings.remove(0)
    };
    let alone = judge(10, 1);
    assert_eq!(alone.judgement, Inconclusive, "{}", alone.reason);
    assert!(
        alone.reason.contains("of the new version would be enough"),
        "{}",
        alone.reason
    );
    let higher = judge(15, 9);
    assert_eq!(higher.judgement, Pass, "{}", higher.reason);
    assert!(
        higher.reason.contains("but not beyond doubt; another ")
            && higher
                .reason
                .ends_with(" of the new version like these would decide"),
        "{}",
        higher.reason
    );
}

/// Where the previous version has none at all, no ratio can be told, but how long it takes can.
#[test]
fn a_version_that_leans_towards_failure_says_how_long_it_takes() {
    let errors = judge_check(
        max_increase("error-rate", 0.5),
        requests(100, 1),
        requests(100, 0),
    );
    assert_eq!(errors.judgement, Pass, "{}", errors.reason);
    assert!(
        errors.reason.contains("if it goes on like this, another "),
        "{}",
        errors.reason
    );
    assert_eq!(errors.conditions[0].estimate, None);
    let once = VersionInterval {
        restarts: 1,
        ..requests(10, 0)
    };
    let mut judge = start_judge(vec![max_increase("restarts", 0.5)]);
    for at in 0..10 {
        let canary = if at == 0 {
            once.clone()
        } else {
            requests(10, 0)
        };
        judge.observe(&reading(canary, requests(10, 0)));
    }
    let restarts = only_finding(&judge);
    assert_eq!(restarts.judgement, Pass, "{}", restarts.reason);
    assert!(
        restarts
            .reason
            .contains("if it goes on like this, another "),
        "{}",
        restarts.reason
    );
}

/// The guide for live clients shows what the first soak of `canary` says of restarts by default.
#[test]
fn the_guide_for_live_clients_has_the_findings_that_are_sent() {
    let guide = include_str!("../../../../../docs/WEBSOCKET_GUIDE.md");
    let mut checks = vec![Check {
        max: Some(0.0),
        ..max_increase("restarts", 1.0)
    }];
    for (metric, increase) in [
        ("error-rate", 0.5),
        ("latency-p95", 1.0),
        ("cpu", 0.3),
        ("memory", 0.3),
    ] {
        checks.push(max_increase(metric, increase));
    }
    let mut judge = start_judge(checks);
    judge.observe(&reading(requests(10, 0), requests(90, 0)));
    let mut sent = judge.findings().remove(0);
    for condition in &mut sent.conditions {
        // Only the journal has them.
        condition.lifetimes = None;
    }
    let messages = guide.split("```json\n").skip(1).filter_map(|part| {
        let (json, _) = part.split_once("```")?;
        serde_json::from_str::<serde_json::Value>(json).ok()
    });
    let shown = messages.filter_map(|message| {
        let findings = message.pointer("/arguments/0/findings")?.clone();
        serde_json::from_value::<Vec<Finding>>(findings).ok()
    });
    let shown: Vec<_> = shown.collect();
    assert_eq!(shown, vec![vec![sent.clone()], vec![sent]]);
}
