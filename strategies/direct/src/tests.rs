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
fn no_node_is_promoted_if_more_fail_to_stage_than_the_policy_tolerates() {
    let fleet = ScriptedFleet::new(3).refuse(Operation::Stage, "node-2", "no memory");
    let error = fleet.run::<Direct>(NoConfig {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 3 nodes failed: node-2 (refused: no memory); the policy tolerates 0"
    );
    assert_eq!(fleet.transcript(), ["stage node-1 node-2 node-3"]);
}

#[test]
fn a_failed_node_that_the_policy_tolerates_is_left_behind() {
    let fleet = ScriptedFleet::new(3)
        .refuse(Operation::Stage, "node-2", "no memory")
        .tolerate(1);
    fleet.run::<Direct>(NoConfig {}).unwrap();
    assert_eq!(fleet.updated(), ["node-1", "node-3"]);
}

#[test]
fn descriptor_and_schema_are_as_committed() {
    assert_eq!(describe::<Direct>().version, env!("CARGO_PKG_VERSION"));
    assert_schema::<Direct>(include_str!("schema.json"));
}
