use std::collections::HashMap;

use super::fixture::*;
use crate::{
    BeforeSoak, Check, Finding, Judge, Judgement, NodeInterval, SoakPlan, VersionInterval,
};

use crate::Judgement::{Fail, Inconclusive, Pass};

const MIB: u64 = 1 << 20;

fn usage(cpu_micros: u64, memory: u64) -> VersionInterval {
    VersionInterval {
        cpu_micros,
        memory: (memory > 0).then_some(memory),
        ..requests(100, 0)
    }
}

/// Judges a gauge after ten readings of `canary` and `baseline` nodes, which use this much for
/// each 100 requests.
fn judge_gauge(
    check: Check,
    (canary, new): (usize, VersionInterval),
    (baseline, old): (usize, VersionInterval),
) -> Finding {
    let mut judge = start_judge(vec![check]);
    for _ in 0..10 {
        let canary = (0..canary).map(|at| on_node(&format!("c{at}"), Some(new.clone()), None));
        let baseline = (0..baseline).map(|at| on_node(&format!("b{at}"), None, Some(old.clone())));
        let intervals: Vec<NodeInterval> = canary.chain(baseline).collect();
        judge.observe(&intervals);
        assert_ne!(
            judge.findings()[0].judgement,
            Fail,
            "gauges fail only at the end"
        );
    }
    only_finding(&judge)
}

#[test]
fn gauges_are_judged_by_node() {
    let memory = || max_increase("memory", 0.3);
    let cpu = || max_increase("cpu", 0.3);
    let judged = |check, new: (usize, VersionInterval), old| judge_gauge(check, new, old);
    for (name, check, new, old, expected) in [
        (
            "same cpu",
            cpu(),
            (3, usage(500, 0)),
            (7, usage(500, 0)),
            Pass,
        ),
        (
            "cpu doubled",
            cpu(),
            (3, usage(1000, 0)),
            (7, usage(500, 0)),
            Fail,
        ),
        (
            "same memory",
            memory(),
            (3, usage(0, 9 * MIB)),
            (7, usage(0, 9 * MIB)),
            Pass,
        ),
        (
            "memory doubled",
            memory(),
            (3, usage(0, 18 * MIB)),
            (7, usage(0, 9 * MIB)),
            Fail,
        ),
        (
            "one against nine",
            memory(),
            (1, usage(0, 36 * MIB)),
            (9, usage(0, 9 * MIB)),
            Fail,
        ),
        (
            "one against one",
            memory(),
            (1, usage(0, 9 * MIB)),
            (1, usage(0, 9 * MIB)),
            Pass,
        ),
        (
            "not loaded",
            memory(),
            (3, usage(0, 0)),
            (7, usage(0, 9 * MIB)),
            Inconclusive,
        ),
        (
            "no CPU time",
            cpu(),
            (3, usage(0, 9)),
            (7, usage(0, 9)),
            Inconclusive,
        ),
        (
            "within its limit",
            max("memory", 1e9),
            (3, usage(0, 9 * MIB)),
            (1, usage(0, 1)),
            Pass,
        ),
        (
            "over its limit",
            max("memory", 4e6),
            (3, usage(0, 9 * MIB)),
            (1, usage(0, 1)),
            Fail,
        ),
    ] {
        let finding = judged(check, new, old);
        assert_eq!(finding.judgement, expected, "{name}: {}", finding.reason);
    }
}

/// Four conditions share the budget: one node of each version cannot be told apart any more.
#[test]
fn one_node_against_one_is_inconclusive() {
    let others = ["cpu", "error-rate", "latency-p95"].map(|metric| max_increase(metric, 0.3));
    let mut checks = vec![max_increase("memory", 0.3)];
    checks.extend(others);
    let mut judge = start_judge(checks);
    judge.observe(&reading(usage(0, 9 * MIB), usage(0, 9 * MIB)));
    let finding = judge.verdict().findings.remove(0);
    assert_eq!(finding.judgement, Inconclusive, "{}", finding.reason);
}

/// 100 requests in ten seconds at 20 ms of CPU each are 0.2 cores.
#[test]
fn cpu_is_shown_in_cores_at_the_load_of_the_canary() {
    let mut judge = start_judge(vec![max_increase("cpu", 0.3)]);
    for _ in 0..3 {
        let old = VersionInterval {
            cpu_micros: 10_000_000,
            ..requests(1000, 0)
        };
        judge.observe(&[
            on_node("c0", Some(usage(2_000_000, 0)), None),
            on_node("b0", None, Some(old.clone())),
            on_node("b1", None, Some(old)),
        ]);
    }
    let finding = only_finding(&judge);
    let close = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 1e-9;
    assert!(close(finding.canary, 0.2), "{finding:?}");
    assert!(
        close(finding.baseline, 0.1),
        "ten times the requests: {finding:?}"
    );
}

#[test]
fn an_increase_below_min_increase_never_fails() {
    let check = |min_increase| Check {
        min_increase: Some(min_increase),
        ..max_increase("memory", 0.3)
    };
    let judge = |min_increase: u64| {
        let (new, old) = ((3, usage(0, 4 * MIB)), (7, usage(0, MIB)));
        judge_gauge(check(min_increase as f64), new, old).judgement
    };
    assert_eq!(judge(MIB / 2), Fail);
    assert_eq!(judge(16 * MIB), Pass);
}

/// On nodes that run both versions a difference counts within each, however different they are.
#[test]
fn shared_nodes_are_compared_in_pairs() {
    let judge = |ratio: f64| {
        let mut judge = start_judge(vec![max_increase("memory", 0.3)]);
        let intervals: Vec<_> = (1..=5_u64)
            .map(|at| {
                let old = at * at * 10 * MIB;
                let new = (old as f64 * ratio) as u64;
                on_node(&format!("n{at}"), Some(usage(0, new)), Some(usage(0, old)))
            })
            .collect();
        judge.observe(&intervals);
        only_finding(&judge).judgement
    };
    assert_eq!((judge(1.0), judge(2.0)), (Pass, Fail));
}

/// What the nodes used before tells how they differ by themselves.
#[test]
fn nodes_that_used_more_before_may_use_more() {
    let judge = |before: u64| {
        let node = |id: &str, memory| (node(id), usage(0, memory));
        let mut usage_before: HashMap<_, _> =
            (0..4).map(|at| node(&format!("b{at}"), 10 * MIB)).collect();
        usage_before.extend([node("c0", before)]);
        let mut judge = Judge::new(SoakPlan {
            checks: vec![max_increase("memory", 0.3)],
            has_baseline: true,
            before: BeforeSoak {
                usage: usage_before,
                ..BeforeSoak::default()
            },
            ..SoakPlan::default()
        });
        let old = (0..4).map(|at| on_node(&format!("b{at}"), None, Some(usage(0, 10 * MIB))));
        let new = on_node("c0", Some(usage(0, 25 * MIB)), None);
        judge.observe(&old.chain([new]).collect::<Vec<_>>());
        only_finding(&judge)
    };
    assert_eq!(judge(10 * MIB).judgement, Fail);
    let finding = judge(25 * MIB);
    assert_eq!(finding.judgement, Pass, "{}", finding.reason);
    assert!(
        finding
            .reason
            .contains("which is 1 times by what these nodes used before"),
        "{}",
        finding.reason
    );
}

/// More readings of the same nodes are not more samples: one node that differs by itself.
#[test]
fn a_value_that_repeats_itself_is_one_sample() {
    let (new, old) = ((1, usage(0, 15 * MIB)), (4, usage(0, 10 * MIB)));
    let finding = judge_gauge(max_increase("memory", 0.3), new, old);
    assert_ne!(finding.judgement, Judgement::Fail, "{}", finding.reason);
    assert_eq!((finding.canary_samples, finding.baseline_samples), (1, 4));
}
