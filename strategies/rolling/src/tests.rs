use hotswap_sdk::testing::{Act, ScriptedFleet, assert_schema};
use hotswap_sdk::{Amount, Span};

use super::{Config, Rolling};

#[test]
fn batch_after_batch_with_a_wait_between() {
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
fn a_batch_can_be_a_share() {
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
fn the_next_batch_waits_for_a_healthy_one() {
    let fleet = ScriptedFleet::new(4).unhealthy(Act::Promote, "node-2", "answered 500");
    let error = fleet.run::<Rolling>(Config::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node-2 could not promote the new version: unhealthy: answered 500"
    );
    assert_eq!(
        fleet.transcript(),
        ["stage node-1 node-2", "promote node-1 node-2"]
    );
    assert!(fleet.updated().is_empty());
}

#[test]
fn a_node_that_dies_while_settling_ends_it() {
    let fleet = ScriptedFleet::new(4).dies_after(Act::Promote, "node-1");
    let error = fleet.run::<Rolling>(Config::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node-1 no longer reports in since the new version runs there"
    );
    assert_eq!(fleet.elapsed(), Span::secs(30));
}

#[test]
fn no_nodes_are_no_trouble() {
    let fleet = ScriptedFleet::new(0);
    fleet.run::<Rolling>(Config::default()).unwrap();
    assert!(fleet.transcript().is_empty());
}

#[test]
fn configuration() {
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
