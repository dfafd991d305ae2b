use hotswap_core::{Amount, Health};

use super::super::fixture::{self, ListedFleet};
use super::*;

/// Plans with these nodes, of which those whose names begin with `dead` do not answer, and these
/// are cordoned.
fn planned_without(
    header: &Header,
    names: &[&str],
    cordoned: &[CordonedNode],
) -> Result<FoundNodes, String> {
    let node = |name: &&str| Node {
        health: if name.starts_with("dead") {
            Health::Critical
        } else {
            Health::Passing
        },
        ..fixture::node(name, None)
    };
    let nodes: Vec<_> = names.iter().map(node).collect();
    let mut fleet = ListedFleet::new(&nodes);
    for name in names.iter().filter(|name| name.starts_with("dead")) {
        fleet.set_health(name, Health::Critical);
    }
    fleet.reason = Some("it was last heard of 20.0 s ago".to_owned());
    let cordons = fixture::cordons(cordoned);
    let found = FoundNodes::split(&fleet, &cordons, nodes);
    let checked = found.check(&fleet, &cordons, header);
    checked.map_err(|cause| cause.message)?;
    Ok(found)
}

fn planned(header: &Header, names: &[&str]) -> Result<(Vec<Node>, Vec<NodeFailure>), String> {
    let found = planned_without(header, names, &[])?;
    Ok((found.nodes, found.missing))
}

#[test]
fn nodes_that_do_not_answer_are_left_out_with_the_reason() {
    let (nodes, missing) = planned(&fixture::header(), &["a", "b", "c", "dead"]).unwrap();
    assert_eq!(nodes.len(), 3);
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].node.as_str(), "dead");
    assert_eq!(
        missing[0].error.to_string(),
        "unreachable: it does not answer; it was last heard of 20.0 s ago"
    );
}

#[test]
fn the_policy_says_how_many_nodes_may_be_missing() {
    let mut header = fixture::header();
    header.policy.max_missing = Amount::Percent(25);
    assert!(planned(&header, &["a", "b", "c", "dead-1"]).is_ok());
    header.policy.max_missing = Amount::Count(0);
    let reason = planned(&header, &["a", "b", "c", "dead-1"]).unwrap_err();
    assert_eq!(
        reason,
        "1 of 4 nodes of production are missing: dead-1 (unreachable: it does not answer; it was \
         last heard of 20.0 s ago); its policy allows 0 (maxMissing). Start them, or forget \
         those that are gone: hotswap node forget"
    );
}

#[test]
fn missing_nodes_use_up_what_may_be_unavailable() {
    let mut header = fixture::header();
    header.policy.max_unavailable = Amount::Count(2);
    assert!(planned(&header, &["a", "b", "dead-1"]).is_ok());
    let reason = planned(&header, &["a", "b", "dead-1", "dead-2"]).unwrap_err();
    assert!(reason.contains("do not serve (dead-1, dead-2)"), "{reason}");
    let reason = planned(&header, &["dead-1"]).unwrap_err();
    assert!(
        reason.contains("no node of production is reachable"),
        "{reason}"
    );
}

#[test]
fn a_cordoned_node_is_left_out_and_is_neither_missing_nor_unavailable_while_it_serves() {
    let mut header = fixture::header();
    header.policy.max_missing = Amount::Count(0);
    header.policy.max_unavailable = Amount::Count(1);
    let names = ["a", "b", "dead"];
    let cordon = |id| fixture::cordoned(id, false);
    let found = planned_without(&header, &names[..2], &[cordon("b")]).unwrap();
    assert_eq!(found.cordoned, [cordon("b")]);
    assert_eq!((found.nodes.len(), found.missing.len()), (1, 0));
    // One that does not serve is not missing either, and uses up what may be unavailable.
    let reason = planned_without(&header, &names, &[cordon("dead")]).unwrap_err();
    assert!(reason.contains("do not serve (dead)"), "{reason}");
    let drained = [fixture::cordoned("b", true)];
    let reason = planned_without(&header, &names[..2], &drained).unwrap_err();
    assert!(reason.contains("do not serve (b)"), "{reason}");
    assert!(reason.contains("hotswap node uncordon"), "{reason}");
    header.policy.max_unavailable = Amount::Count(2);
    let found = planned_without(&header, &names[..2], &drained).unwrap();
    assert_eq!(found.nodes.len(), 1);
    let all = [cordon("a"), cordon("b")];
    let reason = planned_without(&header, &names[..2], &all).unwrap_err();
    assert!(
        reason.contains("2 are cordoned and 0 are not reachable"),
        "{reason}"
    );
}
