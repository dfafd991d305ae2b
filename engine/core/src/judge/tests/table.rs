use super::fixture::*;
use crate::{Check, Histogram, Judge, Judgement, Timestamp, VersionReading};

use Judgement::{Fail, Inconclusive, Pass};

/// Requests and errors of the new version, then of the one before.
type Counts = (u64, u64, u64, u64);

fn rates(check: Check, (n1, e1, n0, e0): Counts) -> crate::Finding {
    judge(
        check,
        version(new_version(), n1, e1),
        version(old_version(), n0, e0),
    )
}

#[test]
fn a_failed_error_rate_is_told_with_its_figures() {
    let found = rates(rise("error-rate", 0.5), (240, 12, 2160, 3));
    assert_eq!(found.judgement, Fail);
    assert_eq!(found.canary, Some(0.05));
    assert_eq!((found.canary_samples, found.baseline_samples), (240, 2160));
    assert_eq!(
        found.reason,
        "12 of 240 requests failed (5 %) against 3 of 2,160 (0.139 %) on the version before: more \
         than the 50 % rise allowed, and chance alone would show it less than once in 2,000 times"
    );
}

/// Of 15 errors in all, at a share of 1/7, eight or more come by chance with 0.000434
/// and seven or more with 0.00271: the limit, 0.0005, lies between.
#[test]
fn the_error_rate_turns_exactly_where_the_test_does() {
    for (e1, expected) in [(7, Pass), (8, Fail)] {
        let found = rates(rise("error-rate", 0.5), (240, e1, 2160, 15 - e1));
        assert_eq!(found.judgement, expected, "{}", found.reason);
    }
}

#[test]
fn error_rates_are_judged() {
    let small = Check {
        min_increase: Some(0.06),
        ..rise("error-rate", 0.5)
    };
    let both = Check {
        max: Some(0.01),
        ..rise("error-rate", 0.5)
    };
    for (name, check, counts, expected) in [
        ("none", rise("error-rate", 0.5), (1000, 0, 1000, 0), Pass),
        (
            "as bad as before",
            rise("error-rate", 0.5),
            (1000, 100, 9000, 900),
            Pass,
        ),
        (
            "a tenth against none",
            rise("error-rate", 0.5),
            (200, 20, 200, 0),
            Fail,
        ),
        (
            "all of few",
            rise("error-rate", 0.5),
            (12, 12, 500, 0),
            Fail,
        ),
        (
            "one of few",
            rise("error-rate", 0.5),
            (3, 1, 500, 0),
            Inconclusive,
        ),
        (
            "no baseline yet",
            rise("error-rate", 0.5),
            (900, 90, 0, 0),
            Inconclusive,
        ),
        (
            "no canary yet",
            rise("error-rate", 0.5),
            (0, 0, 900, 0),
            Inconclusive,
        ),
        (
            "a rise too small to matter",
            small.clone(),
            (240, 12, 2160, 3),
            Pass,
        ),
        ("a rise that matters", small, (240, 24, 2160, 3), Fail),
        (
            "no rise at all allowed",
            rise("error-rate", 0.0),
            (1000, 50, 1000, 10),
            Fail,
        ),
        (
            "within the limit",
            limit("error-rate", 0.01),
            (1000, 12, 0, 0),
            Pass,
        ),
        (
            "over the limit",
            limit("error-rate", 0.01),
            (240, 12, 0, 0),
            Fail,
        ),
        (
            "not one allowed",
            limit("error-rate", 0.0),
            (100, 1, 0, 0),
            Fail,
        ),
        (
            "not one seen",
            limit("error-rate", 0.0),
            (100, 0, 0, 0),
            Pass,
        ),
        (
            "all allowed",
            limit("error-rate", 1.0),
            (100, 100, 0, 0),
            Pass,
        ),
        (
            "more than all allowed",
            limit("error-rate", 7.0),
            (100, 100, 0, 0),
            Pass,
        ),
        (
            "too few for the limit",
            limit("error-rate", 0.01),
            (20, 0, 0, 0),
            Inconclusive,
        ),
        ("both kept", both.clone(), (1000, 2, 1000, 2), Pass),
        ("one of both broken", both, (1000, 50, 1000, 50), Fail),
    ] {
        let found = rates(check, counts);
        assert_eq!(found.judgement, expected, "{name}: {}", found.reason);
        assert!(!found.reason.is_empty());
    }
}

/// At a split of one to three a third of the errors may be the new version's
/// (1.5 / 4.5), of which 7 in a row are needed, a tenth of 70 requests.
#[test]
fn too_few_requests_are_told_with_how_many_are_needed() {
    let found = rates(rise("error-rate", 0.5), (20, 0, 60, 0));
    assert_eq!(found.judgement, Inconclusive);
    assert_eq!(
        found.reason,
        "the new version answered 20 requests and the version before 60; as they are split, 70 \
         and 210 are needed to tell"
    );
    let found = rates(rise("error-rate", 0.5), (70, 0, 210, 0));
    assert_eq!(found.judgement, Pass, "{}", found.reason);
    let found = rates(limit("error-rate", 0.01), (1, 0, 0, 0));
    assert_eq!(
        found.reason,
        "the new version answered 1 request; 50 are needed to tell"
    );
}

fn latency(digest: crate::Digest, millis: impl IntoIterator<Item = f64>) -> VersionReading {
    VersionReading {
        latency: histogram(millis),
        ..version(digest, 0, 0)
    }
}

#[test]
fn latencies_are_judged_at_their_quantile() {
    let even =
        |n: u64, low: f64, high: f64| (0..n).map(move |i| low + (high - low) * i as f64 / n as f64);
    let forgiving = Check {
        min_increase: Some(200.0),
        ..rise("latency-p95", 1.0)
    };
    for (name, check, new, old, expected) in [
        (
            "same",
            rise("latency-p95", 1.0),
            (400, 10.0, 50.0),
            (400, 10.0, 50.0),
            Pass,
        ),
        (
            "threefold",
            rise("latency-p95", 1.0),
            (400, 30.0, 150.0),
            (400, 10.0, 50.0),
            Fail,
        ),
        (
            "threefold p50",
            rise("latency-p50", 1.0),
            (40, 60.0, 90.0),
            (40, 20.0, 30.0),
            Fail,
        ),
        (
            "threefold p99",
            rise("latency-p99", 1.0),
            (900, 60.0, 90.0),
            (900, 20.0, 30.0),
            Fail,
        ),
        (
            "small in itself",
            forgiving,
            (400, 30.0, 150.0),
            (400, 10.0, 50.0),
            Pass,
        ),
        (
            "few",
            rise("latency-p95", 1.0),
            (99, 10.0, 50.0),
            (400, 10.0, 50.0),
            Inconclusive,
        ),
        (
            "few before",
            rise("latency-p95", 1.0),
            (400, 10.0, 50.0),
            (99, 10.0, 50.0),
            Inconclusive,
        ),
        (
            "none",
            rise("latency-p95", 1.0),
            (0, 1.0, 2.0),
            (0, 1.0, 2.0),
            Inconclusive,
        ),
        (
            "under a limit",
            limit("latency-p95", 60.0),
            (400, 10.0, 50.0),
            (0, 1.0, 2.0),
            Pass,
        ),
        (
            "over a limit",
            limit("latency-p95", 20.0),
            (400, 10.0, 50.0),
            (0, 1.0, 2.0),
            Fail,
        ),
        (
            "few under a limit",
            limit("latency-p99", 60.0),
            (400, 1.0, 5.0),
            (0, 1.0, 2.0),
            Inconclusive,
        ),
        (
            "a limit beyond time",
            limit("latency-p50", f64::MAX),
            (400, 1.0, 5.0),
            (0, 1.0, 2.0),
            Pass,
        ),
    ] {
        let new = latency(new_version(), even(new.0, new.1, new.2));
        let old = latency(old_version(), even(old.0, old.1, old.2));
        let found = judge(check, new, old);
        assert_eq!(found.judgement, expected, "{name}: {}", found.reason);
    }
}

#[test]
fn a_failed_latency_is_told_in_milliseconds() {
    let new = latency(new_version(), vec![120.0; 200]);
    let old = latency(old_version(), vec![15.0; 1000]);
    let found = judge(rise("latency-p95", 1.0), new, old);
    // The upper ends of the buckets of 120 ms and of 15 ms.
    assert_eq!(found.canary, Some(122.879));
    assert_eq!(found.baseline, Some(15.359));
    assert_eq!(
        found.reason,
        "the 95th percentile of latency is 123 ms against 15.4 ms on the version before: 200 of \
         200 requests were above the 30.7 ms allowed, where at most some 10 may be, and chance \
         alone would show it less than once in 2,000 times"
    );
}

/// Feeds one reading a second of each side.
fn gauges(check: Check, readings: u64, new: (u64, u64), old: (u64, u64)) -> crate::Finding {
    let mut watch = watch(vec![check]);
    for second in 1..=readings {
        for (id, digest, (cpu, memory)) in [
            ("canary", new_version(), new),
            ("baseline", old_version(), old),
        ] {
            let held = VersionReading {
                memory,
                ..version(digest, second, 0)
            };
            let mut taken = reading(id, second * 1000, vec![held]);
            taken.cpu_millis = cpu * second;
            watch.observe(taken);
        }
    }
    only(&watch)
}

#[test]
fn gauges_are_judged_at_their_median() {
    const MIB: u64 = 1 << 20;
    for (name, check, readings, new, old, expected) in [
        (
            "cpu as before",
            rise("cpu", 0.3),
            30,
            (500, 0),
            (500, 0),
            Pass,
        ),
        (
            "cpu doubled",
            rise("cpu", 0.3),
            30,
            (1000, 0),
            (500, 0),
            Fail,
        ),
        (
            "cpu over its limit",
            limit("cpu", 0.8),
            30,
            (1000, 0),
            (1, 0),
            Fail,
        ),
        (
            "memory as before",
            rise("memory", 0.3),
            30,
            (0, 9 * MIB),
            (0, 9 * MIB),
            Pass,
        ),
        (
            "memory doubled",
            rise("memory", 0.3),
            30,
            (0, 18 * MIB),
            (0, 9 * MIB),
            Fail,
        ),
        (
            "too few",
            rise("memory", 0.3),
            18,
            (0, 9 * MIB),
            (0, 9 * MIB),
            Inconclusive,
        ),
        (
            "just enough",
            rise("memory", 0.3),
            19,
            (0, 9 * MIB),
            (0, 9 * MIB),
            Pass,
        ),
        (
            "eleven for a limit",
            limit("memory", 1e9),
            11,
            (0, 9 * MIB),
            (0, MIB),
            Pass,
        ),
        (
            "ten for a limit",
            limit("memory", 1e9),
            10,
            (0, 9 * MIB),
            (0, MIB),
            Inconclusive,
        ),
        (
            "not loaded",
            rise("memory", 0.3),
            30,
            (0, 0),
            (0, 9 * MIB),
            Inconclusive,
        ),
    ] {
        let found = gauges(check, readings, new, old);
        assert_eq!(found.judgement, expected, "{name}: {}", found.reason);
    }
    let found = gauges(rise("cpu", 0.3), 30, (1000, 0), (500, 0));
    assert_eq!((found.canary, found.baseline), (Some(1.0), Some(0.5)));
}

#[test]
fn what_cannot_be_judged_is_inconclusive_and_says_why() {
    let bad = |check: Check, expected: &str| {
        let found = rates(check, (1000, 500, 1000, 0));
        assert_eq!(found.judgement, Inconclusive);
        assert!(found.reason.contains(expected), "{}", found.reason);
    };
    bad(rise("errors", 0.5), "use error-rate, latency-p50,");
    bad(check("error-rate"), "no limit was given");
    bad(rise("error-rate", f64::NAN), "max-increase is NaN");
    bad(rise("error-rate", -0.5), "max-increase is -0.5");
    bad(limit("error-rate", f64::INFINITY), "max is inf");
    let odd = Check {
        min_increase: Some(-1.0),
        ..rise("error-rate", 0.5)
    };
    bad(odd, "min-increase is -1");
}

#[test]
fn without_a_baseline_only_the_absolute_limit_counts() {
    let with = |check| {
        let start = vec![reading("canary", 0, Vec::new())];
        let mut watch = Judge::new(
            vec![check],
            vec![node("canary")],
            Vec::new(),
            new_version(),
            start,
        );
        watch.observe(reading(
            "canary",
            1000,
            vec![version(new_version(), 1000, 500)],
        ));
        only(&watch)
    };
    let found = with(rise("error-rate", 0.5));
    assert_eq!(found.judgement, Inconclusive);
    assert_eq!(
        found.reason,
        "no node runs the version before, so there is nothing to compare with"
    );
    let both = Check {
        max: Some(0.9),
        ..rise("error-rate", 0.5)
    };
    assert_eq!(with(both).judgement, Pass);
    assert_eq!(with(limit("error-rate", 0.1)).judgement, Fail);
}

#[test]
fn on_shared_nodes_requests_are_told_apart_and_processes_are_not() {
    let nodes = vec![node("canary")];
    let start = vec![reading("canary", 0, vec![version(old_version(), 700, 7)])];
    let checks = vec![rise("error-rate", 0.5), rise("cpu", 0.3)];
    let mut watch = Judge::new(checks, nodes.clone(), nodes, new_version(), start);
    let versions = vec![
        version(old_version(), 1700, 7),
        version(new_version(), 500, 100),
    ];
    watch.observe(reading("canary", 1000, versions));
    let verdict = watch.verdict();
    assert_eq!(verdict.judgement, Fail);
    assert_eq!(verdict.findings[0].canary_samples, 500);
    assert_eq!(verdict.findings[0].baseline_samples, 1000);
    assert_eq!(verdict.findings[0].baseline, Some(0.0));
    assert_eq!(verdict.findings[1].judgement, Inconclusive);
    assert!(verdict.findings[1].reason.contains("cannot be told apart"));
}

#[test]
fn only_what_happened_in_the_soak_counts_each_once() {
    let mut watch = watch(vec![rise("error-rate", 0.5)]);
    let at = |at, requests| reading("canary", at, vec![version(new_version(), requests, 0)]);
    watch.observe(at(1000, 100));
    watch.observe(at(1000, 100));
    watch.observe(at(3000, 300));
    watch.observe(at(2000, 200));
    assert_eq!(only(&watch).canary_samples, 300, "old news is none");
    let mut restarted = at(4000, 40);
    restarted.boot = "second".to_owned();
    watch.observe(restarted);
    assert_eq!(only(&watch).canary_samples, 340, "a restart counts anew");
    watch.observe(reading("stranger", 1, vec![version(new_version(), 9, 9)]));
    let both = vec![version(new_version(), 9, 9), version(old_version(), 80, 0)];
    watch.observe(reading("baseline", 1000, both));
    let found = only(&watch);
    assert_eq!((found.canary_samples, found.baseline_samples), (340, 80));
}

#[test]
fn a_node_without_a_start_counts_from_its_first_reading() {
    let (canary, baseline) = (vec![node("canary")], vec![node("baseline")]);
    let checks = vec![rise("error-rate", 0.5)];
    let mut watch = Judge::new(checks, canary, baseline, new_version(), Vec::new());
    watch.observe(reading(
        "canary",
        1,
        vec![version(new_version(), 1000, 900)],
    ));
    assert_eq!(only(&watch).canary_samples, 0);
    watch.observe(reading(
        "canary",
        2,
        vec![version(new_version(), 1010, 900)],
    ));
    assert_eq!(only(&watch).canary_samples, 10);
}

#[test]
fn a_clock_that_is_set_back_loses_nothing() {
    let mut watch = watch(vec![rise("error-rate", 0.5)]);
    for (at, cpu, requests) in [(9000, 10, 100), (500, 20, 150), (1500, 30, 200)] {
        let mut taken = reading("canary", at, vec![version(new_version(), requests, 0)]);
        taken.cpu_millis = cpu;
        taken.at = Timestamp::from_millis(at);
        watch.observe(taken);
    }
    assert_eq!(only(&watch).canary_samples, 200);
}

#[test]
fn the_worst_finding_is_the_verdict_and_no_check_passes() {
    let judged = |checks| {
        let mut watch = watch(checks);
        watch.observe(reading("canary", 1, vec![version(new_version(), 900, 90)]));
        watch.observe(reading("baseline", 1, vec![version(old_version(), 900, 0)]));
        watch.verdict().judgement
    };
    let (fails, passes, unclear) = (
        rise("error-rate", 0.5),
        limit("error-rate", 0.5),
        rise("cpu", 1.0),
    );
    assert_eq!(judged(Vec::new()), Pass);
    assert_eq!(judged(vec![passes.clone()]), Pass);
    assert_eq!(judged(vec![passes.clone(), unclear.clone()]), Inconclusive);
    assert_eq!(judged(vec![unclear, fails, passes]), Fail);
}

#[test]
fn a_soak_has_nineteen_looks_and_its_verdict() {
    let mut watch = watch(vec![limit("error-rate", 0.01)]);
    assert!(watch.look().is_none(), "nothing was seen yet");
    watch.observe(reading("canary", 1, vec![version(new_version(), 900, 900)]));
    let looks = (1..100).take_while(|_| watch.look().is_some()).count();
    assert_eq!(looks, 18);
    assert_eq!(watch.verdict().judgement, Fail);
}

#[test]
fn what_nobody_asked_for_is_not_kept() {
    let mut watch = watch(vec![rise("error-rate", 0.5)]);
    let mut held = latency(new_version(), vec![5.0; 100]);
    held.memory = 7;
    watch.observe(reading("canary", 1, vec![held]));
    assert_eq!(watch.sides.canary.latency, Histogram::default());
    assert_eq!(watch.sides.canary.memory.len(), 0);
}
