use hotswap_core::{
    Answer, Call, EnvironmentEvent, EnvironmentEventBody, Health, NodeId, Timestamp,
};

use super::super::fixture::{ListedFleet, PRODUCTION, module, node};
use super::super::tests::Fixture;
use super::*;

fn ids(ids: &[&str]) -> Vec<NodeId> {
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

/// A fleet whose nodes send heartbeats, and run these versions.
fn fleet(active: &[(&str, Option<&str>)]) -> ListedFleet {
    let nodes: Vec<_> = active
        .iter()
        .map(|(id, version)| node(id, version.map(module)))
        .collect();
    let mut fleet = ListedFleet::new(&nodes);
    for (id, _) in active {
        fleet.set_health(id, Health::Passing);
    }
    fleet
}

/// A plan of nodes that ran 1.0.0.
fn planned(nodes: &[&str]) -> EventBody {
    EventBody::Planned {
        nodes: nodes
            .iter()
            .map(|id| node(id, Some(module("1.0.0"))))
            .collect(),
        missing: Vec::new(),
        cordoned: Vec::new(),
    }
}

fn called(call: u32, request: Call) -> EventBody {
    EventBody::Called {
        call,
        request,
        due: None,
        readings: Vec::new(),
        answer: None,
    }
}

/// A call that all nodes have carried out.
fn carried_out(call: u32, request: Call) -> [EventBody; 2] {
    let answer = Answer::Nodewise(Vec::new());
    [called(call, request), EventBody::Answered { call, answer }]
}

/// What a look finds: node, version after, what it stages again. `None` if it looks at none.
async fn found(fixture: &Fixture) -> Option<Vec<(String, String, Option<u8>)>> {
    let lost = find(&fixture.context, fixture.deployment).await.unwrap()?;
    let describe = |lost: &LostNode| {
        let to = lost.repair.to.as_ref();
        let to = to.map_or_else(String::new, |to| to.version.to_string());
        (lost.repair.node.to_string(), to, lost.staged)
    };
    Some(lost.nodes().iter().map(describe).collect())
}

fn lost(node: &str, to: &str, staged: Option<u8>) -> (String, String, Option<u8>) {
    (node.to_owned(), to.to_owned(), staged)
}

#[tokio::test(start_paused = true)]
async fn a_node_gets_back_what_the_calls_so_far_decided_for_it() {
    let nodes = ["a", "b", "c", "d"];
    let mut events = vec![planned(&nodes)];
    events.extend(carried_out(
        0,
        Call::Stage {
            nodes: ids(&["a", "b", "c"]),
        },
    ));
    let shift = Call::Shift {
        nodes: ids(&["b"]),
        percent: 30,
    };
    events.extend(carried_out(1, shift));
    events.extend(carried_out(2, Call::Promote { nodes: ids(&["c"]) }));
    let all = nodes.map(|id| (id, None));
    let fixture = Fixture::start_with(fleet(&all), events).await;
    let expected = [
        lost("a", "1.0.0", Some(0)),
        lost("b", "1.0.0", Some(30)),
        lost("c", "2.0.0", None),
        lost("d", "1.0.0", None),
    ];
    assert_eq!(found(&fixture).await.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_decided_while_a_call_on_nodes_has_no_answer() {
    let promote = Call::Promote { nodes: ids(&["a"]) };
    let events = vec![planned(&["a", "b"]), called(0, promote)];
    let fixture = Fixture::start_with(fleet(&[("a", None), ("b", None)]), events).await;
    assert_eq!(found(&fixture).await, None);
}

/// By default, half of the nodes of production may be unavailable: one of two.
#[tokio::test(start_paused = true)]
async fn a_node_that_serves_another_version_waits_until_the_others_serve() {
    let other = Some("0.9.0");
    let plan = || vec![planned(&["a", "b"])];
    let fixture = Fixture::start_with(fleet(&[("a", other), ("b", other)]), plan()).await;
    let expected = [lost("a", "1.0.0", None)];
    assert_eq!(found(&fixture).await.unwrap(), expected);
    let mut fleet = fleet(&[("a", other), ("b", None)]);
    fleet.idle = ids(&["b"]);
    let fixture = Fixture::start_with(fleet, plan()).await;
    // That one loses nothing by it.
    let expected = [lost("b", "1.0.0", None)];
    assert_eq!(found(&fixture).await.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cordoned_silent_or_failed_just_now_is_left_out() {
    let mut fleet = fleet(&[("a", None), ("b", None), ("c", None)]);
    fleet.silent_until = Some(("b".parse().unwrap(), u32::MAX));
    let fixture = Fixture::start_with(fleet, vec![planned(&["a", "b", "c"])]).await;
    let context = &fixture.context;
    let cordoned = EnvironmentEvent {
        position: 1,
        at: Timestamp::from_millis(1),
        body: EnvironmentEventBody::Cordoned {
            node: "a".parse().unwrap(),
            by: "ada".to_owned(),
            reason: None,
        },
    };
    context.cordoned.apply(&PRODUCTION, &cordoned);
    assert_eq!(found(&fixture).await.unwrap(), [lost("c", "1.0.0", None)]);
    let place = Place::new(&PRODUCTION, &module("1.0.0").name, &"c".parse().unwrap());
    let error = NodeError::Refused("no memory".to_owned());
    let (to, clock) = (module("1.0.0"), context.clock.as_ref());
    context
        .repairs
        .record_failure(&place, Some(&to), error, clock);
    assert!(found(&fixture).await.unwrap().is_empty());
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(found(&fixture).await.unwrap(), [lost("c", "1.0.0", None)]);
}
