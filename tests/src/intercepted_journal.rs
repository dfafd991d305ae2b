use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{
    Append, DeploymentId, Environment, Event, Fence, Header, IdempotencyKey, ModuleName, Timestamp,
};
use hotswap_store::{
    AppendError, Appended, CreateError, DeleteError, DeploymentRecord, Entry, Head, Journal, Lease,
    LeaseError, NewSnapshot, Page, Query, ReadError, Session, Snapshot, Usage,
};
use tokio::sync::{broadcast, watch};

/// Changes some operations of a journal, and leaves the others as they are.
#[async_trait]
pub trait Interceptor: Send + Sync + 'static {
    /// Called in place of [`Journal::acquire_lease`].
    async fn acquire_lease(
        &self,
        journal: &dyn Journal,
        deployment: DeploymentId,
    ) -> Result<Lease, LeaseError> {
        journal.acquire_lease(deployment).await
    }

    /// Called in place of [`Journal::session`].
    fn session(&self, journal: &dyn Journal) -> Option<Arc<dyn Session>> {
        journal.session()
    }

    /// Called in place of [`Journal::append`].
    async fn append(&self, journal: &dyn Journal, append: Append) -> Result<Head, AppendError> {
        journal.append(append).await
    }

    /// Called in place of [`Journal::events`].
    async fn events(
        &self,
        journal: &dyn Journal,
        deployment: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>, ReadError> {
        journal.events(deployment, from, limit).await
    }

    /// Called in place of [`Journal::readable_events`].
    async fn readable_events(
        &self,
        journal: &dyn Journal,
        deployment: DeploymentId,
        from: u64,
    ) -> Result<Vec<Event>, ReadError> {
        journal.readable_events(deployment, from).await
    }

    /// Called in place of [`Journal::summaries`].
    async fn summaries(
        &self,
        journal: &dyn Journal,
        deployments: &[DeploymentId],
    ) -> Result<Vec<Option<Snapshot>>, ReadError> {
        journal.summaries(deployments).await
    }

    /// Called in place of [`Journal::create`].
    async fn create(
        &self,
        journal: &dyn Journal,
        header: Header,
        at: Timestamp,
    ) -> Result<(), CreateError> {
        journal.create(header, at).await
    }

    /// Called in place of [`Journal::delete`].
    async fn delete(
        &self,
        journal: &dyn Journal,
        deployment: DeploymentId,
    ) -> Result<(), DeleteError> {
        journal.delete(deployment).await
    }

    /// Called in place of [`Journal::subscribe`].
    fn subscribe(&self, journal: &dyn Journal) -> broadcast::Receiver<Appended> {
        journal.subscribe()
    }
}

/// A journal some operations of which are intercepted.
pub struct InterceptedJournal<I> {
    journal: Arc<dyn Journal>,
    interceptor: I,
}

impl<I: Interceptor> InterceptedJournal<I> {
    /// Wraps `journal`.
    pub fn new(journal: Arc<dyn Journal>, interceptor: I) -> Arc<Self> {
        Arc::new(Self {
            journal,
            interceptor,
        })
    }
}

impl<I> Deref for InterceptedJournal<I> {
    type Target = I;

    fn deref(&self) -> &I {
        &self.interceptor
    }
}

#[async_trait]
impl<I: Interceptor> Journal for InterceptedJournal<I> {
    async fn create(&self, header: Header, at: Timestamp) -> Result<(), CreateError> {
        let journal = self.journal.as_ref();
        self.interceptor.create(journal, header, at).await
    }

    async fn acquire_lease(&self, deployment: DeploymentId) -> Result<Lease, LeaseError> {
        let journal = self.journal.as_ref();
        self.interceptor.acquire_lease(journal, deployment).await
    }

    fn session(&self) -> Option<Arc<dyn Session>> {
        self.interceptor.session(self.journal.as_ref())
    }

    async fn raise_fence(&self, fence: Fence) -> Result<bool, ReadError> {
        self.journal.raise_fence(fence).await
    }

    async fn append(&self, append: Append) -> Result<Head, AppendError> {
        let journal = self.journal.as_ref();
        self.interceptor.append(journal, append).await
    }

    async fn events(
        &self,
        deployment: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>, ReadError> {
        let journal = self.journal.as_ref();
        self.interceptor
            .events(journal, deployment, from, limit)
            .await
    }

    async fn readable_events(
        &self,
        deployment: DeploymentId,
        from: u64,
    ) -> Result<Vec<Event>, ReadError> {
        let journal = self.journal.as_ref();
        self.interceptor
            .readable_events(journal, deployment, from)
            .await
    }

    async fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
        self.journal.events_after(position, limit).await
    }

    async fn last_position(&self) -> Result<u64, ReadError> {
        self.journal.last_position().await
    }

    fn epoch(&self) -> Arc<str> {
        self.journal.epoch()
    }

    fn epochs(&self) -> watch::Receiver<Arc<str>> {
        self.journal.epochs()
    }

    async fn head(&self, deployment: DeploymentId) -> Result<Head, ReadError> {
        self.journal.head(deployment).await
    }

    async fn record(&self, deployment: DeploymentId) -> Result<DeploymentRecord, ReadError> {
        self.journal.record(deployment).await
    }

    async fn open_deployment(
        &self,
        module: &ModuleName,
        environment: &Environment,
    ) -> Result<Option<DeploymentId>, ReadError> {
        self.journal.open_deployment(module, environment).await
    }

    async fn open_deployments(&self) -> Result<Vec<DeploymentId>, ReadError> {
        self.journal.open_deployments().await
    }

    async fn find_request(
        &self,
        requester: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<DeploymentId>, ReadError> {
        self.journal.find_request(requester, key).await
    }

    async fn list(&self, query: &Query) -> Result<Page, ReadError> {
        self.journal.list(query).await
    }

    async fn succeeded_deployments(
        &self,
        module: &ModuleName,
        environment: &Environment,
        limit: usize,
    ) -> Result<Vec<DeploymentId>, ReadError> {
        self.journal
            .succeeded_deployments(module, environment, limit)
            .await
    }

    async fn current_deployments(
        &self,
        environment: Option<&Environment>,
    ) -> Result<Vec<DeploymentId>, ReadError> {
        self.journal.current_deployments(environment).await
    }

    async fn delete(&self, deployment: DeploymentId) -> Result<(), DeleteError> {
        let journal = self.journal.as_ref();
        self.interceptor.delete(journal, deployment).await
    }

    async fn deleted_through(&self) -> Result<u64, ReadError> {
        self.journal.deleted_through().await
    }

    async fn is_full(&self) -> bool {
        self.journal.is_full().await
    }

    async fn usage(&self) -> Result<Usage, ReadError> {
        self.journal.usage().await
    }

    async fn put_snapshot(&self, snapshot: NewSnapshot) -> Result<(), ReadError> {
        self.journal.put_snapshot(snapshot).await
    }

    async fn snapshot(&self, deployment: DeploymentId) -> Result<Option<Snapshot>, ReadError> {
        self.journal.snapshot(deployment).await
    }

    async fn summaries(
        &self,
        deployments: &[DeploymentId],
    ) -> Result<Vec<Option<Snapshot>>, ReadError> {
        self.interceptor
            .summaries(self.journal.as_ref(), deployments)
            .await
    }

    async fn ended_without_snapshot(
        &self,
        format: u32,
        before: Option<DeploymentId>,
        limit: usize,
    ) -> Result<Vec<DeploymentId>, ReadError> {
        self.journal
            .ended_without_snapshot(format, before, limit)
            .await
    }

    fn subscribe(&self) -> broadcast::Receiver<Appended> {
        self.interceptor.subscribe(self.journal.as_ref())
    }
}
