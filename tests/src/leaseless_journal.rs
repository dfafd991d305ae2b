use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{Append, DeploymentId, Environment, Event, Header, ModuleName, Timestamp};
use hotswap_store::{
    AppendError, Appended, CreateError, Entry, Head, Journal, Lease, Page, Query, ReadError,
};
use tokio::sync::broadcast;

/// A journal whose leases are never granted, so no engine drives a deployment. Tests append
/// the events themselves.
pub struct LeaselessJournal(Arc<dyn Journal>);

impl LeaselessJournal {
    /// Wraps `journal`, for an engine that shall not drive deployments.
    pub fn new(journal: Arc<dyn Journal>) -> Arc<Self> {
        Arc::new(Self(journal))
    }
}

#[async_trait]
impl Journal for LeaselessJournal {
    async fn create(&self, header: Header, at: Timestamp) -> Result<(), CreateError> {
        self.0.create(header, at).await
    }

    async fn acquire_lease(&self, _: DeploymentId) -> Result<Lease, ReadError> {
        std::future::pending().await
    }

    async fn append(&self, append: Append) -> Result<Head, AppendError> {
        self.0.append(append).await
    }

    async fn events(
        &self,
        deployment: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>, ReadError> {
        self.0.events(deployment, from, limit).await
    }

    async fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
        self.0.events_after(position, limit).await
    }

    async fn last_position(&self) -> Result<u64, ReadError> {
        self.0.last_position().await
    }

    fn epoch(&self) -> &str {
        self.0.epoch()
    }

    async fn head(&self, deployment: DeploymentId) -> Result<Head, ReadError> {
        self.0.head(deployment).await
    }

    async fn open_deployments(&self) -> Result<Vec<DeploymentId>, ReadError> {
        self.0.open_deployments().await
    }

    async fn list(&self, query: &Query) -> Result<Page, ReadError> {
        self.0.list(query).await
    }

    async fn succeeded_deployments(
        &self,
        module: &ModuleName,
        environment: &Environment,
        limit: usize,
    ) -> Result<Vec<DeploymentId>, ReadError> {
        self.0
            .succeeded_deployments(module, environment, limit)
            .await
    }

    fn subscribe(&self) -> broadcast::Receiver<Appended> {
        self.0.subscribe()
    }
}
