use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{Amount, Environment, Health, HttpProbe, ModuleName, NodeReading};

use super::super::fixture;
use super::*;

/// A fleet of which node `b` and node `c` reject every order, `c` sooner than `b`.
#[derive(Default)]
struct FakeFleet {
    running: AtomicUsize,
    peak: AtomicUsize,
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
        let seconds = if node.as_str() == "b" { 2 } else { 1 };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        match node.as_str() {
            "b" | "c" => Err(NodeError::Refused(order.operation.clone())),
            _ => Ok(()),
        }
    }

    async fn probe(
        &self,
        _: &NodeId,
        _: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        Err(NodeError::Unhealthy(probe.path.clone()))
    }

    async fn read(&self, _: &NodeId, _: &ModuleName) -> Result<NodeReading, NodeError> {
        Err(NodeError::Other("no counters".into()))
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
fn concurrency_is_bounded_by_the_policy_and_the_fan_out() {
    let mut policy = fixture::header().policy;
    for (max_unavailable, nodes, fan_out, expected) in [
        (Amount::Percent(50), 10, 128, 5),
        (Amount::Percent(50), 1000, 128, 128),
        (Amount::Count(3), 10, 128, 3),
        (Amount::Count(3), 2, 128, 2),
        // Less than one node at a time would never end.
        (Amount::Count(0), 10, 128, 1),
        (Amount::Percent(100), 0, 128, 1),
        (Amount::Percent(100), 10, 0, 1),
    ] {
        policy.max_unavailable = max_unavailable;
        assert_eq!(
            concurrency(&policy, nodes, fan_out),
            expected,
            "{max_unavailable:?} of {nodes}, fan-out {fan_out}"
        );
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
    let answer = operations
        .execute(&Call::Promote { nodes }, "operation")
        .await;
    assert_eq!(answer, Answer::Nodewise(vec![refused("b"), refused("c")]));
    assert_eq!(fleet.peak.load(Ordering::SeqCst), 2);
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
    let answer = operations(&fleet, &module, &[])
        .execute(&probe, "operation")
        .await;
    let failure = NodeFailure {
        node: "a".parse().unwrap(),
        error: NodeError::Unhealthy("/health".into()),
    };
    assert_eq!(answer, Answer::Nodewise(vec![failure]));
}
