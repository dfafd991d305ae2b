use hotswap_sdk::testing::{Call, Operation, ScriptedFleet, assert_schema};
use hotswap_sdk::{Check, Judgement, Level, Probe, Span};

use super::{BlueGreen, Config};

const ALL_NODES: &str = "node-1 node-2";

#[test]
fn all_nodes_are_staged_and_probed_before_the_switch() {
    let fleet = ScriptedFleet::new(2);
    fleet.run::<BlueGreen>(Config::default()).unwrap();
    assert_eq!(
        fleet.transcript(),
        [
            format!("stage {ALL_NODES}"),
            format!("probe /: {ALL_NODES}"),
            format!("promote {ALL_NODES}"),
            format!("soak 1m: {ALL_NODES}"),
        ]
    );
    let names: Vec<_> = fleet.stages().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["stage", "probe", "switch", "soak"]);
}

#[test]
fn the_switch_waits_for_approval() {
    let config = || Config {
        approval: true,
        ..Config::default()
    };
    let fleet = ScriptedFleet::new(2).decision(true, "ann");
    fleet.run::<BlueGreen>(config()).unwrap();
    assert_eq!(
        fleet.transcript()[2],
        "approval within 1d: switch 2 nodes to checkout 2.0.0?"
    );

    let fleet = ScriptedFleet::new(2).decision(false, "ann");
    let error = fleet.run::<BlueGreen>(config()).unwrap_err();
    assert_eq!(error.to_string(), "rejected by ann");
    assert!(
        !fleet
            .calls()
            .iter()
            .any(|call| matches!(call, Call::Promote(_)))
    );
}

#[test]
fn failed_probe_prevents_the_switch() {
    let fleet = ScriptedFleet::new(2).unhealthy(Operation::Probe, "node-2", "answered 503 for 5m");
    let error = fleet.run::<BlueGreen>(Config::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 2 nodes failed: node-2 (unhealthy: answered 503 for 5m); the policy tolerates 0"
    );
    assert_eq!(fleet.transcript().len(), 2);
}

#[test]
fn a_node_that_fails_the_probe_is_not_switched_where_the_policy_tolerates_it() {
    let fleet = ScriptedFleet::new(3)
        .unhealthy(Operation::Probe, "node-2", "answered 503 for 5m")
        .tolerate(1);
    fleet.run::<BlueGreen>(Config::default()).unwrap();
    assert_eq!(fleet.updated(), ["node-1", "node-3"]);

    let fleet = ScriptedFleet::new(1)
        .unhealthy(Operation::Probe, "node-1", "answered 503 for 5m")
        .tolerate(1);
    let error = fleet.run::<BlueGreen>(Config::default()).unwrap_err();
    assert_eq!(error.to_string(), "the new version answers on no node");
}

#[test]
fn failed_soak_rolls_back_and_inconclusive_soak_does_not() {
    let fleet = ScriptedFleet::new(2).judgement(Judgement::Fail);
    let error = fleet.run::<BlueGreen>(Config::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "check error-rate failed: scripted judgement; check restarts failed: scripted judgement"
    );
    assert!(fleet.updated().is_empty());

    let fleet = ScriptedFleet::new(2).judgement(Judgement::Inconclusive);
    fleet.run::<BlueGreen>(Config::default()).unwrap();
    let (level, line) = fleet.logs().remove(0);
    assert_eq!(level, Level::Warn);
    assert!(
        line.starts_with("soak: inconclusive, continuing: too few samples of error-rate"),
        "{line}"
    );
}

#[test]
fn what_the_previous_version_did_is_compared_but_for_its_cpu() {
    let latency = Check::latency().max(200.0).max_increase(1.0);
    let checks = vec![
        Check::cpu().max_increase(0.3),
        Check::cpu().max_increase(0.3).max(2.0),
        latency.clone(),
    ];
    let fleet = ScriptedFleet::new(1);
    fleet
        .run::<BlueGreen>(Config {
            checks,
            ..Config::default()
        })
        .unwrap();
    let calls = fleet.calls();
    let judged_checks = calls.iter().find_map(|call| match call {
        Call::Soak { checks, .. } => Some(checks.clone()),
        _ => None,
    });
    assert_eq!(judged_checks, Some(vec![Check::cpu().max(2.0), latency]));
}

#[test]
fn without_a_soak_the_rollout_ends_with_the_switch() {
    let fleet = ScriptedFleet::new(2).dies_after(Operation::Promote, "node-2");
    let error = fleet
        .run::<BlueGreen>(Config {
            soak: Span::ZERO,
            ..Config::default()
        })
        .unwrap_err();
    assert!(
        error.to_string().starts_with("1 of 2 nodes failed: node-2"),
        "{error}"
    );
    assert_eq!(fleet.elapsed(), Span::ZERO);
}

#[test]
fn configuration_and_schema() {
    let json = r#"{"probe": {"path": "/ready"}, "approvalTimeout": "2h"}"#;
    let config: Config = serde_json::from_str(json).unwrap();
    assert_eq!(config.probe, Probe::get("/ready"));
    assert_eq!(config.approval_timeout, Span::hours(2));
    assert!(serde_json::from_str::<Config>(r#"{"probe": {"url": "/"}}"#).is_err());
    assert_schema::<BlueGreen>(include_str!("schema.json"));
}
