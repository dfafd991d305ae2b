use hotswap_sdk::testing::{Operation, ScriptedFleet, assert_schema};
use hotswap_sdk::{Amount, Judgement};

use super::{Config, Halves};

#[test]
fn second_half_follows_the_first() {
    let fleet = ScriptedFleet::new(4);
    fleet.run::<Halves>(Config::default()).unwrap();
    assert_eq!(
        fleet.transcript(),
        [
            "stage node-1 node-2",
            "promote node-1 node-2",
            "soak 1m: node-1 node-2 against node-3 node-4",
            "stage node-3 node-4",
            "promote node-3 node-4",
        ]
    );
}

#[test]
fn failed_check_spares_the_second_half() {
    let fleet = ScriptedFleet::new(4).judgement(Judgement::Fail);
    let error = fleet.run::<Halves>(Config::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "check error-rate failed: scripted judgement"
    );
    assert_eq!(fleet.transcript().len(), 3);
}

#[test]
fn error_names_the_node_that_refuses() {
    let fleet = ScriptedFleet::new(4).refuse(Operation::Stage, "node-1", "no memory");
    let config = Config {
        batch: Amount::count(1),
        ..Config::default()
    };
    let error = fleet.run::<Halves>(config).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 4 nodes failed: node-1 (refused: no memory); the policy tolerates 0"
    );
}

#[test]
fn schema_is_as_committed() {
    assert_schema::<Halves>(include_str!("schema.json"));
}
