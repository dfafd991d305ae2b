//! Operations on nodes: orders and probes, on several nodes at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};
use hotswap_core::{
    Action, Call, DeploymentId, Environment, Fence, ModuleVersion, Node, NodeError, NodeFailure,
    NodeId, Order,
};
use hotswap_fleet::Fleet;
use humantime::format_duration;
use tokio::time::timeout;

use super::call_limits::CallLimits;
use super::error::Error;
use super::fleet_watch::FleetWatch;

/// Executes operations on the nodes of one deployment.
pub(super) struct NodeOperations<'a> {
    pub(super) fleet: &'a dyn Fleet,
    pub(super) deployment: DeploymentId,
    /// The environment of the deployment.
    pub(super) environment: &'a Environment,
    pub(super) module: &'a ModuleVersion,
    pub(super) plan: &'a [Node],
    /// How many nodes are operated on at the same time, at most.
    pub(super) concurrency: usize,
    pub(super) fence: Fence,
}

/// Limits, and what keeps them up to date.
pub(super) type WatchedLimits<'a> = (CallLimits, Option<FleetWatch<'a>>);

/// The outcome of an operation on several nodes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Operated {
    /// The nodes that failed, in the order of the call.
    pub(super) failures: Vec<NodeFailure>,
    /// The nodes that got no order, because the policy allows no further one.
    pub(super) held_back: Vec<NodeId>,
    /// The nodes that did not serve at the end, as far as the limits name them.
    pub(super) unavailable: BTreeSet<NodeId>,
    /// The changed nodes that were gone at the end.
    pub(super) gone: Vec<NodeFailure>,
}

impl NodeOperations<'_> {
    /// Executes a call on its nodes. Pass the same `operation` id when the call is repeated:
    /// nodes then do not execute it twice. `limits` hold for calls that change nodes for the new
    /// version, and are kept up to date meanwhile. A revert makes nodes better, and a
    /// probe does not change them: of the limits, only that on failed nodes holds for a probe.
    pub(super) async fn execute(
        &self,
        call: &Call,
        operation: &str,
        limits: WatchedLimits<'_>,
    ) -> Operated {
        match call {
            Call::Stage { nodes } => {
                let action = |_: &NodeId| Action::Stage(self.module.clone());
                self.order_within(limits, nodes, operation, action).await
            }
            Call::Shift { nodes, percent } => {
                let action = |_: &NodeId| Action::Shift {
                    version: self.module.clone(),
                    percent: *percent,
                };
                self.order_within(limits, nodes, operation, action).await
            }
            Call::Promote { nodes } => {
                let action = |_: &NodeId| Action::Promote(self.module.clone());
                self.order_within(limits, nodes, operation, action).await
            }
            Call::Revert { nodes } => {
                let action = |node: &NodeId| self.revert_action(node);
                let unlimited = (CallLimits::none(), None);
                self.order_within(unlimited, nodes, operation, action).await
            }
            Call::Probe { nodes, request } => {
                let probe = |node| {
                    self.fleet
                        .probe(self.environment, node, self.module, request)
                };
                let limits = CallLimits {
                    max_unavailable: usize::MAX,
                    ..limits.0
                };
                on_each(nodes, self.concurrency, (limits, None), probe).await
            }
            Call::Nodes
            | Call::Soak { .. }
            | Call::Now
            | Call::Sleep { .. }
            | Call::Approval { .. }
            | Call::Progress { .. }
            | Call::Log { .. } => Operated::default(),
        }
    }

    /// Orders every node to do its `action`. Returns the failures in the order of `nodes`.
    pub(super) async fn order(
        &self,
        nodes: &[NodeId],
        operation: &str,
        action: impl Fn(&NodeId) -> Action,
    ) -> Vec<NodeFailure> {
        let unlimited = (CallLimits::none(), None);
        let operated = self.order_within(unlimited, nodes, operation, action);
        operated.await.failures
    }

    /// Has nodes reload the version that they run, `versions`. A node that takes longer than
    /// `within` has failed.
    pub(super) async fn restart(
        &self,
        versions: &BTreeMap<NodeId, ModuleVersion>,
        operation: &str,
        limits: WatchedLimits<'_>,
        within: Duration,
    ) -> Operated {
        let nodes: Vec<NodeId> = versions.keys().cloned().collect();
        let restart = |node: &NodeId| {
            let order = versions.get(node).map(|version| Order {
                operation: operation.to_owned(),
                fence: self.fence,
                deployment: self.deployment,
                environment: self.environment.clone(),
                module: self.module.name.clone(),
                action: Action::Restart(version.clone()),
            });
            let node = node.clone();
            async move {
                let Some(order) = order else {
                    return Ok(());
                };
                let ordered = timeout(within, self.fleet.order(&node, &order)).await;
                ordered.unwrap_or_else(|_| {
                    let reason = format!("it took longer than {}", format_duration(within));
                    Err(NodeError::Unreachable(reason))
                })
            }
        };
        on_each(&nodes, self.concurrency, limits, restart).await
    }

    async fn order_within(
        &self,
        limits: WatchedLimits<'_>,
        nodes: &[NodeId],
        operation: &str,
        action: impl Fn(&NodeId) -> Action,
    ) -> Operated {
        let action = &action;
        let order = |node| async move {
            let order = Order {
                operation: operation.to_owned(),
                fence: self.fence,
                deployment: self.deployment,
                environment: self.environment.clone(),
                module: self.module.name.clone(),
                action: action(node),
            };
            self.fleet.order(node, &order).await
        };
        on_each(nodes, self.concurrency, limits, order).await
    }

    /// The action that reverts a node to the version that it ran when the deployment was
    /// planned.
    pub(super) fn revert_action(&self, node: &NodeId) -> Action {
        let planned = self.planned(node);
        Action::Revert(planned.and_then(|planned| planned.active.clone()))
    }

    /// A node as it was planned. Plans are journaled sorted; only where one is not, and for a
    /// node outside it, all of it is searched.
    fn planned(&self, node: &NodeId) -> Option<&Node> {
        let found = self.plan.binary_search_by(|planned| planned.id.cmp(node));
        match found {
            Ok(index) => self.plan.get(index),
            Err(_) => self.plan.iter().find(|planned| planned.id == *node),
        }
    }
}

/// Checks that this machine could send its orders, and that no node has seen a higher fence than
/// `ours`, the fence of the orders.
///
/// # Errors
/// [`Error::Nodes`] if this machine could open no connection; [`Error::StaleFence`] with the
/// highest fence that a node has seen. Nothing is wrong with the nodes: the caller must not journal
/// the failures.
pub(super) fn check_sender<'a>(
    failures: impl IntoIterator<Item = &'a NodeFailure>,
    ours: Fence,
) -> Result<(), Error> {
    let mut highest = None;
    for NodeFailure { error, .. } in failures {
        match error {
            NodeError::Local(reason) => return Err(local_fault(reason.clone())),
            NodeError::Fenced(fence) => highest = highest.max(Some(Fence(*fence))),
            NodeError::Unreachable(_)
            | NodeError::Refused(_)
            | NodeError::Unhealthy(_)
            | NodeError::Other(_) => {}
        }
    }
    match highest {
        Some(seen) => Err(Error::StaleFence { seen, ours }),
        None => Ok(()),
    }
}

/// The error of a driver on a machine that can open no connection.
pub(super) fn local_fault(reason: String) -> Error {
    Error::Nodes(hotswap_fleet::Error::LocalFault(reason))
}

/// Runs `operate` on each node within the limits, at most `concurrency` at the same time. The
/// failures are in the order of `nodes`, whichever node answered first.
///
/// Ends early, wherever the other nodes are, when this machine can open no connection to one: the
/// whole call is then repeated, and nodes do nothing twice.
async fn on_each<'a, F>(
    nodes: &'a [NodeId],
    concurrency: usize,
    (mut limits, mut watch): WatchedLimits<'_>,
    operate: impl Fn(&'a NodeId) -> F,
) -> Operated
where
    F: Future<Output = Result<(), NodeError>>,
{
    let mut waiting = nodes.iter().enumerate().peekable();
    let mut changing = BTreeSet::new();
    let mut under_way = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        while under_way.len() < concurrency.max(1) && waiting.peek().is_some() {
            if let Some(watch) = &mut watch {
                watch.update(&mut limits);
            }
            if limits.is_exceeded() {
                break;
            }
            let next = waiting.next_if(|(_, node)| limits.allows(node, &changing));
            let Some((number, node)) = next else {
                break;
            };
            changing.insert(node);
            let operation = operate(node);
            under_way.push(async move { (number, node, operation.await) });
        }
        let Some((number, node, result)) = under_way.next().await else {
            break;
        };
        changing.remove(node);
        if let Err(error @ NodeError::Local(_)) = result {
            let node = node.clone();
            failures = vec![(number, NodeFailure { node, error })];
            break;
        }
        if let Err(error) = result {
            limits.record(node, &error);
            let node = node.clone();
            failures.push((number, NodeFailure { node, error }));
        } else if let Some(watch) = &mut watch {
            watch.touched.insert(node.clone());
        }
    }
    failures.sort_by_key(|(number, _)| *number);
    Operated {
        failures: failures.into_iter().map(|(_, failure)| failure).collect(),
        held_back: waiting.map(|(_, node)| node.clone()).collect(),
        unavailable: limits.unavailable.clone(),
        gone: limits.into_gone(),
    }
}

#[cfg(test)]
mod tests;
