use hotswap_sdk::testing::{Operation, ScriptedFleet, assert_schema};
use hotswap_sdk::{Amount, Span};

use super::{Config, Rolling};

#[test]
fn batches_are_updated_with_a_wait_in_between() {
    let fleet = ScriptedFleet::new(5);
    fleet.run::<Rolling>(Config::default()).unwrap();
    assert_eq!(
        fleet.transcript(),
        [
            "stage node-1 node-2",
            "promote node-1 node-2",
            "sleep 30s",
            "stage node-3 node-4",
            "promote node-3 node-4",
            "sleep 30s",
            "stage node-5",
            "promote node-5",
        ]
    );
    let stages: Vec<_> = fleet.stages();
    assert_eq!(stages[1], ("batch 2 of 3".to_owned(), 33));
    assert_eq!(fleet.elapsed(), Span::mins(1));
}

#[test]
fn batch_can_be_a_percentage() {
    let config = Config {
        batch: Amount::percent(50),
        settle: Span::ZERO,
    };
    let fleet = ScriptedFleet::new(4);
    fleet.run::<Rolling>(config).unwrap();
    assert_eq!(
        fleet.transcript(),
        [
            "stage node-1 node-2",
            "promote node-1 node-2",
            "stage node-3 node-4",
            "promote node-3 node-4",
        ]
    );
}

#[test]
fn unhealthy_batch_prevents_the_next() {
    let fleet = ScriptedFleet::new(4).unhealthy(Operation::Promote, "node-2", "answered 500");
    let error = fleet.run::<Rolling>(Config::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 4 nodes failed: node-2 (unhealthy: answered 500); the policy tolerates 0"
    );
    assert_eq!(
        fleet.transcript(),
        ["stage node-1 node-2", "promote node-1 node-2"]
    );
    assert!(fleet.updated().is_empty());
}

#[test]
fn node_that_stops_reporting_while_settling_fails_the_rollout() {
    let fleet = ScriptedFleet::new(4).dies_after(Operation::Promote, "node-1");
    let error = fleet.run::<Rolling>(Config::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 4 nodes failed: node-1 (unreachable: no answer); the policy tolerates 0"
    );
    assert_eq!(fleet.elapsed(), Span::secs(30));
}

#[test]
fn failed_nodes_that_the_policy_tolerates_are_left_behind() {
    let fleet = ScriptedFleet::new(6)
        .unreachable(Operation::Stage, "node-2", "no answer")
        .dies_after(Operation::Promote, "node-3")
        .tolerate(2);
    fleet.run::<Rolling>(Config::default()).unwrap();
    assert_eq!(
        fleet.transcript(),
        [
            "stage node-1 node-2",
            "promote node-1",
            "sleep 30s",
            "stage node-3 node-4",
            "promote node-3 node-4",
            "sleep 30s",
            // It is asked once more.
            "promote node-3",
            "stage node-5 node-6",
            "promote node-5 node-6",
        ]
    );
}

#[test]
fn empty_fleet_succeeds() {
    let fleet = ScriptedFleet::new(0);
    fleet.run::<Rolling>(Config::default()).unwrap();
    assert!(fleet.transcript().is_empty());
}

#[test]
fn configuration_and_schema() {
    let config: Config = serde_json::from_str(r#"{"batch": "25%"}"#).unwrap();
    assert_eq!(
        (config.batch, config.settle),
        (Amount::percent(25), Span::secs(30))
    );
    let error = serde_json::from_str::<Config>(r#"{"batches": 2}"#).unwrap_err();
    assert!(
        error.to_string().contains("unknown field `batches`"),
        "{error}"
    );
    assert_schema::<Rolling>(include_str!("schema.json"));
}
