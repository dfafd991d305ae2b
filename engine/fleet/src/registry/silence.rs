//! Nodes that are not heard of, and their removal.

use hotswap_core::{Environment, NodeId};

use super::Registry;
use super::error::Error;
use super::member::{Member, Silence};
use super::node_entry::NodeEntry;

impl Registry {
    /// The nodes that no longer report in, sorted by id, each with its silence. A node that has
    /// not been heard of since this engine started gets the time to do so first.
    pub fn silent_members(&self) -> Vec<(Member, Silence)> {
        let moment = self.inner.moment();
        let nodes = self.read();
        let silent = nodes.values().filter(|entry| !entry.is_reporting(moment));
        let silent = silent.map(|entry| {
            let silence = Silence {
                lasted: entry.silent_for(moment),
                stopped: entry.has_stopped(),
            };
            (entry.member(moment), silence)
        });
        silent.collect()
    }

    /// Whether a node of an environment has not been heard of since this engine started, and still
    /// has time to report in.
    pub fn is_awaiting(&self, environment: &Environment) -> bool {
        let moment = self.inner.moment();
        let nodes = self.read();
        nodes.values().any(|entry| {
            entry.last_heard.is_none()
                && entry.record.environment == *environment
                && entry.is_reporting(moment)
        })
    }

    /// Whether a node has said that it stops, and has not come back.
    pub(crate) fn has_stopped(&self, id: &NodeId) -> bool {
        self.read().get(id).is_some_and(NodeEntry::has_stopped)
    }

    /// Removes a node if its silence still `is_over`, durably once this returns. Calls `record`
    /// first, which makes the removal known. Returns whether the node was removed.
    ///
    /// A registration that comes meanwhile waits, and counts as that of a new node. A node that
    /// sends a heartbeat meanwhile has to register again.
    ///
    /// # Errors
    /// The error of `record`; the node is then still known. [`Error::Delete`] if the store failed.
    pub async fn expire<E: From<Error>>(
        &self,
        id: &NodeId,
        is_over: impl Fn(Silence) -> bool,
        record: impl AsyncFnOnce(Silence) -> Result<(), E>,
    ) -> Result<bool, E> {
        let _save_guard = self.inner.save_lock(id).lock().await;
        let silence = {
            let moment = self.inner.moment();
            let nodes = self.read();
            let entry = nodes.get(id).filter(|entry| !entry.is_reporting(moment));
            entry.map(|entry| Silence {
                lasted: entry.silent_for(moment),
                stopped: entry.has_stopped(),
            })
        };
        let Some(silence) = silence.filter(|silence| is_over(*silence)) else {
            return Ok(false);
        };
        record(silence).await?;
        Ok(self.remove(id).await?)
    }
}
