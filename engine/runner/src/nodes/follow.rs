//! What other engines decide about nodes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::{Error, Nodes};

/// How long to wait where the store cannot be read.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

impl Nodes {
    /// Takes over what is decided about nodes on other engines that share the store, until it is
    /// dropped. Reads all of it again in a new epoch of the store. Cancel safe.
    pub(crate) async fn follow(self, mut epochs: watch::Receiver<Arc<str>>) {
        let mut appended = self.0.journal.subscribe_to_environments();
        loop {
            let appended = tokio::select! {
                appended = appended.recv() => appended,
                // What was read may be lost.
                Ok(()) = epochs.changed() => Err(RecvError::Lagged(0)),
            };
            match appended {
                // A repair decides nothing.
                Ok(appended) if appended.fenced => continue,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
            while let Err(error) = self.read_again().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot read what was decided about nodes elsewhere, retrying"
                );
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }

    async fn read_again(&self) -> Result<(), Error> {
        // Not while something is decided here: what is read may come from before it.
        let _change = self.begin().await;
        self.0.read_cordons().await?;
        self.0.read_arrivals().await?;
        let forgotten = self.0.registry.drop_deleted().await;
        forgotten.map_err(|error| Error::Store(Box::new(error)))
    }
}
