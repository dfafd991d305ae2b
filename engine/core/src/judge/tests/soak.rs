use super::fixture::*;
use crate::{
    Answer, BeforeSoak, Check, Finding, Judge, Lifetime, ModuleMetric, NodeInterval, QueryReading,
    SoakHistory, SoakOptions, SoakPlan, Timestamp, Verdict, VersionInterval,
};

use crate::Judgement::{Fail, Inconclusive, Pass};

#[test]
fn an_invalid_check_is_inconclusive_and_says_why() {
    let assert_inconclusive = |check: Check, expected: &str| {
        let finding = judge_check(check, requests(250, 125), requests(250, 0));
        assert_eq!(finding.judgement, Inconclusive);
        assert!(finding.reason.contains(expected), "{}", finding.reason);
        assert!(finding.conditions.is_empty());
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
        let mut judge = Judge::new(SoakPlan {
            checks: vec![check],
            ..SoakPlan::default()
        });
        for _ in 0..4 {
            judge.observe(&[on_node("canary", Some(requests(250, 125)), None)]);
        }
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
fn the_verdict_is_the_worst_finding_and_passes_without_checks() {
    let verdict_of = |checks| {
        let mut judge = start_judge(checks);
        for _ in 0..4 {
            judge.observe(&reading(requests(225, 22), requests(225, 0)));
        }
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
fn a_soak_ends_as_soon_as_a_check_has_failed_but_never_before_the_third_reading() {
    let mut judge = start_judge(vec![max_increase("error-rate", 0.5)]);
    for at in 1..=3 {
        judge.observe(&reading(requests(100, 30), requests(900, 0)));
        assert_eq!(judge.interim().is_some(), at == 3, "after reading {at}");
    }
    assert_eq!(judge.interim().unwrap().judgement, Fail);
}

#[test]
fn a_soak_passes_early_only_where_that_is_asked_for_and_a_gross_fault_would_have_been_found() {
    let passed_after = |pass_early, min_samples| {
        let mut judge = Judge::new(SoakPlan {
            checks: vec![max_increase("error-rate", 0.5)],
            has_baseline: true,
            options: SoakOptions {
                pass_early,
                min_samples,
                ..SoakOptions::default()
            },
            ..SoakPlan::default()
        });
        (1..=40).find(|_| {
            judge.observe(&reading(requests(10, 0), requests(90, 0)));
            judge.interim().is_some()
        })
    };
    assert_eq!(passed_after(false, 0), None);
    let first = passed_after(true, 0).unwrap();
    assert!((3..=10).contains(&first), "{first}");
    assert_eq!(passed_after(true, 200), Some(20));
}

#[test]
fn fewer_requests_than_min_samples_are_inconclusive() {
    let mut judge = Judge::new(SoakPlan {
        checks: vec![max("error-rate", 0.9)],
        options: SoakOptions {
            min_samples: 1000,
            ..SoakOptions::default()
        },
        ..SoakPlan::default()
    });
    for _ in 0..4 {
        judge.observe(&[on_node("canary", Some(requests(100, 0)), None)]);
    }
    let finding = only_finding(&judge);
    assert_eq!(finding.judgement, Inconclusive);
    let end = "minSamples is 1,000, and the new version answered 400 requests; at the present rate \
               that takes another 1 minute";
    assert!(finding.reason.ends_with(end), "{}", finding.reason);
}

#[test]
fn restarts_are_counted_and_compared() {
    let judge = |check: Check, canary: u64, baseline: u64| {
        let mut judge = start_judge(vec![check]);
        let side = |restarts| VersionInterval {
            restarts,
            lost: 2 * restarts,
            ..VersionInterval::default()
        };
        for at in 0..40 {
            let once = |restarts: u64| side(u64::from(at < restarts));
            let mut nodes: Vec<NodeInterval> = vec![on_node("c", Some(once(canary)), None)];
            nodes.extend((0..9).map(|node| {
                let restarts = if node == 0 { once(baseline) } else { side(0) };
                on_node(&format!("b{node}"), None, Some(restarts))
            }));
            judge.observe(&nodes);
        }
        only_finding(&judge)
    };
    let finding = judge(max("restarts", 0.0), 1, 0);
    assert_eq!(finding.judgement, Fail);
    assert_eq!(
        finding.reason,
        "nodes of the new version restarted once, and lost 2 requests: more than the allowed 0"
    );
    assert_eq!(judge(max("restarts", 0.0), 0, 3).judgement, Pass);
    let relative = || max_increase("restarts", 0.0);
    assert_eq!(judge(relative(), 1, 0).judgement, Pass);
    assert_eq!(judge(relative(), 5, 0).judgement, Fail);
    assert_eq!(judge(relative(), 5, 20).judgement, Pass);
}

/// A soak of 40 readings of ten seconds, of one node with the new version and nine with the
/// previous one, in which nodes of each side crashed so often.
fn after_restarts(plan: SoakPlan, restarts: [u64; 2]) -> Finding {
    let by_default = Check {
        max: Some(0.0),
        ..max_increase("restarts", 1.0)
    };
    after_restarts_of(vec![by_default], plan, restarts)
}

fn after_restarts_of(checks: Vec<Check>, plan: SoakPlan, [new, old]: [u64; 2]) -> Finding {
    let has_baseline = plan.has_baseline;
    let mut judge = Judge::new(SoakPlan { checks, ..plan });
    for at in 0..40 {
        let side = |restarts: u64| VersionInterval {
            restarts: u64::from(at < restarts),
            ..VersionInterval::default()
        };
        let new = on_node("c", Some(side(new)), None);
        let old = (0..9).map(|node| {
            let restarts = if node == 0 { old } else { 0 };
            on_node(&format!("b{node}"), None, Some(side(restarts)))
        });
        let old = old.filter(|_| has_baseline);
        judge.observe(&old.chain([new]).collect::<Vec<_>>());
    }
    only_finding(&judge)
}

/// A soak beside nodes that ran the previous version for so many days before, all together, and
/// crashed so often.
fn known_for(days: u64, crashes: u64) -> SoakPlan {
    SoakPlan {
        has_baseline: true,
        before: BeforeSoak {
            lifetime: Lifetime {
                millis: days * 86_400_000,
                crashes,
            },
            ..BeforeSoak::default()
        },
        ..SoakPlan::default()
    }
}

/// Crashes are rare: what the previous version did before the deployment says more of it than a
/// soak does.
#[test]
fn restarts_are_compared_with_those_before_the_deployment() {
    for (days, old, new, judgement) in [
        // Nodes that are new are taken to have run for a day.
        (0, 0, 0, Pass),
        (0, 0, 2, Pass),
        (0, 0, 3, Fail),
        // A crash after months in which nothing crashed is one too many.
        (300, 0, 1, Fail),
        // Once in seven minutes, against once in a day, and in two hours.
        (10, 10, 1, Pass),
        (10, 10, 3, Fail),
        (10, 120, 1, Pass),
        (10, 120, 2, Pass),
        (10, 120, 6, Fail),
    ] {
        let finding = after_restarts(known_for(days, old), [new, 0]);
        assert_eq!(finding.judgement, judgement, "{}", finding.reason);
    }
    let failed = after_restarts(known_for(10, 10), [3, 0]).reason;
    let start = "nodes of the new version restarted 3 times in 7 minutes, against 10 times in 11 \
                 days on the previous version: between 11.7 times as often and ";
    assert!(failed.starts_with(start), "{failed}");
    let end = " as often, more than the allowed increase of 100 %; chance alone would cause this \
               less than once in ";
    assert!(failed.contains(end), "{failed}");
    let passed = after_restarts(known_for(0, 0), [1, 0]).reason;
    let start = "nodes of the new version restarted once in 7 minutes, against never in 60 \
                 minutes (counted as 24 hours) on the previous version";
    assert!(passed.starts_with(start), "{passed}");
}

/// Each crash of a deployment counts in all of its soaks, and the last one has no baseline.
#[test]
fn restarts_count_over_all_soaks_of_a_deployment() {
    let after = |soaks: &[[u64; 2]]| {
        let mut history = SoakHistory::default();
        for restarts in soaks {
            let plan = SoakPlan {
                history: history.clone(),
                ..known_for(10, 10)
            };
            let mut finding = after_restarts(plan, *restarts);
            finding.judgement = Pass;
            history.record(&Answer::Verdict(Verdict {
                judgement: Pass,
                findings: vec![finding],
                promoted_by: None,
            }));
        }
        history
    };
    let last = |soaks: &[[u64; 2]], new| {
        let plan = SoakPlan {
            history: after(soaks),
            ..SoakPlan::default()
        };
        after_restarts(plan, [new, 0])
    };
    assert_eq!(last(&[[0, 0]], 1).judgement, Pass);
    assert_eq!(last(&[[1, 0], [1, 0]], 0).judgement, Pass);
    assert_eq!(last(&[[1, 0], [1, 0]], 2).judgement, Fail);
    assert_eq!(last(&[[1, 60], [1, 60]], 2).judgement, Pass);
    let known = after(&[[1, 2], [1, 3]]).lifetimes().unwrap();
    assert_eq!((known.canary.crashes, known.baseline.crashes), (2, 15));
    assert_eq!(known.canary.millis, 800_000);
    assert_eq!(known.baseline.millis, 864_000_000 + 2 * 9 * 400_000);
}

/// With a comparison alone, too: what the previous version did before is known without a baseline.
#[test]
fn the_last_step_compares_restarts_with_what_is_known() {
    let only_compared = || vec![max_increase("restarts", 1.0)];
    let last = |before: SoakPlan, new: u64| {
        let plan = SoakPlan {
            has_baseline: false,
            ..before
        };
        after_restarts_of(only_compared(), plan, [new, 0])
    };
    for (new, judgement) in [(0, Pass), (1, Pass), (3, Fail)] {
        let finding = last(known_for(10, 10), new);
        assert_eq!(finding.judgement, judgement, "{}", finding.reason);
    }
    // Of an earlier soak.
    let mut history = SoakHistory::default();
    let first = after_restarts_of(only_compared(), known_for(10, 10), [0, 0]);
    history.record(&Answer::Verdict(Verdict {
        judgement: Pass,
        findings: vec![first],
        promoted_by: None,
    }));
    for (new, judgement) in [(0, Pass), (3, Fail)] {
        let plan = SoakPlan {
            history: history.clone(),
            ..SoakPlan::default()
        };
        let finding = last(plan, new);
        assert_eq!(finding.judgement, judgement, "{}", finding.reason);
    }
    // Nothing ran before.
    let finding = last(SoakPlan::default(), 0);
    assert_eq!(finding.judgement, Inconclusive, "{}", finding.reason);
}

/// A node that reports in but cannot be read says nothing of its crashes.
#[test]
fn restarts_that_nobody_could_read_are_not_known() {
    for check in [
        max("restarts", 0.0),
        max_increase("restarts", 1.0),
        Check {
            max: Some(0.0),
            ..max_increase("restarts", 1.0)
        },
    ] {
        let mut judge = start_judge(vec![check]);
        for _ in 0..8 {
            judge.observe(&[on_node("baseline", None, Some(requests(100, 0)))]);
        }
        let finding = only_finding(&judge);
        assert_eq!(finding.judgement, Inconclusive, "{}", finding.reason);
        assert_eq!(
            finding.reason,
            "no node with the new version could be read, so its restarts are not known"
        );
    }
}

/// No reading shows that a version will not crash in the rest of the window.
#[test]
fn a_soak_of_restarts_alone_passes_at_its_end_only() {
    let ends_early = |checks: Vec<Check>| {
        let mut judge = Judge::new(SoakPlan {
            checks,
            has_baseline: true,
            options: SoakOptions {
                pass_early: true,
                ..SoakOptions::default()
            },
            ..SoakPlan::default()
        });
        for _ in 0..40 {
            judge.observe(&reading(requests(100, 0), requests(900, 0)));
        }
        assert_eq!(judge.verdict().judgement, Pass);
        judge.interim().is_some()
    };
    assert!(!ends_early(vec![max("restarts", 0.0)]));
    assert!(ends_early(vec![
        max("restarts", 0.0),
        max_increase("error-rate", 0.5)
    ]));
}

/// One process runs both versions: its crashes are not those of the previous one, and neither is
/// its time.
#[test]
fn the_time_of_shared_processes_says_nothing_of_the_previous_version() {
    let check = max_increase("restarts", 1.0);
    let mut judge = start_judge(vec![check]);
    for at in 0..40 {
        let side = |restarts| VersionInterval {
            restarts,
            ..VersionInterval::default()
        };
        let shared = on_node("a", Some(side(u64::from(at == 0))), Some(side(0)));
        judge.observe(&[shared]);
    }
    let condition = only_finding(&judge).conditions.remove(0);
    let lifetimes = condition.lifetimes.unwrap();
    assert_eq!(lifetimes.canary.millis, 400_000);
    assert_eq!(lifetimes.baseline, Lifetime::default());
}

/// With `max` alone each crash counts, whatever the previous version does, and nothing is tested.
#[test]
fn where_nothing_ran_before_restarts_are_counted() {
    let plan = SoakPlan::default;
    assert_eq!(after_restarts(plan(), [0, 0]).judgement, Pass);
    let failed = after_restarts(plan(), [1, 0]);
    assert_eq!(failed.judgement, Fail);
    assert_eq!(
        failed.reason,
        "nodes of the new version restarted once: more than the allowed 0"
    );
}

/// Requests that a process lost with itself failed, whatever number of restarts is allowed.
#[test]
fn requests_that_were_lost_with_a_process_are_errors() {
    let judge = |lost: u64| {
        let mut judge = start_judge(vec![max("restarts", 9.0), max("error-rate", 0.05)]);
        for _ in 0..8 {
            let canary = VersionInterval {
                restarts: 1,
                lost,
                ..requests(50, 0)
            };
            judge.observe(&reading(canary, requests(450, 0)));
        }
        judge.verdict().findings
    };
    let findings = judge(10);
    assert_eq!(findings[0].judgement, Pass, "{}", findings[0].reason);
    assert_eq!(findings[1].judgement, Fail, "{}", findings[1].reason);
    let start = "80 of 480 requests failed (16.7 %)";
    assert!(
        findings[1].reason.starts_with(start),
        "{}",
        findings[1].reason
    );
    assert_eq!(judge(0)[1].judgement, Pass);
}

/// A deployment that asks for fewer false alarms needs more evidence.
#[test]
fn a_deployment_chooses_its_probability_of_a_false_alarm() {
    let threshold = |false_alarms| {
        let mut judge = Judge::new(SoakPlan {
            checks: vec![max_increase("error-rate", 0.5)],
            has_baseline: true,
            options: SoakOptions {
                false_alarms,
                ..SoakOptions::default()
            },
            ..SoakPlan::default()
        });
        for _ in 0..3 {
            judge.observe(&reading(requests(50, 0), requests(450, 0)));
        }
        only_finding(&judge).conditions[0].threshold.exp()
    };
    for (asked, expected) in [
        (0.01, 100.0),
        (0.0001, 10_000.0),
        (0.2, 5.0),
        (0.0, 10_000.0),
        (7.0, 5.0),
        (f64::NAN, 100.0),
    ] {
        let actual = threshold(asked);
        assert!((actual / expected - 1.0).abs() < 1e-9, "{asked}: {actual}");
    }
}

/// Everything that a judge holds is in its debug text.
#[test]
fn the_memory_of_a_soak_is_bounded() {
    let mut judge = start_judge(vec![
        max_increase("error-rate", 0.5),
        max_increase("latency-p95", 1.0),
        max_increase("memory", 0.3),
        max_increase("module:rows", 0.5),
        max_increase("module:rows:p95", 0.5),
        max_increase("module:rows:mean", 0.5),
        max("query:orders", 5.0),
    ]);
    let mut random = Random(3);
    let mut second = 0;
    let mut size_after = |readings: u32| {
        for _ in 0..readings {
            let mut side = |n: u64| {
                let values: Vec<f64> = (0..n).map(|_| 10.0 * random.normal().exp()).collect();
                VersionInterval {
                    errors: random.below(3),
                    memory: Some(1000),
                    module_metrics: vec![ModuleMetric {
                        name: "rows".to_owned(),
                        requests: n,
                        sum: 10_000 * n,
                        values: histogram(values.clone()),
                    }],
                    ..latencies(values)
                }
            };
            let canary = side(20);
            judge.observe(&reading(canary, side(180)));
            second += 1;
            judge.observe_queries(vec![QueryReading {
                query: "orders".to_owned(),
                at: Timestamp::from_millis(1000 * second),
                canary: Some(1.0),
                baseline: None,
                error: None,
            }]);
        }
        format!("{judge:?}").len()
    };
    let (early, late) = (size_after(300), size_after(1500));
    assert!(late < early + early / 4, "{early} {late}");
}

#[test]
fn metrics_that_no_check_needs_are_not_stored() {
    assert_eq!(
        Judge::needs(&[max_increase("error-rate", 0.5)]),
        crate::MetricNeeds::default()
    );
    assert!(Judge::needs(&[max_increase("latency-p50", 0.5)]).latency);
    assert!(Judge::needs(&[max("module:rows", 0.5)]).module_metrics);
}
