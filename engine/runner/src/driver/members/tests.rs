use hotswap_core::{Amount, CauseKind, NodeError};

use super::super::fixture::{self, ListedFleet};
use super::*;

fn failures(names: &[&str], error: &NodeError) -> Vec<NodeFailure> {
    let failure = |name: &&str| NodeFailure {
        node: name.parse().unwrap(),
        error: error.clone(),
    };
    names.iter().map(failure).collect()
}

#[test]
fn shares_are_of_all_nodes_of_the_environment() {
    let nodes = ["a", "b", "c"].map(|id| fixture::node(id, None));
    let missing = failures(&["d"], &NodeError::Unreachable("no answer".into()));
    let members = Members {
        nodes: &nodes,
        missing: &missing,
        cordoned: &[],
    };
    let mut policy = fixture::header().policy;
    for (amount, expected) in [
        (Amount::Percent(50), 2),
        (Amount::Percent(100), 4),
        (Amount::Count(3), 3),
        // Policies from before zero was refused.
        (Amount::Count(0), 1),
    ] {
        policy.max_unavailable = amount;
        assert_eq!(members.max_unavailable(&policy), expected, "{amount:?}");
    }
}

#[test]
fn missing_nodes_dead_nodes_and_nodes_without_a_clear_answer_do_not_serve() {
    let nodes = ["a", "b", "c", "d"].map(|id| fixture::node(id, None));
    let mut fleet = ListedFleet::new(&nodes);
    fleet.set_health("b", Health::Critical);
    // Nothing was heard of it since the engine started, which says nothing yet.
    fleet.set_health("a", Health::Unknown);
    let missing = failures(&["x"], &NodeError::Unreachable("no answer".into()));
    let mut failed = FailedNodes::default();
    failed.record_all(&failures(
        &["c"],
        &NodeError::Unreachable("no answer".into()),
    ));
    failed.record_all(&failures(&["d"], &NodeError::Refused("no memory".into())));
    let members = Members {
        nodes: &nodes,
        missing: &missing,
        cordoned: &[],
    };
    let unavailable = members.unavailable(&fleet, &Cordons::default(), &failed);
    let names: Vec<_> = unavailable.iter().map(NodeId::as_str).collect();
    assert_eq!(names, ["b", "c", "x"]);
    fleet.unheard = vec!["a".parse().unwrap()];
    let with_unheard = members.unavailable(&fleet, &Cordons::default(), &failed);
    assert_eq!(with_unheard.len(), 4);

    let mut header = fixture::header();
    header.policy.max_unavailable = Amount::Count(4);
    assert_eq!(members.check_available(&header, &unavailable), Ok(()));
    header.policy.max_unavailable = Amount::Count(3);
    let cause = members.check_available(&header, &unavailable).unwrap_err();
    assert_eq!(cause.kind, CauseKind::Policy);
    assert_eq!(
        cause.message,
        "3 of 5 nodes of production do not serve (b, c, x), and its policy allows 3 to be \
         unavailable (maxUnavailable), so no node may be changed. Start them, uncordon those \
         that are drained, or forget those that are gone: hotswap node uncordon, hotswap node \
         forget"
    );
}

#[test]
fn a_cordoned_node_serves_and_a_drained_one_does_not() {
    let nodes = ["a", "b"].map(|id| fixture::node(id, None));
    let cordoned = ["c", "d", "e"].map(|id| fixture::cordoned(id, id == "d"));
    let mut fleet = ListedFleet::new(&nodes);
    fleet.set_health("e", Health::Critical);
    let members = Members {
        nodes: &nodes,
        missing: &[],
        cordoned: &cordoned,
    };
    assert_eq!(members.total(), 5);
    let unavailable = |cordons: &Cordons| {
        let unavailable = members.unavailable(&fleet, cordons, &FailedNodes::default());
        let names = unavailable.iter().map(NodeId::to_string);
        names.collect::<Vec<_>>()
    };
    let cordons = fixture::cordons(&cordoned);
    assert_eq!(unavailable(&cordons), ["d", "e"]);
    // A node of the plan that is drained meanwhile.
    let cordons = fixture::cordons(&[fixture::cordoned("a", true)]);
    assert_eq!(unavailable(&cordons), ["a", "e"]);
}

#[test]
fn a_node_that_lost_what_it_served_is_idle() {
    let before = Some(fixture::module("1.0.0"));
    let mut nodes = ["a", "b", "c"].map(|id| fixture::node(id, before.clone()));
    nodes[2].active = None;
    let mut fleet = ListedFleet::new(&nodes);
    // Node c has served nothing before either.
    fleet.idle = ["b", "c"].map(|id| id.parse().unwrap()).to_vec();
    nodes[0].fault = Some("no memory".to_owned());
    let members = Members {
        nodes: &nodes,
        missing: &[],
        cordoned: &[],
    };
    let names = |nodes: BTreeSet<NodeId>| {
        let names = nodes.into_iter().map(String::from);
        names.collect::<Vec<_>>()
    };
    let idle = members.idle(&fleet, &fixture::header().module.name);
    assert_eq!(names(idle), ["b"]);
    // What nodes said for the plan is newer than a report.
    let unavailable = members.unavailable_now(&fleet, &Cordons::default());
    assert_eq!(names(unavailable), ["a"]);
}
