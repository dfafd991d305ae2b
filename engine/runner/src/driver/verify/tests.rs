use std::sync::Arc;

use hotswap_core::{Amount, Health};

use super::super::fixture::{self, ListedFleet, TestClock};
use super::*;

#[tokio::test(start_paused = true)]
async fn a_node_that_runs_something_else_was_not_updated() {
    let plan = ["a", "b", "c", "d", "e", "f"].map(|id| fixture::node(id, None));
    let header = fixture::header();
    let other_bytes = ModuleVersion {
        digest: hotswap_core::Digest::of(b"other"),
        ..header.module.clone()
    };
    let now = [
        fixture::node("a", Some(header.module.clone())),
        fixture::node("b", Some(fixture::module("1.0.0"))),
        fixture::node("c", None),
        fixture::node("d", Some(other_bytes)),
        Node {
            health: Health::Critical,
            ..fixture::node("e", None)
        },
        // It was restarted after it was promoted.
        Node {
            fault: Some("no memory".to_owned()),
            ..fixture::node("f", Some(header.module.clone()))
        },
        // Not in the plan.
        fixture::node("g", None),
    ];
    let fleet = ListedFleet::new(&now);
    let timers = Timers::new(Arc::new(TestClock::default()));
    let not_updated = find_not_updated(&fleet, &timers, &header, &plan).await;
    let not_updated = not_updated.unwrap();
    let reasons = not_updated
        .iter()
        .map(|failure| format!("{}: {}", failure.node, failure.error));
    assert_eq!(
        reasons.collect::<Vec<_>>(),
        [
            "b: it runs 1.0.0",
            "c: it does not run hello",
            "d: it runs other bytes as 2.0.0",
            "e: unreachable: it does not answer",
            "f: it cannot load 2.0.0: no memory",
        ]
    );
}

#[test]
fn a_deployment_succeeds_without_nodes_that_the_policy_tolerates() {
    let plan = ["a", "b", "c", "d"].map(|id| fixture::node(id, None));
    let failure = |node: &Node| NodeFailure {
        node: node.id.clone(),
        error: NodeError::Other("it runs 1.0.0".into()),
    };
    let not_updated: Vec<_> = plan.iter().map(failure).collect();
    let check = |tolerated, not_updated: usize| {
        let mut header = fixture::header();
        header.policy.tolerated_failures = tolerated;
        let members = Members {
            nodes: &plan,
            missing: &[],
            cordoned: &[],
        };
        let failures: Vec<_> = plan[..not_updated].iter().map(failure).collect();
        super::check(&header, members, &failures).map_err(|cause| cause.message)
    };
    assert_eq!(not_updated.len(), 4);
    assert_eq!(check(Amount::Count(0), 0), Ok(()));
    assert_eq!(check(Amount::Percent(25), 1), Ok(()));
    assert_eq!(
        check(Amount::Percent(25), 2).unwrap_err(),
        "the strategy ended without an error, but 2 of 4 nodes do not run hello 2.0.0: a (it \
         runs 1.0.0), b (it runs 1.0.0); the policy of production tolerates 1"
    );
    // A success without any updated node is none.
    let reason = check(Amount::Percent(100), 4).unwrap_err();
    assert!(reason.ends_with("; no node does"), "{reason}");
}
