//! Looks after all nodes of a deployment while a call changes some of them.

use std::collections::BTreeSet;
use std::time::Duration;

use hotswap_core::{Environment, Health, ModuleName, NodeError, NodeFailure, NodeId};
use hotswap_fleet::Fleet;
use tokio::time::Instant;

use super::call_limits::CallLimits;
use super::error::Error;
use super::failed_nodes::FailedNodes;
use super::members::Members;
use super::roll_call::{is_reachable, list_nodes};
use super::timers::Timers;
use crate::cordoned_nodes::CordonedNodes;

/// How often nodes are looked after that have not reported in since this engine started. Only
/// memory is read.
const RECHECK: Duration = Duration::from_millis(100);

/// All nodes are looked at before each order, but not more often than so many in a millisecond: a
/// look at one takes about a microsecond, so in a large fleet this takes a tenth of a processor.
const NODES_A_MILLISECOND: usize = 100;

/// Looks before each order of a call which nodes do not serve, and which of those that the
/// deployment has changed are gone: nodes die while it goes on, by the new version, too.
pub(super) struct FleetWatch<'a> {
    pub(super) fleet: &'a dyn Fleet,
    pub(super) cordoned: &'a CordonedNodes,
    pub(super) environment: &'a Environment,
    pub(super) module: &'a ModuleName,
    pub(super) members: Members<'a>,
    /// The nodes that failed before this call.
    pub(super) failed: FailedNodes,
    /// The nodes that were changed, or may have been.
    pub(super) touched: BTreeSet<NodeId>,
    /// The nodes that have said before this call that they serve, whatever they reported earlier.
    pub(super) serving: BTreeSet<NodeId>,
    last_look: Option<Instant>,
}

/// What a look at the nodes has found.
#[derive(Debug, Default)]
pub(super) struct ObservedNodes {
    /// The nodes that do not serve.
    pub(super) unavailable: BTreeSet<NodeId>,
    /// The changed nodes that send no heartbeats any more.
    pub(super) gone: Vec<NodeFailure>,
}

impl<'a> FleetWatch<'a> {
    /// Looks after these nodes, before anything has been changed.
    pub(super) fn new(
        (fleet, cordoned): (&'a dyn Fleet, &'a CordonedNodes),
        (environment, module): (&'a Environment, &'a ModuleName),
        members: Members<'a>,
    ) -> Self {
        Self {
            fleet,
            cordoned,
            environment,
            module,
            members,
            failed: FailedNodes::default(),
            touched: BTreeSet::new(),
            serving: BTreeSet::new(),
            last_look: None,
        }
    }

    /// Waits for the nodes that have not reported in since this engine started, as long as they have
    /// time for that, and asks those again that have reported that they serve nothing: a report may
    /// be older than what was done to the node since.
    ///
    /// # Errors
    /// [`Error::Nodes`] if this machine cannot ask them.
    pub(super) async fn prepare(&mut self, timers: &Timers) -> Result<(), Error> {
        let fleet = self.fleet;
        let (environment, module) = (self.environment, self.module);
        if self.members.is_awaiting(fleet) {
            // Those that answer are not waited for.
            list_nodes(fleet, environment, module).await?;
        }
        while self.members.is_awaiting(fleet) {
            timers.sleep_until(timers.after(RECHECK)).await;
        }
        self.serving.clear();
        let idle = self.members.idle(fleet, module);
        if !idle.is_empty() {
            let mut nodes = list_nodes(fleet, environment, module).await?;
            nodes.retain(|node| {
                let serves = node.active.is_some() && node.fault.is_none();
                idle.contains(&node.id) && is_reachable(node) && serves
            });
            self.serving.extend(nodes.into_iter().map(|node| node.id));
        }
        Ok(())
    }

    /// Looks after the nodes now, which takes no request.
    pub(super) fn observe(&self) -> ObservedNodes {
        let fleet = self.fleet;
        let cordons = self.cordoned.of(self.environment);
        let mut unavailable = self.members.unavailable(fleet, &cordons, &self.failed);
        let idle = self.members.idle(fleet, self.module);
        unavailable.extend(idle.difference(&self.serving).cloned());
        let reports = self.touched.iter().map(|node| (node, fleet.health(node)));
        let gone = reports.filter(|(_, report)| report.health == Health::Critical);
        let gone = gone.map(|(node, report)| NodeFailure {
            node: node.clone(),
            error: NodeError::Unreachable(report.reason.unwrap_or_default()),
        });
        ObservedNodes {
            gone: gone.collect(),
            unavailable,
        }
    }

    /// Brings the limits of a call up to date, before its next order.
    pub(super) fn update(&mut self, limits: &mut CallLimits) {
        let millis = self.members.total() / NODES_A_MILLISECOND;
        let pause = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
        if self.last_look.is_none_or(|last| last.elapsed() >= pause) {
            self.last_look = Some(Instant::now());
            limits.observe(self.observe());
        }
    }
}

#[cfg(test)]
mod tests;
