//! Reverts nodes: the healthy ones first, and those that fail again and again beside them.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::Either;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hotswap_common::Backoff;
use hotswap_core::{Fence, Health, NodeError, NodeFailure, NodeId, Order};

use super::error::{Error, describe};
use super::node_operations::{NodeOperations, local_fault};
use super::timers::Timers;
use crate::retries::Retries;

const MIN_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(10);

/// The nodes to revert, in the order in which they are tried.
///
/// A node that failed waits for its next try without taking a place, so that no dead node keeps
/// a healthy one on a version that was rejected. While this machine can open no connection, that is
/// shown as what the deployment retries for, and no node is given up.
pub(super) struct RevertQueue<'a> {
    timers: &'a Timers,
    operations: &'a NodeOperations<'a>,
    /// Where faults of this machine are shown.
    retries: &'a Retries,
    /// How long each node is tried.
    patience: Duration,
    ready: VecDeque<NodeRevert>,
}

/// The nodes that are not reverted, each with the last error.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Unreverted {
    /// Those that failed until the patience with them was over.
    pub(super) failed: Vec<NodeFailure>,
    /// Those that have said that they stop, and do not answer: they serve nothing. And those that
    /// belong to another environment now, which decides what they run.
    pub(super) stopped: Vec<NodeFailure>,
}

impl Unreverted {
    /// All of them, sorted by node.
    pub(super) fn into_failures(self) -> Vec<NodeFailure> {
        let mut all = [self.failed, self.stopped].concat();
        all.sort_by(|one, other| one.node.cmp(&other.node));
        all
    }
}

/// A node that is not reverted yet.
struct NodeRevert {
    node: NodeId,
    backoff: Backoff,
    /// How long the engine has tried.
    tried: Duration,
    /// Whether this machine could open no connection at the last try.
    is_out_of_reach: bool,
}

enum Progress {
    /// A try is over.
    Tried(NodeRevert, Result<(), NodeError>),
    /// The next try is due.
    Due(NodeRevert),
}

impl<'a> RevertQueue<'a> {
    /// Healthy nodes come first, then those that are late or that nothing was heard of, then
    /// those that count as gone.
    pub(super) fn new(
        timers: &'a Timers,
        (operations, retries): (&'a NodeOperations<'a>, &'a Retries),
        patience: Duration,
        nodes: impl IntoIterator<Item = &'a NodeId>,
    ) -> Self {
        let mut nodes: Vec<_> = nodes.into_iter().collect();
        nodes.sort_by_key(|node| match operations.fleet.health(node).health {
            Health::Passing => 0,
            Health::Warning | Health::Unknown => 1,
            Health::Critical => 2,
        });
        let revert = |node: &NodeId| NodeRevert {
            node: node.clone(),
            backoff: Backoff::new(MIN_DELAY, MAX_DELAY),
            tried: Duration::ZERO,
            is_out_of_reach: false,
        };
        Self {
            timers,
            operations,
            retries,
            patience,
            ready: nodes.into_iter().map(revert).collect(),
        }
    }

    /// Reverts the nodes. Returns those that are not reverted.
    ///
    /// # Errors
    /// [`Error::StaleFence`], as soon as a node has seen a higher fence: only a new lease helps.
    pub(super) async fn run(mut self) -> Result<Unreverted, Error> {
        let (timers, operations, retries) = (self.timers, self.operations, self.retries);
        let places = operations.concurrency.max(1);
        let mut under_way = FuturesUnordered::new();
        let mut taken = 0;
        let mut unreverted = Unreverted::default();
        let mut out_of_reach = 0_usize;
        loop {
            while taken < places
                && let Some(revert) = self.ready.pop_front()
            {
                taken += 1;
                under_way.push(Either::Left(attempt(timers, operations, revert)));
            }
            let Some(progress) = under_way.next().await else {
                break;
            };
            let (mut revert, result) = match progress {
                Progress::Tried(revert, result) => (revert, result),
                Progress::Due(revert) => {
                    self.ready.push_back(revert);
                    continue;
                }
            };
            taken -= 1;
            let deployment = operations.deployment;
            let was_out_of_reach = std::mem::take(&mut revert.is_out_of_reach);
            out_of_reach -= usize::from(was_out_of_reach);
            if was_out_of_reach && out_of_reach == 0 && !matches!(result, Err(NodeError::Local(_)))
            {
                retries.clear(deployment);
            }
            let Err(error) = result else {
                continue;
            };
            if let NodeError::Local(reason) = error {
                // This machine has not tried the node, so nothing counts as patience with it.
                let delay = revert.backoff.next_delay();
                let reason = describe(&local_fault(reason));
                tracing::warn!(%deployment, node = %revert.node, reason, ?delay, "cannot ask the node to revert, retrying");
                retries.record(deployment, timers.now(), reason);
                revert.is_out_of_reach = true;
                out_of_reach += 1;
                under_way.push(Either::Right(back_off(timers, revert, delay)));
                continue;
            }
            if let NodeError::Fenced(seen) = error {
                let (seen, ours) = (Fence(seen), operations.fence);
                return Err(Error::StaleFence { seen, ours });
            }
            let node = &revert.node;
            // It serves nothing. If it comes back, it gets what was decided before it is ready.
            let has_left = || {
                let moved_to = operations.fleet.moved_to(node, operations.environment);
                moved_to.is_some() || operations.fleet.has_stopped(node)
            };
            if matches!(error, NodeError::Unreachable(_)) && has_left() {
                tracing::info!(%deployment, %node, %error, "node has stopped or moved, nothing to revert");
                let node = revert.node;
                unreverted.stopped.push(NodeFailure { node, error });
                continue;
            }
            let delay = revert.backoff.next_delay();
            revert.tried = revert.tried.saturating_add(delay);
            if revert.tried >= self.patience {
                tracing::error!(%deployment, %node, %error, "cannot revert node, giving up");
                let node = revert.node;
                unreverted.failed.push(NodeFailure { node, error });
            } else {
                tracing::warn!(%deployment, %node, %error, ?delay, "cannot revert node, retrying");
                under_way.push(Either::Right(back_off(timers, revert, delay)));
            }
        }
        Ok(unreverted)
    }
}

async fn attempt(
    timers: &Timers,
    operations: &NodeOperations<'_>,
    mut revert: NodeRevert,
) -> Progress {
    let deployment = operations.deployment;
    let order = Order {
        operation: format!("{deployment}.revert"),
        fence: operations.fence,
        deployment,
        environment: operations.environment.clone(),
        module: operations.module.name.clone(),
        action: operations.revert_action(&revert.node),
    };
    let began = timers.instant();
    let result = operations.fleet.order(&revert.node, &order).await;
    let took = timers.instant().saturating_duration_since(began);
    // If the clock says that it took longer, the engine was stalled, and did not try in that time.
    let mut took = took.min(operations.fleet.patience());
    if matches!(result, Err(NodeError::Local(_))) {
        took = Duration::ZERO;
    }
    revert.tried = revert.tried.saturating_add(took);
    Progress::Tried(revert, result)
}

async fn back_off(timers: &Timers, revert: NodeRevert, delay: Duration) -> Progress {
    timers.sleep_until(timers.after(delay)).await;
    Progress::Due(revert)
}

#[cfg(test)]
mod tests;
