use hotswap_sdk::testing::{Act, ScriptedFleet, assert_schema};
use hotswap_sdk::{Amount, Judgement};

use super::{Config, Halves};

#[test]
fn one_half_then_the_other() {
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
fn the_second_half_is_spared_a_bad_version() {
    let fleet = ScriptedFleet::new(4).judgement(Judgement::Fail);
    let error = fleet.run::<Halves>(Config::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "check error-rate failed: as the script says"
    );
    assert_eq!(fleet.transcript().len(), 3);
}

#[test]
fn a_node_that_refuses_is_named() {
    let fleet = ScriptedFleet::new(4).refuse(Act::Stage, "node-1", "no memory");
    let config = Config {
        batch: Amount::count(1),
        ..Config::default()
    };
    let error = fleet.run::<Halves>(config).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node-1 could not stage the new version: refused: no memory"
    );
}

#[test]
fn schema() {
    assert_schema::<Halves>(include_str!("schema.json"));
}
