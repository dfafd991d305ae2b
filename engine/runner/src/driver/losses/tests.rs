use hotswap_core::{Event, Timestamp};

use super::super::fixture::{self, header, module};
use super::*;

fn state(planned: &[(&str, Option<&str>)]) -> ReplayState {
    let nodes = planned
        .iter()
        .map(|(id, version)| fixture::node(id, version.map(module)))
        .collect();
    let planned = EventBody::Planned {
        nodes,
        missing: Vec::new(),
        cordoned: Vec::new(),
    };
    let bodies = [EventBody::Requested(Box::new(header())), planned];
    let events = bodies.into_iter().zip(0..).map(|(body, seq)| Event {
        seq,
        position: seq + 1,
        at: Timestamp::from_millis(seq),
        body,
    });
    ReplayState::fold(events).unwrap()
}

fn nodes(running: &[(&str, Option<&str>)]) -> Vec<Node> {
    let node = |(id, version): &(&str, Option<&str>)| fixture::node(id, version.map(module));
    running.iter().map(node).collect()
}

#[test]
fn a_strategy_goes_on_where_nodes_run_what_it_can_have_ordered() {
    let state = state(&[("a", Some("1.0.0")), ("b", None)]);
    for running in [
        [("a", Some("1.0.0")), ("b", None)],
        [("a", Some("2.0.0")), ("b", None)],
        [("a", Some("2.0.0")), ("b", Some("2.0.0"))],
    ] {
        assert_eq!(contradiction(&state, &nodes(&running)), None);
    }
    let text = describe(
        &state.header.module,
        &nodes(&[("a", Some("2.0.0")), ("b", None)]),
        false,
    );
    assert!(
        text.contains("Of the 2 nodes that answer, 1 run hello 2.0.0"),
        "{text}"
    );
}

#[test]
fn a_strategy_does_not_go_on_where_a_later_change_is_lost() {
    let state = state(&[("a", Some("1.0.0")), ("b", Some("1.0.0"))]);
    let running = nodes(&[("a", Some("3.0.0")), ("b", Some("2.0.0"))]);
    let why = contradiction(&state, &running).unwrap();
    assert!(why.contains("a run neither"), "{why}");
}

#[test]
fn a_deployment_whose_plan_is_lost_does_not_go_on_where_nodes_are_changed() {
    let requested = Event {
        seq: 0,
        position: 1,
        at: Timestamp::from_millis(0),
        body: EventBody::Requested(Box::new(header())),
    };
    let state = ReplayState::fold([requested]).unwrap();
    let running = nodes(&[("a", Some("1.0.0")), ("b", None)]);
    assert_eq!(contradiction(&state, &running), None);
    let running = nodes(&[("a", Some("2.0.0")), ("b", None)]);
    let why = contradiction(&state, &running).unwrap();
    assert!(
        why.contains("the plan of this deployment: a run hello 2.0.0"),
        "{why}"
    );
}
