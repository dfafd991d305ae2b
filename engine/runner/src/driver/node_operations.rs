//! Operations on nodes: orders and probes, on several nodes at the same time.

use futures_util::{StreamExt, stream};
use hotswap_core::{
    Action, Answer, Call, DeploymentId, Fence, ModuleVersion, Node, NodeError, NodeFailure, NodeId,
    Order, Policy,
};
use hotswap_fleet::Fleet;

use super::error::Error;

/// Executes operations on the nodes of one deployment.
pub(super) struct NodeOperations<'a> {
    pub(super) fleet: &'a dyn Fleet,
    pub(super) deployment: DeploymentId,
    pub(super) module: &'a ModuleVersion,
    pub(super) plan: &'a [Node],
    /// How many nodes are operated on at the same time.
    pub(super) concurrency: usize,
    pub(super) fence: Fence,
}

/// How many of `nodes` may be changed at the same time: what the policy allows, at most
/// `fan_out`, at least one.
pub(super) fn concurrency(policy: &Policy, nodes: usize, fan_out: usize) -> usize {
    policy.max_unavailable.of(nodes).min(fan_out).max(1)
}

impl NodeOperations<'_> {
    /// Executes a call on its nodes. Pass the same `operation` id when the call is repeated:
    /// nodes then do not execute it twice.
    pub(super) async fn execute(&self, call: &Call, operation: &str) -> Answer {
        let failures = match call {
            Call::Stage { nodes } => {
                self.order(nodes, operation, |_| Action::Stage(self.module.clone()))
                    .await
            }
            Call::Shift { nodes, percent } => {
                let action = |_: &NodeId| Action::Shift {
                    version: self.module.clone(),
                    percent: *percent,
                };
                self.order(nodes, operation, action).await
            }
            Call::Promote { nodes } => {
                self.order(nodes, operation, |_| Action::Promote(self.module.clone()))
                    .await
            }
            Call::Revert { nodes } => {
                self.order(nodes, operation, |node| self.revert_action(node))
                    .await
            }
            Call::Probe { nodes, request } => {
                let probe = |node| self.fleet.probe(node, self.module, request);
                on_each(nodes, self.concurrency, probe).await
            }
            Call::Nodes
            | Call::Soak { .. }
            | Call::Now
            | Call::Sleep { .. }
            | Call::Approval { .. }
            | Call::Progress { .. }
            | Call::Log { .. } => Vec::new(),
        };
        Answer::Nodewise(failures)
    }

    /// Orders every node to do its `action`. Returns the failures in the order of `nodes`.
    pub(super) async fn order(
        &self,
        nodes: &[NodeId],
        operation: &str,
        action: impl Fn(&NodeId) -> Action,
    ) -> Vec<NodeFailure> {
        let action = &action;
        let order = |node| async move {
            let order = Order {
                operation: operation.to_owned(),
                fence: self.fence,
                deployment: self.deployment,
                module: self.module.name.clone(),
                action: action(node),
            };
            self.fleet.order(node, &order).await
        };
        on_each(nodes, self.concurrency, order).await
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

/// Checks that no node has seen a higher fence than ours.
///
/// # Errors
/// [`Error::StaleFence`] with the highest that a node has seen. Nothing is wrong with the
/// nodes: the caller must not journal the failures.
pub(super) fn check_fence<'a>(
    failures: impl IntoIterator<Item = &'a NodeFailure>,
) -> Result<(), Error> {
    let fences = failures
        .into_iter()
        .filter_map(|failure| match failure.error {
            NodeError::Fenced(fence) => Some(fence),
            _ => None,
        });
    let highest = fences.max();
    highest.map_or(Ok(()), |fence| Err(Error::StaleFence(Fence(fence))))
}

/// Runs `operate` on each node, at most `concurrency` at the same time. Returns the failures
/// in the order of `nodes`, whichever node answered first.
async fn on_each<'a, F>(
    nodes: &'a [NodeId],
    concurrency: usize,
    operate: impl Fn(&'a NodeId) -> F,
) -> Vec<NodeFailure>
where
    F: Future<Output = Result<(), NodeError>>,
{
    let mut operations = Vec::with_capacity(nodes.len());
    for (number, node) in nodes.iter().enumerate() {
        let operation = operate(node);
        operations.push(async move {
            let error = operation.await.err()?;
            let node = node.clone();
            Some((number, NodeFailure { node, error }))
        });
    }
    let mut results = stream::iter(operations).buffer_unordered(concurrency);
    let mut failures = Vec::new();
    while let Some(result) = results.next().await {
        failures.extend(result);
    }
    failures.sort_by_key(|(number, _)| *number);
    failures.into_iter().map(|(_, failure)| failure).collect()
}

#[cfg(test)]
mod tests;
