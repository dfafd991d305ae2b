//! Asks the nodes of an environment what they run, more than once.

use std::time::Duration;

use hotswap_common::Backoff;
use hotswap_core::{Environment, Header, Health, ModuleName, Node, NodeError, NodeId};
use hotswap_fleet::Fleet;

use super::error::Error;
use super::timers::Timers;

/// How long nodes that do not answer are asked again. Long enough for a lost packet or a pause
/// of the node, short enough for a person who waits.
const PATIENCE: Duration = Duration::from_secs(5);
const MIN_DELAY: Duration = Duration::from_millis(250);
const MAX_DELAY: Duration = Duration::from_secs(1);

/// The nodes of a deployment's environment that are wanted, with the versions of its module that
/// they run. Asks again for a short time while one that is awaited does not answer. A node that
/// also sends no heartbeats is asked twice.
///
/// Empty if the environment has no such nodes. Cancel safe.
///
/// # Errors
/// [`Error::Nodes`] if this machine cannot ask them: that says nothing about them.
pub(super) async fn ask_nodes(
    fleet: &dyn Fleet,
    timers: &Timers,
    header: &Header,
    is_wanted: impl Fn(&Node) -> bool + Sync,
    is_awaited: impl Fn(&NodeId) -> bool + Sync,
) -> Result<Vec<Node>, Error> {
    let (environment, module) = (&header.environment, &header.module.name);
    let give_up = timers.after(PATIENCE);
    let mut backoff = Backoff::new(MIN_DELAY, MAX_DELAY);
    let mut is_first = true;
    loop {
        let mut nodes = list_nodes(fleet, environment, module).await?;
        nodes.retain(&is_wanted);
        let is_silent = |node: &&Node| is_awaited(&node.id) && !is_reachable(node);
        let silent: Vec<_> = nodes.iter().filter(is_silent).collect();
        let is_gone = |node: &&Node| fleet.health(&node.id).health == Health::Critical;
        let is_over = silent.is_empty() || (!is_first && silent.iter().all(is_gone));
        let delay = backoff.next_delay();
        if is_over || delay >= timers.left(give_up) {
            return Ok(nodes);
        }
        is_first = false;
        timers.sleep_until(timers.after(delay)).await;
    }
}

/// The nodes of an environment. Empty if it has none.
///
/// # Errors
/// [`Error::Nodes`] if this machine cannot ask them.
pub(super) async fn list_nodes(
    fleet: &dyn Fleet,
    environment: &Environment,
    module: &ModuleName,
) -> Result<Vec<Node>, Error> {
    match fleet.nodes(environment, module).await {
        Ok(nodes) => Ok(nodes),
        Err(hotswap_fleet::Error::NoNodes(_)) => Ok(Vec::new()),
        Err(fault @ hotswap_fleet::Error::LocalFault(_)) => Err(Error::Nodes(fault)),
    }
}

/// Whether a listed node has answered, so that it is known what it runs.
pub(crate) fn is_reachable(node: &Node) -> bool {
    match node.health {
        Health::Passing | Health::Warning => true,
        Health::Critical | Health::Unknown => false,
    }
}

/// Why a node that does not answer is not counted on.
pub(super) fn silence(fleet: &dyn Fleet, node: &NodeId) -> NodeError {
    NodeError::Unreachable(match fleet.health(node).reason {
        Some(reason) => format!("it does not answer; {reason}"),
        None => "it does not answer".to_owned(),
    })
}

#[cfg(test)]
mod tests;
