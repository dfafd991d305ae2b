use hotswap_sdk::testing::{Act, Call, ScriptedFleet, assert_schema};
use hotswap_sdk::{Check, Judgement, Level, Probe, Span};

use super::{BlueGreen, Config};

const ALL: &str = "node-1 node-2";

#[test]
fn everything_is_ready_before_the_one_switch() {
    let fleet = ScriptedFleet::new(2);
    fleet.run::<BlueGreen>(Config::default()).unwrap();
    assert_eq!(
        fleet.transcript(),
        [
            format!("stage {ALL}"),
            format!("probe /: {ALL}"),
            format!("promote {ALL}"),
            format!("soak 1m: {ALL}"),
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
    assert_eq!(error.to_string(), "ann did not approve");
    assert!(
        !fleet
            .calls()
            .iter()
            .any(|call| matches!(call, Call::Promote(_)))
    );
}

#[test]
fn a_node_that_fails_the_probe_prevents_the_switch() {
    let fleet = ScriptedFleet::new(2).unhealthy(Act::Probe, "node-2", "answered 503 for 5m");
    let error = fleet.run::<BlueGreen>(Config::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node-2 did not answer the probe as expected: unhealthy: answered 503 for 5m"
    );
    assert_eq!(fleet.transcript().len(), 2);
}

#[test]
fn a_bad_soak_takes_it_back_and_an_empty_one_does_not() {
    let fleet = ScriptedFleet::new(2).judgement(Judgement::Fail);
    let error = fleet.run::<BlueGreen>(Config::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "check error-rate failed: as the script says"
    );
    assert!(fleet.updated().is_empty());

    let fleet = ScriptedFleet::new(2).judgement(Judgement::Inconclusive);
    fleet.run::<BlueGreen>(Config::default()).unwrap();
    let (level, line) = fleet.logs().remove(0);
    assert_eq!(level, Level::Warn);
    assert!(
        line.starts_with("soak: going on, though too little was seen of error-rate"),
        "{line}"
    );
}

#[test]
fn comparisons_are_left_out_for_there_is_nothing_to_compare_with() {
    let checks = vec![
        Check::cpu().max_increase(0.3),
        Check::latency().max(200.0).max_increase(1.0),
    ];
    let fleet = ScriptedFleet::new(1);
    fleet
        .run::<BlueGreen>(Config {
            checks,
            ..Config::default()
        })
        .unwrap();
    let calls = fleet.calls();
    let judged = calls.iter().find_map(|call| match call {
        Call::Soak { checks, .. } => Some(checks.clone()),
        _ => None,
    });
    assert_eq!(judged, Some(vec![Check::latency().max(200.0)]));
}

#[test]
fn without_a_soak_it_is_over_with_the_switch() {
    let fleet = ScriptedFleet::new(2).dies_after(Act::Promote, "node-2");
    let error = fleet
        .run::<BlueGreen>(Config {
            soak: Span::ZERO,
            ..Config::default()
        })
        .unwrap_err();
    assert!(
        error.to_string().starts_with("node-2 no longer reports in"),
        "{error}"
    );
    assert_eq!(fleet.elapsed(), Span::ZERO);
}

#[test]
fn configuration() {
    let json = r#"{"probe": {"path": "/ready"}, "approvalTimeout": "2h"}"#;
    let config: Config = serde_json::from_str(json).unwrap();
    assert_eq!(config.probe, Probe::get("/ready"));
    assert_eq!(config.approval_timeout, Span::hours(2));
    assert!(serde_json::from_str::<Config>(r#"{"probe": {"url": "/"}}"#).is_err());
    assert_schema::<BlueGreen>(include_str!("schema.json"));
}
