use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use hotswap_core::{
    Append, DeploymentId, Environment, Event, EventBody, Header, ModuleName, Timestamp,
};
use hotswap_store::{
    AppendError, Appended, CreateError, Entry, Head, Journal, Lease, Page, Query, ReadError,
};
use tokio::sync::broadcast;

/// A journal in which a person always wins the race: right before the engine appends a certain
/// event for the first time, the person's event is appended.
pub struct RacingJournal {
    journal: Arc<dyn Journal>,
    is_target: fn(&EventBody) -> bool,
    body: EventBody,
    has_raced: AtomicBool,
    result: Mutex<Option<Result<Head, AppendError>>>,
}

impl RacingJournal {
    /// Appends `body` right before the first event that `is_target` accepts.
    pub fn new(
        journal: Arc<dyn Journal>,
        is_target: fn(&EventBody) -> bool,
        body: EventBody,
    ) -> Arc<Self> {
        Arc::new(Self {
            journal,
            is_target,
            body,
            has_raced: AtomicBool::new(false),
            result: Mutex::new(None),
        })
    }

    /// What came of the person's append; `None` before it was tried.
    pub fn take_result(&self) -> Option<Result<Head, AppendError>> {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        result.take()
    }
}

#[async_trait]
impl Journal for RacingJournal {
    async fn append(&self, append: Append) -> Result<Head, AppendError> {
        let races = append.fence.is_some() && append.bodies.iter().any(self.is_target);
        if races && !self.has_raced.swap(true, Ordering::SeqCst) {
            let first = Append {
                fence: None,
                bodies: vec![self.body.clone()],
                ..append.clone()
            };
            let result = self.journal.append(first).await;
            *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
        self.journal.append(append).await
    }

    async fn create(&self, header: Header, at: Timestamp) -> Result<(), CreateError> {
        self.journal.create(header, at).await
    }

    async fn acquire_lease(&self, deployment: DeploymentId) -> Result<Lease, ReadError> {
        self.journal.acquire_lease(deployment).await
    }

    async fn events(
        &self,
        deployment: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>, ReadError> {
        self.journal.events(deployment, from, limit).await
    }

    async fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
        self.journal.events_after(position, limit).await
    }

    async fn last_position(&self) -> Result<u64, ReadError> {
        self.journal.last_position().await
    }

    fn epoch(&self) -> &str {
        self.journal.epoch()
    }

    async fn head(&self, deployment: DeploymentId) -> Result<Head, ReadError> {
        self.journal.head(deployment).await
    }

    async fn open_deployments(&self) -> Result<Vec<DeploymentId>, ReadError> {
        self.journal.open_deployments().await
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

    fn subscribe(&self) -> broadcast::Receiver<Appended> {
        self.journal.subscribe()
    }
}
