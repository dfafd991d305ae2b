use hotswap_sdk::testing::{Operation, ScriptedFleet, assert_schema};
use hotswap_sdk::{NoConfig, describe};

use super::Direct;

#[test]
fn all_nodes_are_updated_at_once() {
    let fleet = ScriptedFleet::new(3);
    fleet.run::<Direct>(NoConfig {}).unwrap();
    assert_eq!(
        fleet.transcript(),
        ["stage node-1 node-2 node-3", "promote node-1 node-2 node-3"]
    );
    assert_eq!(fleet.stages(), [("all nodes".to_owned(), 0)]);
}

#[test]
fn no_node_is_promoted_if_one_fails_to_stage() {
    let fleet = ScriptedFleet::new(3).refuse(Operation::Stage, "node-2", "no memory");
    let error = fleet.run::<Direct>(NoConfig {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        "node-2 could not stage the new version: refused: no memory"
    );
    assert_eq!(fleet.transcript(), ["stage node-1 node-2 node-3"]);
}

#[test]
fn descriptor_and_schema_are_as_committed() {
    assert_eq!(describe::<Direct>().version, env!("CARGO_PKG_VERSION"));
    assert_schema::<Direct>(include_str!("schema.json"));
}
