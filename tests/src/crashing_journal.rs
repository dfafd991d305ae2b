use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use hotswap_core::{Append, DeploymentId, Environment, Event, Header, ModuleName, Timestamp};
use hotswap_store::{
    AppendError, Appended, CreateError, Entry, Head, Journal, Lease, Page, Query, ReadError,
};
use tokio::sync::{Notify, broadcast};

/// Whether the engine crashes before or after an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashTiming {
    /// The append is lost.
    BeforeAppend,
    /// The append is in the journal, but the engine gets no answer.
    AfterAppend,
}

/// Where the engine crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashPoint {
    /// Number of the engine's append, counted from 0.
    pub append: u64,
    /// Before or after it.
    pub timing: CrashTiming,
}

/// A journal that simulates a crash of the engine: a chosen append never returns.
///
/// Only the engine's own appends count, those with a fence. What users append, such as an
/// abort, does not.
pub struct CrashingJournal {
    journal: Arc<dyn Journal>,
    crash_point: Option<CrashPoint>,
    append_count: AtomicU64,
    crashed: Notify,
}

impl CrashingJournal {
    /// Crashes at `crash_point`. With `None` it only counts appends.
    pub fn new(journal: Arc<dyn Journal>, crash_point: Option<CrashPoint>) -> Arc<Self> {
        let (append_count, crashed) = (AtomicU64::new(0), Notify::new());
        Arc::new(Self {
            journal,
            crash_point,
            append_count,
            crashed,
        })
    }

    /// How often the engine has appended.
    pub fn append_count(&self) -> u64 {
        self.append_count.load(Ordering::SeqCst)
    }

    /// Waits until the crash point is reached.
    pub async fn wait_for_crash(&self) {
        self.crashed.notified().await;
    }

    async fn hang_forever(&self) -> ! {
        self.crashed.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Journal for CrashingJournal {
    async fn create(&self, header: Header, at: Timestamp) -> Result<(), CreateError> {
        self.journal.create(header, at).await
    }

    async fn acquire_lease(&self, deployment: DeploymentId) -> Result<Lease, ReadError> {
        self.journal.acquire_lease(deployment).await
    }

    async fn append(&self, append: Append) -> Result<Head, AppendError> {
        if append.fence.is_none() {
            return self.journal.append(append).await;
        }
        let number = self.append_count.fetch_add(1, Ordering::SeqCst);
        let crash_point = self
            .crash_point
            .filter(|crash_point| crash_point.append == number);
        if crash_point.is_some_and(|crash_point| crash_point.timing == CrashTiming::BeforeAppend) {
            self.hang_forever().await;
        }
        let appended = self.journal.append(append).await;
        if crash_point.is_some() {
            self.hang_forever().await;
        }
        appended
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
