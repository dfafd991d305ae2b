//! The [`NodeReports`] trait: what nodes report to one engine, for the others.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::CatalogueError;

/// Passes on what nodes report among the engines on a store.
///
/// Reports are not stored. The node's next report makes up for a lost one.
#[async_trait]
pub trait NodeReports: Send + Sync + 'static {
    /// Sends a message to the other engines that listen.
    ///
    /// # Errors
    /// If the store fails.
    async fn publish(&self, message: &[u8]) -> Result<(), CatalogueError>;

    /// Messages of the other engines from now on. A receiver that falls behind loses the oldest.
    fn subscribe(&self) -> broadcast::Receiver<Arc<[u8]>>;
}
