use hotswap_sdk::testing::{Call, Operation, ScriptedFleet, assert_schema};
use hotswap_sdk::{Check, Judgement, Level, Metric, Node, Query, Span};

use super::{By, Canary, Config, WhenInconclusive};

#[test]
fn by_nodes_each_step_is_compared_with_the_other_nodes() {
    let fleet = ScriptedFleet::new(4);
    fleet.run::<Canary>(Config::default()).unwrap();
    // 30 % and 50 % of four nodes are the same two nodes, so there is one soak for both.
    assert_eq!(
        fleet.transcript(),
        [
            "stage node-1",
            "promote node-1",
            "soak 15m: node-1 against node-2 node-3 node-4",
            "stage node-2",
            "promote node-2",
            "soak 15m: node-1 node-2 against node-3 node-4",
            "stage node-3 node-4",
            "promote node-3 node-4",
            "soak 15m: node-1 node-2 node-3 node-4",
        ]
    );
    let stages = fleet.stages();
    let names: Vec<_> = stages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "canary 1 of 4 nodes, 25 %",
            "canary 2 of 4 nodes, 50 %",
            "canary 4 of 4 nodes, 100 %"
        ]
    );
    assert_eq!(stages[1].1, 33);
    assert_eq!(fleet.updated().len(), 4);
}

#[test]
fn a_baseline_of_its_own_is_as_many_nodes_as_asked_for() {
    let baselines = |baseline_nodes| {
        let fleet = ScriptedFleet::new(6);
        let config = Config {
            steps: vec![10, 50],
            baseline_nodes,
            ..Config::default()
        };
        fleet.run::<Canary>(config).unwrap();
        let soaks = fleet.calls().into_iter().filter_map(|call| match call {
            Call::Soak { baseline, .. } => Some(baseline.join(" ")),
            _ => None,
        });
        soaks.collect::<Vec<_>>()
    };
    assert_eq!(baselines(2), ["node-5 node-6", "node-5 node-6", ""]);
    let all = [
        "node-2 node-3 node-4 node-5 node-6",
        "node-4 node-5 node-6",
        "",
    ];
    assert_eq!(baselines(0), all);
    assert_eq!(baselines(9), all, "as many as there are");
}

/// What the previous version did before the last step, it did warm.
#[test]
fn with_a_baseline_of_its_own_the_last_step_compares_what_no_cache_changes() {
    let fleet = ScriptedFleet::new(4);
    let config = Config {
        baseline_nodes: 1,
        ..Config::default()
    };
    fleet.run::<Canary>(config).unwrap();
    let judged = judged_checks(&fleet);
    let metrics =
        |checks: &[Check]| -> Vec<_> { checks.iter().map(|check| check.metric.clone()).collect() };
    assert!(metrics(&judged[0]).contains(&Metric::LatencyP95));
    let last = [Metric::ErrorRate, Metric::Memory, Metric::Restarts];
    assert_eq!(metrics(judged.last().unwrap()), last);
}

#[test]
fn thousand_nodes_take_four_soaks() {
    let fleet = ScriptedFleet::new(1000);
    fleet.run::<Canary>(Config::default()).unwrap();
    assert_eq!(fleet.elapsed(), Span::mins(60));
    let staged: Vec<_> = fleet
        .calls()
        .into_iter()
        .filter_map(|call| match call {
            Call::Stage(nodes) => Some(nodes.len()),
            _ => None,
        })
        .collect();
    assert_eq!(staged, [100, 200, 200, 500]);
}

#[test]
fn by_requests_the_share_rises_on_every_node() {
    let fleet = ScriptedFleet::new(2);
    let config = Config {
        by: By::Requests,
        steps: vec![10, 50],
        ..Config::default()
    };
    fleet.run::<Canary>(config).unwrap();
    let all = "node-1 node-2";
    assert_eq!(
        fleet.transcript(),
        [
            format!("stage {all}"),
            format!("shift to 10 %: {all}"),
            format!("soak 15m: {all} against {all}"),
            format!("shift to 50 %: {all}"),
            format!("soak 15m: {all} against {all}"),
            format!("promote {all}"),
            format!("soak 15m: {all}"),
        ]
    );
    let stages = fleet.stages();
    assert_eq!(stages[0].0, "canary 10 % of requests on 2 nodes");
    let metrics: Vec<Vec<_>> = judged_checks(&fleet)
        .iter()
        .map(|checks| checks.iter().map(|check| check.metric.clone()).collect())
        .collect();
    let comparable = [Metric::ErrorRate, Metric::LatencyP95, Metric::Memory];
    assert!(metrics[0].contains(&Metric::Cpu), "{metrics:?}");
    // What the previous version did before says nothing of the CPU at another load.
    assert_eq!(metrics[2], [&comparable[..], &[Metric::Restarts]].concat());
}

#[test]
fn the_last_step_is_compared_with_what_the_previous_version_did() {
    let checks = vec![
        Check::error_rate().max_increase(0.5).max(0.05),
        Check::cpu().max_increase(0.3),
    ];
    let fleet = ScriptedFleet::new(2);
    fleet
        .run::<Canary>(Config {
            checks: checks.clone(),
            when_inconclusive: WhenInconclusive::RollBack,
            ..Config::default()
        })
        .unwrap();
    assert_eq!(
        fleet.transcript().last().unwrap(),
        "soak 15m: node-1 node-2"
    );
    let last = vec![checks[0].clone()];
    assert_eq!(judged_checks(&fleet), [checks, last]);
}

/// Where nothing can be compared, a deployment that rolls back when in doubt can still succeed.
#[test]
fn without_a_previous_version_absolute_limits_are_judged() {
    let first = |node: &mut Node| node.active = None;
    let again = |node: &mut Node| {
        let version = node.active.as_mut().unwrap();
        version.version = "2.0.0".to_owned();
        version.digest = format!("sha256:{}", "2".repeat(64));
    };
    type Change = fn(&mut Node);
    let changes: [(Change, &str); 2] = [
        (
            first,
            "no version of checkout runs on these nodes: only absolute limits are judged",
        ),
        (
            again,
            "checkout 2.0.0 runs already on 2 of 2 nodes, and no other version runs: only \
             absolute limits are judged",
        ),
    ];
    for (change, said) in changes {
        for by in [By::Nodes, By::Requests] {
            let fleet = ScriptedFleet::new(2)
                .with_node("node-1", change)
                .with_node("node-2", change);
            let config = Config {
                by,
                when_inconclusive: WhenInconclusive::RollBack,
                ..Config::default()
            };
            fleet.run::<Canary>(config).unwrap();
            assert_eq!(fleet.logs(), [(Level::Info, said.to_owned())]);
            let soaks = ["soak 15m: node-1", "soak 15m: node-1 node-2"];
            let transcript = fleet.transcript();
            let judged = transcript.iter().filter(|call| call.starts_with("soak"));
            assert_eq!(judged.collect::<Vec<_>>(), soaks);
            let checks = vec![Check::restarts().max(0.0), Check::error_rate().max(0.05)];
            assert_eq!(judged_checks(&fleet), [checks.clone(), checks]);
        }
    }
}

#[test]
fn identical_artifacts_are_said_to_be_identical() {
    let same_bytes = |node: &mut Node| {
        let version = node.active.as_mut().unwrap();
        version.digest = format!("sha256:{}", "2".repeat(64));
    };
    let fleet = ScriptedFleet::new(2)
        .with_node("node-1", same_bytes)
        .with_node("node-2", same_bytes);
    fleet.run::<Canary>(Config::default()).unwrap();
    let said = "checkout 2.0.0 and checkout 1.0.0 are identical, byte for byte: whatever differs \
                is not the version; not compared: cpu, memory";
    assert_eq!(fleet.logs(), [(Level::Info, said.to_owned())]);
    assert_eq!(
        fleet.transcript()[2],
        "soak 15m: node-1 against node-2",
        "they are compared all the same"
    );
    let requests = [Metric::ErrorRate, Metric::LatencyP95, Metric::Restarts];
    for checks in judged_checks(&fleet) {
        let metrics: Vec<_> = checks.iter().map(|check| check.metric.clone()).collect();
        assert_eq!(metrics, requests);
    }
}

#[test]
fn only_comparisons_by_node_are_left_out_for_identical_artifacts() {
    let same_bytes = |node: &mut Node| {
        let version = node.active.as_mut().unwrap();
        version.digest = format!("sha256:{}", "2".repeat(64));
    };
    let checks = vec![
        Check::memory().max_increase(0.3).max(1e9),
        Check::cpu().max_increase(0.3),
        Check::error_rate().max_increase(0.5),
    ];
    let config = || Config {
        checks: checks.clone(),
        ..Config::default()
    };
    let fleet = ScriptedFleet::new(2)
        .with_node("node-1", same_bytes)
        .with_node("node-2", same_bytes);
    fleet.run::<Canary>(config()).unwrap();
    let left = [
        Check::memory().max(1e9),
        Check::error_rate().max_increase(0.5),
    ];
    assert_eq!(judged_checks(&fleet)[0], left);
    // Where another node runs other bytes, everything is compared.
    let fleet = ScriptedFleet::new(2).with_node("node-1", same_bytes);
    fleet.run::<Canary>(config()).unwrap();
    assert_eq!(judged_checks(&fleet)[0], checks);
    assert!(fleet.logs()[0].1.ends_with("is not the version"));
}

#[test]
fn failed_check_rolls_back() {
    let fleet = ScriptedFleet::new(4)
        .judgement(Judgement::Pass)
        .judgement(Judgement::Fail);
    let error = fleet.run::<Canary>(Config::default()).unwrap_err();
    assert!(
        error.to_string().starts_with("check error-rate failed: "),
        "{error}"
    );
    assert_eq!(fleet.transcript().len(), 6);
    assert!(fleet.updated().is_empty());
}

#[test]
fn inconclusive_step_continues_or_rolls_back() {
    let fleet = ScriptedFleet::new(2).judgement(Judgement::Inconclusive);
    fleet.run::<Canary>(Config::default()).unwrap();
    let (level, line) = fleet.logs().remove(0);
    assert_eq!(level, Level::Warn);
    let metrics = "error-rate, latency-p95, cpu, memory, restarts";
    assert_eq!(
        line,
        format!(
            "canary 1 of 2 nodes, 50 %: inconclusive, continuing: too few samples of {metrics}"
        )
    );

    let fleet = ScriptedFleet::new(2).judgement(Judgement::Inconclusive);
    let config = Config {
        when_inconclusive: WhenInconclusive::RollBack,
        ..Config::default()
    };
    let error = fleet.run::<Canary>(config).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("check error-rate is inconclusive: "),
        "{error}"
    );
}

#[test]
fn a_single_node_goes_by_share_of_requests() {
    let fleet = ScriptedFleet::new(1);
    fleet.run::<Canary>(Config::default()).unwrap();
    assert_eq!(
        fleet.transcript(),
        [
            "stage node-1",
            "shift to 10 %: node-1",
            "soak 15m: node-1 against node-1",
            "shift to 30 %: node-1",
            "soak 15m: node-1 against node-1",
            "shift to 50 %: node-1",
            "soak 15m: node-1 against node-1",
            "promote node-1",
            "soak 15m: node-1",
        ]
    );
    assert_eq!(fleet.stages()[0].0, "canary 10 % of requests on 1 node");
    ScriptedFleet::new(0)
        .run::<Canary>(Config::default())
        .unwrap();
}

#[test]
fn without_checks_the_soak_only_waits() {
    let config = Config {
        checks: Vec::new(),
        ..Config::default()
    };
    let fleet = ScriptedFleet::new(10);
    fleet.run::<Canary>(config).unwrap();
    // At 100 % there is nothing to wait for.
    assert_eq!(fleet.elapsed(), Span::mins(45));
    let fleet = ScriptedFleet::new(10);
    fleet
        .run::<Canary>(Config {
            soak: Span::ZERO,
            ..Config::default()
        })
        .unwrap();
    assert_eq!(fleet.elapsed(), Span::ZERO);
}

#[test]
fn canary_that_stops_reporting_fails_the_rollout() {
    let fleet = ScriptedFleet::new(4).dies_after(Operation::Promote, "node-1");
    let error = fleet.run::<Canary>(Config::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 4 nodes failed: node-1 (unreachable: no answer); the policy tolerates 0"
    );
}

#[test]
fn another_node_takes_the_place_of_a_canary_that_fails() {
    let fleet = ScriptedFleet::new(4)
        .refuse(Operation::Stage, "node-1", "no memory")
        .tolerate(1);
    fleet.run::<Canary>(Config::default()).unwrap();
    assert_eq!(
        fleet.transcript(),
        [
            "stage node-1",
            "stage node-2",
            "promote node-2",
            "soak 15m: node-2 against node-3 node-4",
            "stage node-3",
            "promote node-3",
            "soak 15m: node-2 node-3 against node-4",
            "stage node-4",
            "promote node-4",
            "soak 15m: node-2 node-3 node-4",
        ]
    );
}

#[test]
fn by_requests_a_failed_node_is_left_behind() {
    let fleet = ScriptedFleet::new(3)
        .refuse(Operation::Shift, "node-2", "no memory")
        .tolerate(1);
    let config = Config {
        by: By::Requests,
        steps: vec![50],
        ..Config::default()
    };
    fleet.run::<Canary>(config).unwrap();
    assert_eq!(fleet.updated(), ["node-1", "node-3"]);
    let line = "soak 15m: node-1 node-3 against node-1 node-3";
    assert!(fleet.transcript().iter().any(|call| call == line));
}

#[test]
fn a_step_without_any_node_does_not_pass() {
    let fleet = ScriptedFleet::new(2)
        .refuse(Operation::Stage, "node-1", "no memory")
        .refuse(Operation::Stage, "node-2", "no memory")
        .tolerate(2);
    let error = fleet.run::<Canary>(Config::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "canary 1 of 2 nodes, 50 %: no node runs the new version"
    );
}

#[test]
fn steps_must_rise() {
    let fleet = ScriptedFleet::new(4);
    let config = Config {
        steps: vec![50, 10],
        ..Config::default()
    };
    assert_eq!(
        fleet.run::<Canary>(config).unwrap_err().to_string(),
        "the configuration is invalid: steps must rise, but 10 follows 50"
    );
    assert!(fleet.calls().is_empty());
}

#[test]
fn a_check_of_a_query_that_is_not_there_is_rejected() {
    let json = r#"{"checks": [{"metric": "query:orders", "max": 1}]}"#;
    let mut config: Config = serde_json::from_str(json).unwrap();
    let fleet = ScriptedFleet::new(3);
    assert_eq!(
        fleet.run::<Canary>(config.clone()).unwrap_err().to_string(),
        "the configuration is invalid: a check judges query:orders, and queries has none of that \
         name: add it"
    );
    config.queries = vec![Query {
        name: "orders".to_owned(),
        ..Query::default()
    }];
    ScriptedFleet::new(3).run::<Canary>(config).unwrap();
}

#[test]
fn configuration_and_schema() {
    let json = r#"{"by": "requests", "whenInconclusive": "rollBack", "soak": "2m",
        "checks": [{"metric": "latency-p99", "max": 250}]}"#;
    let config: Config = serde_json::from_str(json).unwrap();
    assert_eq!(config.by, By::Requests);
    assert_eq!(config.checks, [Check::new(Metric::LatencyP99).max(250.0)]);
    assert!(serde_json::from_str::<Config>(r#"{"step": [10]}"#).is_err());
    assert_schema::<Canary>(include_str!("schema.json"));
}

/// The checks of each soak.
fn judged_checks(fleet: &ScriptedFleet) -> Vec<Vec<Check>> {
    let checks = |call| match call {
        Call::Soak { checks, .. } => Some(checks),
        _ => None,
    };
    fleet.calls().into_iter().filter_map(checks).collect()
}
