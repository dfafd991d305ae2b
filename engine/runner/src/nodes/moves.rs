//! Nodes that move from one environment to another.

use hotswap_core::{EnvironmentEvent, EnvironmentEventBody};
use hotswap_fleet::Move;
use hotswap_store::EnvironmentAppend;

use super::{Error, Nodes};

impl Nodes {
    /// Journals that a node came from another environment, for
    /// [`Registry::register_recording`](hotswap_fleet::Registry::register_recording): what it
    /// brought from there, and its new environment does not have, is removed from it.
    ///
    /// Safe to repeat, also after it was cancelled.
    ///
    /// # Errors
    /// [`Error::Store`] if the store failed, or its disk is full.
    pub async fn record_move(&self, moved: Move) -> Result<(), Error> {
        let inner = &self.0;
        let at = inner.clock.now();
        let body = EnvironmentEventBody::Moved {
            node: moved.node,
            from: moved.from,
            modules: moved.modules,
        };
        let append = EnvironmentAppend {
            environment: moved.to.clone(),
            fence: None,
            newest_cordon: None,
            at,
            bodies: vec![body.clone()],
        };
        let appended = inner.journal.append_to_environment(append).await;
        let position = appended.map_err(|error| Error::Store(Box::new(error)))?;
        let event = EnvironmentEvent { position, at, body };
        inner.arrived.apply(&moved.to, &event);
        Ok(())
    }
}
