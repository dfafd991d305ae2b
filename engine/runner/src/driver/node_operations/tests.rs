use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{Environment, Health, HttpProbe, ModuleName, NodeReading};

use hotswap_fleet::HealthReport;

use super::super::fixture;
use super::super::members::Members;
use super::*;
use crate::cordoned_nodes::CordonedNodes;

/// A fleet of which node `b` and node `c` reject every order, `c` sooner than `b`. To `local` this
/// machine can open no connection, and `slow` takes an hour.
#[derive(Default)]
struct FakeFleet {
    running: AtomicUsize,
    peak: AtomicUsize,
    /// The nodes that die once they have carried an order out.
    fragile: Vec<NodeId>,
    dead: Mutex<BTreeSet<NodeId>>,
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

    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(running, Ordering::SeqCst);
        let seconds = match node.as_str() {
            "b" => 2,
            "slow" => 3600,
            _ => 1,
        };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        if self.fragile.contains(node) {
            self.dead.lock().unwrap().insert(node.clone());
        }
        match node.as_str() {
            "b" | "c" => Err(NodeError::Refused(order.operation.clone())),
            "local" => Err(NodeError::Local("no files".to_owned())),
            _ => Ok(()),
        }
    }

    async fn probe(
        &self,
        _: &Environment,
        _: &NodeId,
        _: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        Err(NodeError::Unhealthy(probe.path.clone()))
    }

    async fn read(
        &self,
        _: &Environment,
        _: &NodeId,
        _: &ModuleName,
    ) -> Result<NodeReading, NodeError> {
        Err(NodeError::Other("no counters".into()))
    }

    fn health(&self, node: &NodeId) -> HealthReport {
        let is_dead = self.dead.lock().unwrap().contains(node);
        HealthReport {
            health: if is_dead {
                Health::Critical
            } else {
                Health::Passing
            },
            reason: None,
        }
    }
}

fn ids(names: &[&str]) -> Vec<NodeId> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn node(id: &str, active: Option<ModuleVersion>) -> Node {
    Node {
        id: id.parse().unwrap(),
        zone: None,
        labels: BTreeMap::new(),
        health: Health::Passing,
        active,
        fault: None,
    }
}

fn operations<'a>(
    fleet: &'a FakeFleet,
    module: &'a ModuleVersion,
    plan: &'a [Node],
) -> NodeOperations<'a> {
    NodeOperations {
        fleet,
        deployment: DeploymentId::from_bytes([7; 16]),
        environment: &fixture::PRODUCTION,
        module,
        plan,
        concurrency: 2,
        fence: Fence(3),
    }
}

fn refused(node: &str) -> NodeFailure {
    NodeFailure {
        node: node.parse().unwrap(),
        error: NodeError::Refused("operation".into()),
    }
}

#[test]
fn a_node_is_reverted_to_the_version_of_the_plan() {
    let (fleet, module) = (FakeFleet::default(), fixture::module("2.0.0"));
    let before = fixture::module("1.0.0");
    let plan = [node("a", Some(before.clone())), node("b", None)];
    let operations = operations(&fleet, &module, &plan);
    let action = |name: &str| operations.revert_action(&name.parse().unwrap());
    assert_eq!(action("a"), Action::Revert(Some(before)));
    assert_eq!(action("b"), Action::Revert(None));
}

#[test]
fn a_node_is_found_in_a_plan_that_is_not_sorted() {
    let (fleet, module) = (FakeFleet::default(), fixture::module("2.0.0"));
    let names = ["d", "a", "c", "e", "b"];
    let versions = ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0"].map(fixture::module);
    let plan: Vec<_> = names
        .iter()
        .zip(&versions)
        .map(|(name, version)| node(name, Some(version.clone())))
        .collect();
    let operations = operations(&fleet, &module, &plan);
    for (name, version) in names.iter().zip(versions) {
        let action = operations.revert_action(&name.parse().unwrap());
        assert_eq!(action, Action::Revert(Some(version)), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_in_the_order_of_the_nodes_and_concurrency_is_kept() {
    let (fleet, module) = (FakeFleet::default(), fixture::module("2.0.0"));
    let operations = operations(&fleet, &module, &[]);
    let nodes = ids(&["a", "b", "c", "d", "e"]);
    let operated = operations
        .execute(
            &Call::Promote { nodes },
            "operation",
            (CallLimits::none(), None),
        )
        .await;
    assert_eq!(operated.failures, [refused("b"), refused("c")]);
    assert_eq!(operated.held_back, []);
    assert_eq!(fleet.peak.load(Ordering::SeqCst), 2);
}

/// Executes a call on nodes `a` to `f` within these limits. Returns the nodes that failed, those
/// that got no order, and the most that were changed at once.
async fn execute(call: Call, limits: CallLimits) -> (Vec<String>, Vec<String>, usize) {
    let (fleet, module) = (FakeFleet::default(), fixture::module("2.0.0"));
    let operations = NodeOperations {
        concurrency: 128,
        ..operations(&fleet, &module, &[])
    };
    let operated = operations.execute(&call, "operation", (limits, None)).await;
    let failures = operated.failures.into_iter();
    (
        failures.map(|failure| failure.node.into()).collect(),
        operated.held_back.into_iter().map(Into::into).collect(),
        fleet.peak.load(Ordering::SeqCst),
    )
}

fn limits(max_unavailable: usize, unavailable: &[&str], tolerated: usize) -> CallLimits {
    CallLimits {
        max_unavailable,
        unavailable: ids(unavailable).into_iter().collect(),
        tolerated,
        ..CallLimits::none()
    }
}

fn promote() -> Call {
    let nodes = ids(&["a", "b", "c", "d", "e", "f"]);
    Call::Promote { nodes }
}

#[tokio::test(start_paused = true)]
async fn a_call_stops_as_soon_as_more_nodes_failed_than_tolerated() {
    // Node `c` fails after a second, node `b` after two; only then is one more than tolerated.
    let (failed, held_back, _) = execute(promote(), limits(2, &[], 1)).await;
    assert_eq!(failed, ["b", "c"]);
    assert_eq!(held_back, ["e", "f"]);
    let (failed, held_back, _) = execute(promote(), limits(2, &[], 2)).await;
    assert_eq!(failed, ["b", "c"]);
    assert_eq!(held_back, [""; 0]);
    // A node that failed before counts too, and failing again does not count twice.
    let mut limits = limits(1, &[], 1);
    limits.failed = ids(&["x"]).into_iter().collect();
    let (failed, held_back, _) = execute(promote(), limits).await;
    assert_eq!(
        (failed.as_slice(), held_back.len()),
        (&["b".to_owned()][..], 4)
    );
}

/// A bad version kills each node that has taken it, a moment after the node has said that it did.
#[tokio::test(start_paused = true)]
async fn nodes_that_die_after_their_answers_end_a_call() {
    let nodes = ids(&["a", "d", "e", "f", "g", "h"]);
    let plan: Vec<_> = nodes.iter().map(|id| node(id.as_str(), None)).collect();
    for (max_unavailable, tolerated, expected) in [
        // As many die as may be unavailable; then none may be changed.
        (2, 9, vec!["e", "f", "g", "h"]),
        // More die than may fail.
        (1, 0, vec!["d", "e", "f", "g", "h"]),
        (9, 9, vec![]),
    ] {
        let fleet = FakeFleet {
            fragile: nodes.clone(),
            ..FakeFleet::default()
        };
        let (header, cordoned) = (fixture::header(), CordonedNodes::default());
        let members = Members {
            nodes: &plan,
            missing: &[],
            cordoned: &[],
        };
        let of = (&header.environment, &header.module.name);
        let watch = FleetWatch::new((&fleet, &cordoned), of, members);
        let limits = (limits(max_unavailable, &[], tolerated), Some(watch));
        let call = Call::Promote {
            nodes: nodes.clone(),
        };
        let operations = operations(&fleet, &header.module, &plan);
        let operated = operations.execute(&call, "operation", limits).await;
        assert_eq!(operated.failures, []);
        let held_back: Vec<_> = operated.held_back.iter().map(NodeId::as_str).collect();
        assert_eq!(held_back, expected, "{max_unavailable}, {tolerated}");
        let changed = nodes.len() - held_back.len();
        assert_eq!(operated.unavailable.len(), changed.min(4));
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_do_not_serve_count_as_unavailable() {
    for (unavailable, changed_at_once) in [(&[][..], 3), (&["x"][..], 2), (&["x", "y"][..], 1)] {
        let (_, held_back, peak) = execute(promote(), limits(3, unavailable, 9)).await;
        assert_eq!(
            (peak, held_back.len()),
            (changed_at_once, 0),
            "{unavailable:?}"
        );
    }
    let (failed, held_back, peak) = execute(promote(), limits(2, &["x", "y"], 9)).await;
    assert_eq!((failed.len(), held_back.len(), peak), (0, 6, 0));
    // A node that does not serve anyway may always be changed.
    let (_, held_back, peak) = execute(promote(), limits(1, &["a"], 9)).await;
    assert_eq!((peak, held_back.len()), (1, 5));
}

#[tokio::test(start_paused = true)]
async fn reverts_and_probes_are_not_limited_by_the_nodes_that_do_not_serve() {
    let Call::Promote { nodes } = promote() else {
        unreachable!()
    };
    let (failed, held_back, peak) = execute(Call::Revert { nodes }, limits(1, &["x"], 0)).await;
    assert_eq!((failed.len(), held_back.len(), peak), (2, 0, 6));
}

#[tokio::test]
async fn a_probe_reports_each_node() {
    let (fleet, module) = (FakeFleet::default(), fixture::module("2.0.0"));
    let probe = Call::Probe {
        nodes: ids(&["a"]),
        request: HttpProbe {
            path: "/health".into(),
            expect_status: 200,
            expect_body: None,
            timeout: 1000,
        },
    };
    let operated = operations(&fleet, &module, &[])
        .execute(&probe, "operation", (limits(1, &["x"], 1), None))
        .await;
    let failure = NodeFailure {
        node: "a".parse().unwrap(),
        error: NodeError::Unhealthy("/health".into()),
    };
    assert_eq!(operated.failures, [failure]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_this_machine_ends_a_call_at_once_and_is_no_failure_of_a_node() {
    let (fleet, module) = (FakeFleet::default(), fixture::module("2.0.0"));
    let operations = NodeOperations {
        concurrency: 3,
        ..operations(&fleet, &module, &[])
    };
    let started = tokio::time::Instant::now();
    let nodes = ids(&["slow", "c", "local", "d"]);
    let failures = operations
        .order(&nodes, "operation", |_| Action::Settle)
        .await;
    assert!(started.elapsed() < Duration::from_secs(5));
    let failed: Vec<_> = failures.iter().map(|failure| &failure.node).collect();
    assert_eq!(failed, [&nodes[2]]);
    let checked = check_sender(&failures, Fence(3));
    assert!(matches!(checked, Err(Error::Nodes(_))), "{checked:?}");

    let fenced = |fence| NodeFailure {
        node: nodes[0].clone(),
        error: NodeError::Fenced(fence),
    };
    let checked = check_sender(&[fenced(7), refused("a"), fenced(9)], Fence(3));
    let expected = (Fence(9), Fence(3));
    assert!(
        matches!(checked, Err(Error::StaleFence { seen, ours }) if (seen, ours) == expected),
        "{checked:?}"
    );
    assert!(check_sender(&[refused("a")], Fence(3)).is_ok());
}
