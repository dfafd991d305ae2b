//! [`EnvironmentJournal`] for [`Sqlite`].

use async_trait::async_trait;
use hotswap_core::{Environment, EnvironmentEventBody, Fence, ModuleName, NodeId, Timestamp};
use tokio::sync::broadcast;

use super::command::Command;
use super::error::Error;
use super::{Sqlite, environment_query, past_decisions};
use crate::{
    AppendToEnvironmentError, Decision, EnvironmentAppend, EnvironmentAppended, EnvironmentEntry,
    EnvironmentJournal, LeaseError, PastDecision, PastPlace, ReadError,
};

#[async_trait]
impl EnvironmentJournal for Sqlite {
    async fn acquire_environment_lease(
        &self,
        environment: &Environment,
    ) -> Result<Fence, LeaseError> {
        let environment = environment.clone();
        let acquired =
            self.execute(|reply| Command::AcquireEnvironmentLease { environment, reply });
        Ok(acquired.await??)
    }

    async fn append_to_environment(
        &self,
        append: EnvironmentAppend,
    ) -> Result<u64, AppendToEnvironmentError> {
        if self.inner.reserve.is_released() {
            return Err(AppendToEnvironmentError::Full);
        }
        let encode = |body: &EnvironmentEventBody| {
            body.encode().map_err(|source| Error::Encode {
                what: "an event",
                source,
            })
        };
        let events = append.bodies.iter().map(encode).collect::<Result<_, _>>()?;
        let appended = self.execute(|reply| Command::AppendToEnvironment {
            append,
            events,
            reply,
        });
        appended.await?.map(|appended| appended.position)
    }

    async fn environment_events_after(
        &self,
        environment: Option<&Environment>,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let environment = environment.cloned();
        let events = self.read(move |connection| {
            environment_query::events_after(connection, environment.as_ref(), position, limit)
        });
        Ok(events.await?)
    }

    async fn environment_events_before(
        &self,
        environment: &Environment,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EnvironmentEntry>, ReadError> {
        let environment = environment.clone();
        let events = self.read(move |connection| {
            environment_query::events_before(connection, &environment, position, limit)
        });
        Ok(events.await?)
    }

    async fn decided_environments(&self) -> Result<Vec<Environment>, ReadError> {
        Ok(self.read(environment_query::decided_environments).await?)
    }

    async fn decisions(
        &self,
        environment: &Environment,
    ) -> Result<Vec<(ModuleName, Decision)>, ReadError> {
        let environment = environment.clone();
        let decisions =
            self.read(move |connection| environment_query::decisions(connection, &environment));
        Ok(decisions.await?)
    }

    async fn cordons(&self) -> Result<Vec<(NodeId, EnvironmentEntry)>, ReadError> {
        Ok(self.read(environment_query::cordons).await?)
    }

    async fn arrivals(&self) -> Result<Vec<EnvironmentEntry>, ReadError> {
        Ok(self.read(environment_query::arrivals).await?)
    }

    async fn policies(&self) -> Result<Vec<EnvironmentEntry>, ReadError> {
        Ok(self.read(environment_query::policies).await?)
    }

    async fn past_decisions(
        &self,
        module: &ModuleName,
        environment: &Environment,
        before: Option<PastPlace>,
        limit: usize,
    ) -> Result<Vec<PastDecision>, ReadError> {
        let (module, environment) = (module.clone(), environment.clone());
        let before = before.unwrap_or(PastPlace::NEWEST);
        let past = self.read(move |connection| {
            past_decisions::read(connection, &module, &environment, before, limit)
        });
        Ok(past.await?)
    }

    async fn delete_environment_events(&self, before: Timestamp) -> Result<usize, ReadError> {
        let delete = move |connection: &rusqlite::Connection| {
            environment_query::delete_events(connection, before)
        };
        Ok(self.edit(delete).await?)
    }

    fn subscribe_to_environments(&self) -> broadcast::Receiver<EnvironmentAppended> {
        self.inner.environment_subscribers.subscribe()
    }
}
