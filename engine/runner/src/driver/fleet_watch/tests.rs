use std::sync::Arc;

use hotswap_core::{Clock, Node, SystemClock};

use super::super::fixture::{self, ListedFleet, TestClock};
use super::*;

fn ids(names: &[&str]) -> BTreeSet<NodeId> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn plan() -> [Node; 3] {
    let before = Some(fixture::module("1.0.0"));
    ["a", "b", "c"].map(|id| fixture::node(id, before.clone()))
}

/// What a look at the nodes of `plan` finds once the watch is prepared: the nodes that do not serve,
/// and those that are gone of the nodes a and b, which were changed.
async fn observe(fleet: &ListedFleet, plan: &[Node]) -> (BTreeSet<NodeId>, BTreeSet<NodeId>) {
    let (header, cordoned) = (fixture::header(), CordonedNodes::default());
    let members = Members {
        nodes: plan,
        missing: &[],
        cordoned: &[],
    };
    let of = (&header.environment, &header.module.name);
    let mut watch = FleetWatch::new((fleet, &cordoned), of, members);
    watch.touched = ids(&["a", "b"]);
    let timers = Timers::new(Arc::new(TestClock::default()));
    watch.prepare(&timers).await.unwrap();
    let observed = watch.observe();
    let gone = observed.gone.into_iter().map(|failure| failure.node);
    (observed.unavailable, gone.collect())
}

#[tokio::test(start_paused = true)]
async fn nodes_that_died_do_not_serve_and_have_failed_where_they_were_changed() {
    let plan = plan();
    let mut fleet = ListedFleet::new(&plan);
    assert_eq!(observe(&fleet, &plan).await, (ids(&[]), ids(&[])));
    for node in ["b", "c"] {
        fleet.set_health(node, Health::Critical);
    }
    assert_eq!(
        observe(&fleet, &plan).await,
        (ids(&["b", "c"]), ids(&["b"]))
    );
    assert_eq!(fleet.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_reports_that_it_serves_nothing_is_asked_again() {
    let mut now = plan();
    let mut fleet = ListedFleet::new(&now);
    fleet.idle = now.iter().map(|node| node.id.clone()).collect();
    // Their reports were older than what was done to them.
    assert_eq!(observe(&fleet, &plan()).await.0, ids(&[]));
    now[0].active = None;
    now[1].fault = Some("no memory".to_owned());
    let idle = std::mem::take(&mut fleet.idle);
    let mut fleet = ListedFleet::new(&now);
    fleet.idle = idle;
    assert_eq!(observe(&fleet, &plan()).await.0, ids(&["a", "b"]));
    assert_eq!(fleet.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_has_started_waits_for_nodes_until_they_are_silent() {
    let plan = plan();
    let mut fleet = ListedFleet::new(&plan);
    let silence = Duration::from_secs(12);
    let began = SystemClock.instant();
    fleet.awaited = Some((plan[2].id.clone(), began + silence));
    assert_eq!(observe(&fleet, &plan).await.0, ids(&["c"]));
    assert!(SystemClock.instant() - began >= silence);
    // Those that live have answered, and are not waited for.
    assert_eq!(fleet.asked(), 1);
}
