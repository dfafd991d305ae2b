use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use hotswap_core::{Environment, EnvironmentEventBody, Fence, ModuleName, NodeId, Timestamp};
use hotswap_store::{
    AppendToEnvironmentError, Decision, EnvironmentAppend, EnvironmentAppended, EnvironmentEntry,
    EnvironmentJournal, LeaseError, PastDecision, PastPlace, ReadError,
};
use tokio::sync::broadcast;

/// Journals of environments in which another engine always wins the race: it acts after this engine
/// has decided, and right before this engine appends.
pub struct RacingEnvironmentJournal {
    journal: Arc<dyn EnvironmentJournal>,
    race: Mutex<Option<Race>>,
    /// Whether another engine holds all leases.
    is_held: AtomicBool,
}

struct Race {
    is_target: fn(&EnvironmentEventBody) -> bool,
    action: BoxFuture<'static, ()>,
}

impl RacingEnvironmentJournal {
    /// Wraps `journal`.
    pub fn wrap(journal: Arc<dyn EnvironmentJournal>) -> Arc<Self> {
        Arc::new(Self {
            journal,
            race: Mutex::new(None),
            is_held: AtomicBool::new(false),
        })
    }

    /// Another engine acquires the lease of an environment, and holds it and all others from now
    /// on.
    ///
    /// # Panics
    /// If the store fails.
    pub async fn take_lease(&self, environment: &Environment) {
        let acquired = self.journal.acquire_environment_lease(environment).await;
        acquired.expect("the store hands out leases");
        self.is_held.store(true, Ordering::SeqCst);
    }

    /// From now on, no other engine holds a lease.
    pub fn give_lease_back(&self) {
        self.is_held.store(false, Ordering::SeqCst);
    }

    /// Lets `action` happen right before the next append with an event that `is_target` accepts.
    pub fn before(
        &self,
        is_target: fn(&EnvironmentEventBody) -> bool,
        action: impl Future<Output = ()> + Send + 'static,
    ) {
        let action = Box::pin(action);
        *self.race.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Race { is_target, action });
    }

    /// Whether the race that was asked for has happened.
    pub fn has_raced(&self) -> bool {
        let race = self.race.lock().unwrap_or_else(PoisonError::into_inner);
        race.is_none()
    }
}

#[async_trait]
impl EnvironmentJournal for RacingEnvironmentJournal {
    async fn acquire_environment_lease(
        &self,
        environment: &Environment,
    ) -> Result<Fence, LeaseError> {
        if self.is_held.load(Ordering::SeqCst) {
            return Err(LeaseError::Held("another".to_owned()));
        }
        self.journal.acquire_environment_lease(environment).await
    }

    async fn append_to_environment(
        &self,
        append: EnvironmentAppend,
    ) -> Result<u64, AppendToEnvironmentError> {
        let race = {
            let mut race = self.race.lock().unwrap_or_else(PoisonError::into_inner);
            race.take_if(|race| append.bodies.iter().any(race.is_target))
        };
        if let Some(race) = race {
            race.action.await;
        }
        self.journal.append_to_environment(append).await
    }

    async fn environment_events_after(
        &self,
        environment: Option<&Environment>,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let journal = &self.journal;
        journal
            .environment_events_after(environment, position, limit)
            .await
    }

    async fn environment_events_before(
        &self,
        environment: &Environment,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let journal = &self.journal;
        journal
            .environment_events_before(environment, position, limit)
            .await
    }

    async fn decided_environments(&self) -> Result<Vec<Environment>, ReadError> {
        self.journal.decided_environments().await
    }

    async fn decisions(
        &self,
        environment: &Environment,
    ) -> Result<Vec<(ModuleName, Decision)>, ReadError> {
        self.journal.decisions(environment).await
    }

    async fn cordons(&self) -> Result<Vec<(NodeId, EnvironmentEntry)>, ReadError> {
        self.journal.cordons().await
    }

    async fn arrivals(&self) -> Result<Vec<EnvironmentEntry>, ReadError> {
        self.journal.arrivals().await
    }

    async fn policies(&self) -> Result<Vec<EnvironmentEntry>, ReadError> {
        self.journal.policies().await
    }

    async fn past_decisions(
        &self,
        module: &ModuleName,
        environment: &Environment,
        before: Option<PastPlace>,
        limit: usize,
    ) -> Result<Vec<PastDecision>, ReadError> {
        let journal = &self.journal;
        journal
            .past_decisions(module, environment, before, limit)
            .await
    }

    async fn delete_environment_events(&self, before: Timestamp) -> Result<usize, ReadError> {
        self.journal.delete_environment_events(before).await
    }

    fn subscribe_to_environments(&self) -> broadcast::Receiver<EnvironmentAppended> {
        self.journal.subscribe_to_environments()
    }
}
