use futures_util::{StreamExt, stream};
use hotswap_core::{
    Action, Answer, Call, DeploymentId, Fence, ModuleVersion, Node, NodeFailure, NodeId, Order,
    Policy,
};
use hotswap_fleet::Fleet;

/// How a deployment acts on its nodes: what is the same for all its orders.
pub(crate) struct Acts<'a> {
    pub(crate) fleet: &'a dyn Fleet,
    pub(crate) deployment: DeploymentId,
    pub(crate) module: &'a ModuleVersion,
    pub(crate) plan: &'a [Node],
    /// Nodes that are ordered side by side.
    pub(crate) side_by_side: usize,
    pub(crate) fence: Fence,
}

/// How many of `nodes` may be changed at the same moment.
pub(crate) fn side_by_side(policy: &Policy, nodes: usize, fan_out: usize) -> usize {
    policy.max_unavailable.of(nodes).min(fan_out).max(1)
}

impl Acts<'_> {
    /// Carries a call out on its nodes; `operation` is the same each time it is carried out.
    pub(crate) async fn carry_out(&self, call: &Call, operation: &str) -> Answer {
        let failures = match call {
            Call::Stage { nodes } => {
                self.order(nodes, operation, |_| Action::Stage(self.module.clone()))
                    .await
            }
            Call::Shift { nodes, percent } => {
                let (version, percent) = (self.module, *percent);
                let action = |_: &NodeId| Action::Shift {
                    version: version.clone(),
                    percent,
                };
                self.order(nodes, operation, action).await
            }
            Call::Promote { nodes } => {
                self.order(nodes, operation, |_| Action::Promote(self.module.clone()))
                    .await
            }
            Call::Revert { nodes } => self.order(nodes, operation, |node| self.undo(node)).await,
            Call::Probe { nodes, request } => {
                let ask = |node| async move {
                    self.fleet
                        .probe(node, self.module, request)
                        .await
                        .map_err(|error| NodeFailure {
                            node: node.clone(),
                            error,
                        })
                };
                gather(nodes, self.side_by_side, ask).await
            }
            _ => Vec::new(),
        };
        Answer::Nodewise(failures)
    }

    /// Orders the nodes, and tells which did not do it, in the order of `nodes`.
    pub(crate) async fn order(
        &self,
        nodes: &[NodeId],
        operation: &str,
        action: impl Fn(&NodeId) -> Action,
    ) -> Vec<NodeFailure> {
        let action = &action;
        let give = |node| async move {
            let order = Order {
                operation: operation.to_owned(),
                fence: self.fence,
                deployment: self.deployment,
                module: self.module.name.clone(),
                action: action(node),
            };
            let given = self.fleet.order(node, &order).await;
            given.map_err(|error| NodeFailure {
                node: node.clone(),
                error,
            })
        };
        gather(nodes, self.side_by_side, give).await
    }

    /// What puts a node back to what it ran when the deployment was planned.
    pub(crate) fn undo(&self, node: &NodeId) -> Action {
        let planned = self.plan.iter().find(|planned| planned.id == *node);
        Action::Revert(planned.and_then(|planned| planned.active.clone()))
    }
}

/// Does `act` on the nodes, at most `side_by_side` at once, each next one as soon as any is
/// done; the failures are told in the order of `nodes`, whichever answered first.
async fn gather<'a, F>(
    nodes: &'a [NodeId],
    side_by_side: usize,
    act: impl Fn(&'a NodeId) -> F,
) -> Vec<NodeFailure>
where
    F: Future<Output = Result<(), NodeFailure>>,
{
    let mut acting = Vec::with_capacity(nodes.len());
    for (number, node) in nodes.iter().enumerate() {
        let done = act(node);
        acting.push(async move { done.await.err().map(|failure| (number, failure)) });
    }
    let mut results = stream::iter(acting).buffer_unordered(side_by_side);
    let mut failures = Vec::new();
    while let Some(result) = results.next().await {
        failures.extend(result);
    }
    failures.sort_by_key(|(number, _)| *number);
    failures.into_iter().map(|(_, failure)| failure).collect()
}
