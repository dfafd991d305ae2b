//! What happened in environments outside of deployments.

use hotswap_core::Environment;
use hotswap_store::{EnvironmentAppended, EnvironmentEntry, ReadError};
use tokio::sync::broadcast::Receiver;

use super::Reconciler;

impl Reconciler {
    /// At most `limit` events of an environment, or of all, after a position.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn events_after(
        &self,
        environment: Option<&Environment>,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let journal = &self.0.environment_journal;
        journal
            .environment_events_after(environment, position, limit)
            .await
    }

    /// At most `limit` events of an environment before a position, newest first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn events_before(
        &self,
        environment: &Environment,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let journal = &self.0.environment_journal;
        journal
            .environment_events_before(environment, position, limit)
            .await
    }

    /// Receives every append to an environment's journal from now on.
    pub fn subscribe(&self) -> Receiver<EnvironmentAppended> {
        self.0.environment_journal.subscribe_to_environments()
    }
}
