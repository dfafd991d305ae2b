use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hotswap_core::{
    DeploymentId, Environment, HttpProbe, ModuleName, ModuleVersion, Node, NodeReading,
};
use hotswap_fleet::{Fleet, HealthReport};
use tokio::time::Instant;

use super::super::fixture::{self, TestClock};
use super::*;

/// What a node does with an order.
#[derive(Clone, Copy)]
enum Behaviour {
    /// Carries it out at once.
    Obeys,
    /// Does not answer. The engine notices after this time.
    IsDead(Duration),
    /// Has said that it stops, and does not answer. The engine notices after this time.
    HasStopped(Duration),
    /// Belongs to another environment.
    HasMoved,
    /// Has seen a higher fence.
    HasFence(u64),
    /// Obeys. Until this many tries, this machine can open no connection to it, and notices after
    /// a second.
    IsOutOfReach(usize),
}

/// Records when each node was tried.
struct FakeFleet {
    started: Instant,
    nodes: BTreeMap<NodeId, (Health, Behaviour)>,
    tries: Mutex<Vec<(String, Duration)>>,
    /// How long an order to a node that does not answer takes at most.
    patience: Duration,
}

impl FakeFleet {
    fn new(nodes: &[(&str, Health, Behaviour)]) -> Self {
        let node = |(name, health, behaviour): &(&str, Health, Behaviour)| {
            (name.parse().unwrap(), (*health, *behaviour))
        };
        Self {
            started: Instant::now(),
            nodes: nodes.iter().map(node).collect(),
            tries: Mutex::default(),
            patience: Duration::from_secs(10),
        }
    }

    /// When a node was tried.
    fn tries(&self, node: &str) -> Vec<Duration> {
        let tries = self.tries.lock().unwrap();
        let of_node = tries.iter().filter(|(tried, _)| tried == node);
        of_node.map(|(_, at)| *at).collect()
    }
}

#[async_trait]
impl Fleet for FakeFleet {
    async fn nodes(
        &self,
        environment: &Environment,
        _: &ModuleName,
    ) -> Result<Vec<Node>, hotswap_fleet::Error> {
        Err(hotswap_fleet::Error::NoNodes(environment.clone()))
    }

    async fn order(&self, node: &NodeId, _: &Order) -> Result<(), NodeError> {
        let at = self.started.elapsed();
        let name = node.as_str().to_owned();
        self.tries.lock().unwrap().push((name, at));
        match self.nodes[node].1 {
            Behaviour::Obeys => Ok(()),
            Behaviour::IsDead(after) | Behaviour::HasStopped(after) => {
                tokio::time::sleep(after).await;
                Err(NodeError::Unreachable("no answer".into()))
            }
            Behaviour::HasMoved => Err(hotswap_fleet::moved_error(&fixture::PRODUCTION)),
            Behaviour::HasFence(fence) => Err(NodeError::Fenced(fence)),
            Behaviour::IsOutOfReach(tries) if self.tries(node.as_str()).len() > tries => Ok(()),
            Behaviour::IsOutOfReach(_) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Err(NodeError::Local("no files".into()))
            }
        }
    }

    async fn probe(
        &self,
        _: &Environment,
        _: &NodeId,
        _: &ModuleVersion,
        _: &HttpProbe,
    ) -> Result<(), NodeError> {
        Ok(())
    }

    async fn read(
        &self,
        _: &Environment,
        _: &NodeId,
        _: &ModuleName,
    ) -> Result<NodeReading, NodeError> {
        Err(NodeError::Other("no counters".into()))
    }

    fn moved_to(&self, node: &NodeId, _: &Environment) -> Option<Environment> {
        let has_moved = matches!(self.nodes[node].1, Behaviour::HasMoved);
        has_moved.then(|| fixture::PRODUCTION.clone())
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn has_stopped(&self, node: &NodeId) -> bool {
        matches!(self.nodes[node].1, Behaviour::HasStopped(_))
    }

    fn health(&self, node: &NodeId) -> HealthReport {
        HealthReport {
            health: self.nodes[node].0,
            reason: None,
        }
    }
}

/// Reverts all nodes of the fleet, one at a time.
async fn revert(fleet: &FakeFleet, patience: Duration) -> Result<Unreverted, Error> {
    revert_showing(fleet, patience, &Retries::default()).await
}

async fn revert_showing(
    fleet: &FakeFleet,
    patience: Duration,
    retries: &Retries,
) -> Result<Unreverted, Error> {
    let timers = Timers::new(Arc::new(TestClock::default()));
    let module = fixture::module("2.0.0");
    let operations = NodeOperations {
        fleet,
        deployment: DeploymentId::from_bytes([7; 16]),
        environment: &fixture::PRODUCTION,
        module: &module,
        plan: &[],
        concurrency: 1,
        fence: Fence(3),
    };
    RevertQueue::new(
        &timers,
        (&operations, retries),
        patience,
        fleet.nodes.keys(),
    )
    .run()
    .await
}

const MINUTE: Duration = Duration::from_secs(60);
const DEAD: Behaviour = Behaviour::IsDead(Duration::from_secs(4));

#[tokio::test(start_paused = true)]
async fn a_node_that_has_stopped_is_tried_once_and_told_apart() {
    let stopped = Behaviour::HasStopped(Duration::from_secs(4));
    let fleet = FakeFleet::new(&[
        ("a", Health::Passing, Behaviour::Obeys),
        ("b", Health::Critical, stopped),
    ]);
    let unreverted = revert(&fleet, MINUTE).await.unwrap();
    assert_eq!(unreverted.failed, []);
    assert_eq!(unreverted.stopped[0].node.as_str(), "b");
    assert_eq!(fleet.tries("a").len(), 1);
    assert_eq!(fleet.tries("b").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_moved_is_left_to_its_environment() {
    let fleet = FakeFleet::new(&[("a", Health::Passing, Behaviour::HasMoved)]);
    let unreverted = revert(&fleet, MINUTE).await.unwrap();
    assert_eq!(unreverted.failed, []);
    assert_eq!(unreverted.stopped[0].node.as_str(), "a");
    assert_eq!(fleet.tries("a").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_of_a_long_try_counts_as_patience() {
    let mut fleet = FakeFleet::new(&[("a", Health::Passing, Behaviour::IsDead(MINUTE))]);
    fleet.patience = MINUTE;
    revert(&fleet, MINUTE).await.unwrap();
    assert_eq!(fleet.tries("a"), [Duration::ZERO]);
}

#[tokio::test(start_paused = true)]
async fn healthy_nodes_are_reverted_first_and_a_dead_one_is_retried_beside_them() {
    let fleet = FakeFleet::new(&[
        ("a-dead", Health::Critical, DEAD),
        ("b", Health::Passing, Behaviour::Obeys),
        // It died a moment ago, and its heartbeat is not late yet.
        ("c-dead", Health::Passing, DEAD),
        ("d", Health::Passing, Behaviour::Obeys),
    ]);
    let failures = revert(&fleet, MINUTE).await.unwrap().into_failures();
    let failed: Vec<_> = failures
        .iter()
        .map(|failure| failure.node.as_str())
        .collect();
    assert_eq!(failed, ["a-dead", "c-dead"]);
    assert_eq!(fleet.tries("b"), [Duration::ZERO]);
    // One place, so it waits for one try of one dead node, and not for its patience.
    assert_eq!(fleet.tries("d"), [Duration::from_secs(4)]);
    for node in ["a-dead", "c-dead"] {
        assert!(fleet.tries(node).len() > 3, "{:?}", fleet.tries(node));
    }
    assert!(fleet.started.elapsed() < 3 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_engine_was_stalled_does_not_count_as_patience() {
    let stalled = Behaviour::IsDead(10 * MINUTE);
    let fleet = FakeFleet::new(&[("a", Health::Passing, stalled)]);
    revert(&fleet, MINUTE).await.unwrap();
    assert!(fleet.tries("a").len() > 2, "{:?}", fleet.tries("a"));
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_this_machine_uses_up_no_patience_and_is_shown_meanwhile() {
    let fleet = FakeFleet::new(&[
        ("a", Health::Passing, Behaviour::IsOutOfReach(5)),
        ("b", Health::Passing, Behaviour::IsOutOfReach(9)),
        ("c", Health::Passing, Behaviour::Obeys),
    ]);
    let retries = Retries::default();
    let deployment = DeploymentId::from_bytes([7; 16]);
    let reverting = revert_showing(&fleet, Duration::ZERO, &retries);
    let mut reverting = std::pin::pin!(reverting);
    let early = tokio::time::timeout(Duration::from_millis(2500), &mut reverting).await;
    assert!(early.is_err());
    let shown = retries.get(deployment).unwrap();
    let expected = "the nodes could not be asked: this machine can open no connection to its nodes: \
                    no files";
    assert_eq!((shown.reason.as_str(), shown.attempts), (expected, 2));
    let unreverted = reverting.await.unwrap();
    assert_eq!(unreverted, Unreverted::default());
    assert_eq!(retries.get(deployment), None);
    assert_eq!(fleet.tries("b").len(), 10);
    assert_eq!(fleet.tries("c").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_higher_fence_ends_the_revert_at_once() {
    let fleet = FakeFleet::new(&[
        ("a", Health::Passing, Behaviour::HasFence(9)),
        ("b-dead", Health::Critical, DEAD),
    ]);
    let error = revert(&fleet, MINUTE).await.unwrap_err();
    let expected = |error: &Error| match error {
        Error::StaleFence { seen, ours } => (*seen, *ours) == (Fence(9), Fence(3)),
        _ => false,
    };
    assert!(expected(&error), "{error}");
    assert!(fleet.started.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn without_patience_each_node_is_tried_once() {
    let fleet = FakeFleet::new(&[("a", Health::Unknown, DEAD)]);
    let failures = revert(&fleet, Duration::ZERO).await.unwrap().failed;
    assert_eq!(failures.len(), 1);
    assert_eq!(fleet.tries("a").len(), 1);
}
