//! The end of a deployment that did not succeed: every touched node is reverted.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use hotswap_common::Backoff;
use hotswap_core::{EventBody, NodeError, NodeFailure, NodeId, Order, Outcome, ReplayState, Step};

use super::context::DriverContext;
use super::error::Error;
use super::journal_writer::JournalWriter;
use super::node_operations::{NodeOperations, check_fence, concurrency};
use super::timers::{End, Timers};
use super::wait_scope::Interrupt;

const MIN_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Journals the result of a step: its event, where it has one, or that the deployment is
/// being reverted, where the step was interrupted.
pub(super) async fn append_or_begin(
    writer: &mut JournalWriter,
    result: Result<Option<EventBody>, Interrupt>,
) -> Result<(), Error> {
    match result {
        Ok(Some(body)) => writer.push(body),
        Ok(None) => {}
        // An admin's request to terminate the deployment has begun it.
        Err(Interrupt::Fail(_)) if writer.tail().lifecycle.step == Step::Reverting => {}
        Err(Interrupt::Fail(cause)) => writer.push(EventBody::Reverting { cause }),
        Err(Interrupt::Journal(error)) => return Err(error),
    }
    writer.flush().await
}

/// Reverts every touched node, retrying for as long as the policy says, and journals the end.
pub(super) async fn revert(
    context: &DriverContext,
    timers: &Timers,
    mut writer: JournalWriter,
    state: ReplayState,
) -> Result<(), Error> {
    // With a new fence, nodes ignore orders of the strategy that are still under way.
    writer.renew_lease().await?;
    let policy = &state.header.policy;
    let give_up = timers.revert(policy.revert_patience);
    let operations = NodeOperations {
        fleet: context.fleet.as_ref(),
        deployment: state.header.id,
        module: &state.header.module,
        plan: &state.nodes,
        concurrency: concurrency(policy, state.nodes.len(), context.limits.fan_out),
        fence: writer.fence(),
    };
    let touched: Vec<_> = state.touched.iter().collect();
    let failures = revert_nodes(timers, &operations, &touched, give_up).await?;
    let outcome = outcome(state.touched.len(), &failures);
    writer.push(EventBody::Ended { outcome, failures });
    writer.flush().await
}

/// Reverts nodes, retrying until `give_up`. Returns the failures, sorted by node.
///
/// # Errors
/// [`Error::StaleFence`].
pub(super) async fn revert_nodes(
    timers: &Timers,
    operations: &NodeOperations<'_>,
    nodes: &[&NodeId],
    give_up: End,
) -> Result<Vec<NodeFailure>, Error> {
    let mut reverts = Vec::with_capacity(nodes.len());
    for node in nodes {
        reverts.push(revert_node(timers, operations, node, give_up));
    }
    let mut reverts = stream::iter(reverts).buffer_unordered(operations.concurrency);
    let mut failures: Vec<NodeFailure> = Vec::new();
    while let Some(reverted) = reverts.next().await {
        failures.extend(reverted.err());
    }
    check_fence(&failures)?;
    failures.sort_by(|one, other| one.node.cmp(&other.node));
    Ok(failures)
}

async fn revert_node(
    timers: &Timers,
    operations: &NodeOperations<'_>,
    node: &NodeId,
    give_up: End,
) -> Result<(), NodeFailure> {
    let deployment = operations.deployment;
    let order = Order {
        operation: format!("{deployment}.revert"),
        fence: operations.fence,
        deployment,
        module: operations.module.name.clone(),
        action: operations.revert_action(node),
    };
    let mut backoff = Backoff::new(MIN_DELAY, MAX_DELAY);
    loop {
        let Err(error) = operations.fleet.order(node, &order).await else {
            return Ok(());
        };
        let delay = backoff.next_delay();
        // Only a higher fence helps.
        let is_fenced = matches!(error, NodeError::Fenced(_));
        if is_fenced || delay >= timers.left(give_up) {
            return Err(NodeFailure {
                node: node.clone(),
                error,
            });
        }
        tracing::warn!(%deployment, %node, %error, ?delay, "cannot revert node, retrying");
        timers.sleep_until(timers.after(delay)).await;
    }
}

/// Where no node was touched, there was nothing to roll back: the deployment just failed.
pub(super) fn outcome(touched: usize, failures: &[NodeFailure]) -> Outcome {
    if touched > 0 && failures.is_empty() {
        Outcome::RolledBack
    } else {
        Outcome::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_rolled_back_only_when_every_touched_node_is_reverted() {
        let failure = NodeFailure {
            node: "a".parse().unwrap(),
            error: NodeError::Unreachable("no answer".into()),
        };
        assert_eq!(outcome(2, &[]), Outcome::RolledBack);
        assert_eq!(outcome(2, &[failure]), Outcome::Failed);
        assert_eq!(outcome(0, &[]), Outcome::Failed);
    }
}
