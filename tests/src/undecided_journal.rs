use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{Environment, Fence, ModuleName, NodeId, Timestamp};
use hotswap_store::{
    AppendToEnvironmentError, Decision, EnvironmentAppend, EnvironmentAppended, EnvironmentEntry,
    EnvironmentJournal, LeaseError, PastDecision, PastPlace, ReadError,
};
use tokio::sync::broadcast;

/// The journals of environments in which nothing is decided: their nodes are left alone. For
/// tests that write journals of deployments without having deployed anything.
pub struct UndecidedJournal(Arc<dyn EnvironmentJournal>);

impl UndecidedJournal {
    /// Wraps `journal`.
    pub fn wrap(journal: Arc<dyn EnvironmentJournal>) -> Arc<Self> {
        Arc::new(Self(journal))
    }
}

#[async_trait]
impl EnvironmentJournal for UndecidedJournal {
    async fn acquire_environment_lease(
        &self,
        environment: &Environment,
    ) -> Result<Fence, LeaseError> {
        self.0.acquire_environment_lease(environment).await
    }

    async fn append_to_environment(
        &self,
        append: EnvironmentAppend,
    ) -> Result<u64, AppendToEnvironmentError> {
        self.0.append_to_environment(append).await
    }

    async fn environment_events_after(
        &self,
        environment: Option<&Environment>,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let events = self
            .0
            .environment_events_after(environment, position, limit);
        events.await
    }

    async fn environment_events_before(
        &self,
        environment: &Environment,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let events = self
            .0
            .environment_events_before(environment, position, limit);
        events.await
    }

    async fn decided_environments(&self) -> Result<Vec<Environment>, ReadError> {
        Ok(Vec::new())
    }

    async fn decisions(&self, _: &Environment) -> Result<Vec<(ModuleName, Decision)>, ReadError> {
        Ok(Vec::new())
    }

    async fn cordons(&self) -> Result<Vec<(NodeId, EnvironmentEntry)>, ReadError> {
        self.0.cordons().await
    }

    async fn arrivals(&self) -> Result<Vec<EnvironmentEntry>, ReadError> {
        self.0.arrivals().await
    }

    async fn policies(&self) -> Result<Vec<EnvironmentEntry>, ReadError> {
        self.0.policies().await
    }

    async fn past_decisions(
        &self,
        _: &ModuleName,
        _: &Environment,
        _: Option<PastPlace>,
        _: usize,
    ) -> Result<Vec<PastDecision>, ReadError> {
        Ok(Vec::new())
    }

    async fn delete_environment_events(&self, before: Timestamp) -> Result<usize, ReadError> {
        self.0.delete_environment_events(before).await
    }

    fn subscribe_to_environments(&self) -> broadcast::Receiver<EnvironmentAppended> {
        self.0.subscribe_to_environments()
    }
}
