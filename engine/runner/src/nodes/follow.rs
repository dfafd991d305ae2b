//! What other engines decide about nodes.

use tokio::sync::broadcast::error::RecvError;

use super::{Error, Nodes};

impl Nodes {
    /// Takes over what is decided about nodes on other engines that share the store, until it is
    /// dropped. Cancel safe.
    pub(crate) async fn follow(self) {
        let mut appended = self.0.journal.subscribe_to_environments();
        loop {
            match appended.recv().await {
                // A repair decides nothing.
                Ok(appended) if appended.fenced => continue,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
            if let Err(error) = self.read_again().await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "cannot read what was decided about nodes elsewhere");
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
