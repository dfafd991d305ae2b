use super::fixture::*;
use crate::{Check, Histogram, Judge, Timestamp, VersionReading};

use crate::Judgement::{Fail, Inconclusive, Pass};

#[test]
fn an_invalid_check_is_inconclusive_and_says_why() {
    let assert_inconclusive = |check: Check, expected: &str| {
        let (new, old) = (
            version(new_version(), 1000, 500),
            version(old_version(), 1000, 0),
        );
        let finding = judge_check(check, new, old);
        assert_eq!(finding.judgement, Inconclusive);
        assert!(finding.reason.contains(expected), "{}", finding.reason);
    };
    assert_inconclusive(max_increase("errors", 0.5), "use error-rate, latency-p50,");
    assert_inconclusive(check("error-rate"), "the check has no limit");
    assert_inconclusive(max_increase("error-rate", f64::NAN), "max-increase is NaN");
    assert_inconclusive(max_increase("error-rate", -0.5), "max-increase is -0.5");
    assert_inconclusive(max("error-rate", f64::INFINITY), "max is inf");
    let negative = Check {
        min_increase: Some(-1.0),
        ..max_increase("error-rate", 0.5)
    };
    assert_inconclusive(negative, "min-increase is -1");
}

#[test]
fn without_a_baseline_only_max_is_judged() {
    let judge_without_baseline = |check| {
        let start = vec![reading("canary", 0, Vec::new())];
        let mut judge = Judge::new(
            vec![check],
            vec![node("canary")],
            Vec::new(),
            new_version(),
            start,
        );
        judge.observe(reading(
            "canary",
            1000,
            vec![version(new_version(), 1000, 500)],
        ));
        only_finding(&judge)
    };
    let finding = judge_without_baseline(max_increase("error-rate", 0.5));
    assert_eq!(finding.judgement, Inconclusive);
    assert_eq!(
        finding.reason,
        "no node runs the previous version, so there is nothing to compare with"
    );
    let both = Check {
        max: Some(0.9),
        ..max_increase("error-rate", 0.5)
    };
    assert_eq!(judge_without_baseline(both).judgement, Pass);
    assert_eq!(
        judge_without_baseline(max("error-rate", 0.1)).judgement,
        Fail
    );
}

#[test]
fn shared_nodes_separate_requests_by_version_but_not_cpu() {
    let nodes = vec![node("canary")];
    let start = vec![reading("canary", 0, vec![version(old_version(), 700, 7)])];
    let checks = vec![max_increase("error-rate", 0.5), max_increase("cpu", 0.3)];
    let mut judge = Judge::new(checks, nodes.clone(), nodes, new_version(), start);
    let versions = vec![
        version(old_version(), 1700, 7),
        version(new_version(), 500, 100),
    ];
    judge.observe(reading("canary", 1000, versions));
    let verdict = judge.verdict();
    assert_eq!(verdict.judgement, Fail);
    assert_eq!(verdict.findings[0].canary_samples, 500);
    assert_eq!(verdict.findings[0].baseline_samples, 1000);
    assert_eq!(verdict.findings[0].baseline, Some(0.0));
    assert_eq!(verdict.findings[1].judgement, Inconclusive);
    assert!(
        verdict.findings[1]
            .reason
            .contains("cannot be attributed to one version")
    );
}

#[test]
fn each_request_of_the_soak_counts_once() {
    let mut judge = start_judge(vec![max_increase("error-rate", 0.5)]);
    let at = |at, requests| reading("canary", at, vec![version(new_version(), requests, 0)]);
    judge.observe(at(1000, 100));
    judge.observe(at(1000, 100));
    judge.observe(at(3000, 300));
    judge.observe(at(2000, 200));
    assert_eq!(
        only_finding(&judge).canary_samples,
        300,
        "an older reading is ignored"
    );
    let mut restarted = at(4000, 40);
    restarted.boot = "second".to_owned();
    judge.observe(restarted);
    assert_eq!(
        only_finding(&judge).canary_samples,
        340,
        "counters start over at a restart"
    );
    judge.observe(reading("other", 1, vec![version(new_version(), 9, 9)]));
    let both = vec![version(new_version(), 9, 9), version(old_version(), 80, 0)];
    judge.observe(reading("baseline", 1000, both));
    let finding = only_finding(&judge);
    assert_eq!(
        (finding.canary_samples, finding.baseline_samples),
        (340, 80)
    );
}

#[test]
fn a_node_without_a_start_reading_counts_from_its_first_one() {
    let (canary, baseline) = (vec![node("canary")], vec![node("baseline")]);
    let checks = vec![max_increase("error-rate", 0.5)];
    let mut judge = Judge::new(checks, canary, baseline, new_version(), Vec::new());
    judge.observe(reading(
        "canary",
        1,
        vec![version(new_version(), 1000, 900)],
    ));
    assert_eq!(only_finding(&judge).canary_samples, 0);
    judge.observe(reading(
        "canary",
        2,
        vec![version(new_version(), 1010, 900)],
    ));
    assert_eq!(only_finding(&judge).canary_samples, 10);
}

#[test]
fn a_clock_set_back_loses_no_requests() {
    let mut judge = start_judge(vec![max_increase("error-rate", 0.5)]);
    for (at, cpu, requests) in [(9000, 10, 100), (500, 20, 150), (1500, 30, 200)] {
        let mut taken = reading("canary", at, vec![version(new_version(), requests, 0)]);
        taken.cpu_millis = cpu;
        taken.at = Timestamp::from_millis(at);
        judge.observe(taken);
    }
    assert_eq!(only_finding(&judge).canary_samples, 200);
}

#[test]
fn the_verdict_is_the_worst_finding_and_passes_without_checks() {
    let verdict_of = |checks| {
        let mut judge = start_judge(checks);
        judge.observe(reading("canary", 1, vec![version(new_version(), 900, 90)]));
        judge.observe(reading("baseline", 1, vec![version(old_version(), 900, 0)]));
        judge.verdict().judgement
    };
    let (fails, passes, inconclusive) = (
        max_increase("error-rate", 0.5),
        max("error-rate", 0.5),
        max_increase("cpu", 1.0),
    );
    assert_eq!(verdict_of(Vec::new()), Pass);
    assert_eq!(verdict_of(vec![passes.clone()]), Pass);
    assert_eq!(
        verdict_of(vec![passes.clone(), inconclusive.clone()]),
        Inconclusive
    );
    assert_eq!(verdict_of(vec![inconclusive, fails, passes]), Fail);
}

#[test]
fn a_soak_has_nineteen_interim_looks_and_a_verdict() {
    let mut judge = start_judge(vec![max("error-rate", 0.01)]);
    assert!(judge.interim_look().is_none(), "there are no samples yet");
    judge.observe(reading("canary", 1, vec![version(new_version(), 900, 900)]));
    let looks = (1..100)
        .take_while(|_| judge.interim_look().is_some())
        .count();
    assert_eq!(looks, 18);
    assert_eq!(judge.verdict().judgement, Fail);
}

#[test]
fn metrics_that_no_check_needs_are_not_stored() {
    let mut judge = start_judge(vec![max_increase("error-rate", 0.5)]);
    let mut held = VersionReading {
        latency: histogram(vec![5.0; 100]),
        ..version(new_version(), 0, 0)
    };
    held.memory = 7;
    judge.observe(reading("canary", 1, vec![held]));
    assert_eq!(judge.cohorts.canary.latency, Histogram::default());
    assert_eq!(judge.cohorts.canary.memory.len(), 0);
}
