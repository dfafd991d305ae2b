//! Nodes that are not heard of, and their removal.

use hotswap_core::{Environment, ModuleName, NodeId};

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

    /// Whether nothing was heard of a node since this engine started, and it still has time to
    /// report in.
    pub(crate) fn is_awaited(&self, id: &NodeId) -> bool {
        let nodes = self.read();
        let is_silent = nodes
            .get(id)
            .is_some_and(|entry| entry.last_heard.is_none());
        drop(nodes);
        is_silent && !self.is_unheard(id)
    }

    /// Whether a node has last reported that it serves no version of a module.
    pub(crate) fn serves_nothing(&self, id: &NodeId, module: &ModuleName) -> bool {
        let nodes = self.read();
        let modules = nodes.get(id).and_then(|entry| entry.modules.as_ref());
        modules.is_some_and(|modules| {
            let state = modules.get(module);
            state.is_none_or(|state| state.serving().is_none())
        })
    }

    /// Whether nothing was heard of a node although it has had the time to report in since this
    /// engine started, or the node is not registered.
    pub(crate) fn is_unheard(&self, id: &NodeId) -> bool {
        let moment = self.inner.moment();
        let nodes = self.read();
        nodes.get(id).is_none_or(|entry| {
            entry.last_heard.is_none() && !entry.is_reporting(moment) && !moment.is_settling
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
