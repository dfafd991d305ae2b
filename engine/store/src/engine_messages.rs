//! The [`EngineMessages`] trait: what one engine tells the others on its store.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use crate::CatalogueError;

/// Passes on messages of one subject among the engines on a store.
///
/// Messages are not stored, and one may be lost. So send what a later message makes up for.
#[async_trait]
pub trait EngineMessages: Send + Sync + 'static {
    /// Sends a message to the other engines that listen.
    ///
    /// # Errors
    /// If the store fails.
    async fn publish(&self, message: &[u8]) -> Result<(), CatalogueError>;

    /// Messages of the other engines from now on. A receiver that falls behind loses the oldest.
    fn subscribe(&self) -> broadcast::Receiver<Arc<[u8]>>;

    /// Changes whenever a message of this engine has come back over the channel, so that it works
    /// in both directions. [`subscribe`](Self::subscribe) does not receive these messages.
    fn echoes(&self) -> watch::Receiver<u64>;
}
