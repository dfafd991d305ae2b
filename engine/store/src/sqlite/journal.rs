//! [`Journal`] for [`Sqlite`].

use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{
    Append, DeploymentId, Environment, Event, EventBody, Fence, Header, IdempotencyKey, ModuleName,
    Timestamp,
};
use tokio::sync::broadcast;

use super::command::Command;
use super::encoded_events::EncodedEvents;
use super::error::Error;
use super::{Sqlite, query};
use crate::journal::{
    AppendError, Appended, CreateError, DeploymentRecord, Entry, Head, Journal, Lease, Page, Query,
    ReadError,
};

#[async_trait]
impl Journal for Sqlite {
    async fn create(&self, header: Header, at: Timestamp) -> Result<(), CreateError> {
        let requested = [EventBody::Requested(Box::new(header))];
        let events = EncodedEvents::encode(&requested)?;
        let [EventBody::Requested(header)] = requested else {
            return Err(Error::Closed.into());
        };
        self.execute(|reply| Command::Create {
            header,
            at,
            events,
            reply,
        })
        .await?
    }

    async fn acquire_lease(&self, deployment: DeploymentId) -> Result<Lease, ReadError> {
        self.execute(|reply| Command::AcquireLease { deployment, reply })
            .await?
    }

    async fn raise_fence(&self, fence: Fence) -> Result<bool, ReadError> {
        let last = self.read(query::last_fence).await?;
        if fence <= last {
            return Ok(false);
        }
        let raised = self.execute(|reply| Command::RaiseFence { fence, reply });
        Ok(raised.await??)
    }

    async fn append(&self, append: Append) -> Result<Head, AppendError> {
        let events = EncodedEvents::encode(&append.bodies)?;
        self.execute(|reply| Command::Append {
            append,
            events,
            reply,
        })
        .await?
    }

    async fn events(
        &self,
        deployment: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>, ReadError> {
        self.read(move |connection| query::events(connection, deployment, from, limit))
            .await?
            .ok_or(ReadError::Unknown(deployment))?
            .map_err(ReadError::Damaged)
    }

    async fn readable_events(
        &self,
        deployment: DeploymentId,
        from: u64,
    ) -> Result<Vec<Event>, ReadError> {
        self.read(move |connection| query::readable_events(connection, deployment, from))
            .await?
            .ok_or(ReadError::Unknown(deployment))
    }

    async fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
        let entries = self.read(move |connection| query::events_after(connection, position, limit));
        Ok(entries.await?)
    }

    async fn last_position(&self) -> Result<u64, ReadError> {
        Ok(self.read(query::last_position).await?)
    }

    fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.inner.epoch.borrow())
    }

    async fn head(&self, deployment: DeploymentId) -> Result<Head, ReadError> {
        self.read(move |connection| query::deployment(connection, deployment))
            .await?
            .map(|row| row.head)
            .ok_or(ReadError::Unknown(deployment))
    }

    async fn record(&self, deployment: DeploymentId) -> Result<DeploymentRecord, ReadError> {
        self.read(move |connection| query::record(connection, deployment))
            .await?
            .ok_or(ReadError::Unknown(deployment))
    }

    async fn open_deployments(&self) -> Result<Vec<DeploymentId>, ReadError> {
        Ok(self.read(query::open_deployments).await?)
    }

    async fn find_request(
        &self,
        requester: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<DeploymentId>, ReadError> {
        let (requester, key) = (requester.to_owned(), key.clone());
        let found = self.read(move |connection| query::find_request(connection, &requester, &key));
        Ok(found.await?)
    }

    async fn list(&self, query: &Query) -> Result<Page, ReadError> {
        let query = query.clone();
        let page = self
            .read(move |connection| query::list(connection, &query))
            .await?;
        page.map_err(ReadError::Unknown)
    }

    async fn succeeded_deployments(
        &self,
        module: &ModuleName,
        environment: &Environment,
        limit: usize,
    ) -> Result<Vec<DeploymentId>, ReadError> {
        let (module, environment) = (module.clone(), environment.clone());
        let deployments = self.read(move |connection| {
            query::succeeded_deployments(connection, &module, &environment, limit)
        });
        Ok(deployments.await?)
    }

    fn subscribe(&self) -> broadcast::Receiver<Appended> {
        self.inner.subscribers.subscribe()
    }
}
