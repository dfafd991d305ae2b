use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use hotswap_core::{Append, DeploymentId, Environment, Event, Header, ModuleName, Timestamp};
use hotswap_store::{
    AppendError, Appended, CreateError, Entry, Head, Journal, Lease, Page, Query, ReadError,
};
use tokio::sync::{Notify, broadcast};

/// On which side of an append the engine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// What was to be appended is lost.
    Before,
    /// It is in the journal, and the engine does not know.
    After,
}

/// Where the engine stops: on one side of the append with this number, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    /// The number of the append of the engine.
    pub append: u64,
    /// The side.
    pub moment: Moment,
}

/// A journal whose appends by the engine stop for ever at a chosen one, as if the process
/// had ended there. What people append is not counted.
pub struct Crashing {
    journal: Arc<dyn Journal>,
    crash: Option<Crash>,
    appends: AtomicU64,
    stopped: Notify,
}

impl Crashing {
    /// Stops at `crash`; counts only, where that is none.
    pub fn new(journal: Arc<dyn Journal>, crash: Option<Crash>) -> Arc<Self> {
        let (appends, stopped) = (AtomicU64::new(0), Notify::new());
        Arc::new(Self {
            journal,
            crash,
            appends,
            stopped,
        })
    }

    /// Appends of the engine so far.
    pub fn appends(&self) -> u64 {
        self.appends.load(Ordering::SeqCst)
    }

    /// Comes back once the engine has been stopped.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
    }

    async fn stop(&self) -> ! {
        self.stopped.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Journal for Crashing {
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
        let number = self.appends.fetch_add(1, Ordering::SeqCst);
        let crash = self.crash.filter(|crash| crash.append == number);
        if crash.is_some_and(|crash| crash.moment == Moment::Before) {
            self.stop().await;
        }
        let appended = self.journal.append(append).await;
        if crash.is_some() {
            self.stop().await;
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
