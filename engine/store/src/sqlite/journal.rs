//! [`Journal`] for [`Sqlite`].

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{
    Append, DeploymentId, Environment, Event, EventBody, Fence, Header, IdempotencyKey, ModuleName,
    Timestamp,
};
use rusqlite::Connection;
use tokio::sync::{broadcast, watch};

use super::command::Command;
use super::deletion::{self, Deletion};
use super::encoded_events::EncodedEvents;
use super::error::Error;
use super::{Sqlite, query, reserve, snapshot, success_query, usage};
use crate::journal::{
    AppendError, Appended, CreateError, DeleteError, DeploymentRecord, Entry, Head, Journal, Lease,
    LeaseError, NewSnapshot, Page, Query, ReadError, Snapshot, Usage,
};

#[async_trait]
impl Journal for Sqlite {
    async fn create(&self, header: Header, at: Timestamp) -> Result<(), CreateError> {
        if self.is_full().await {
            return Err(CreateError::Full);
        }
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

    async fn acquire_lease(&self, deployment: DeploymentId) -> Result<Lease, LeaseError> {
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

    fn epochs(&self) -> watch::Receiver<Arc<str>> {
        self.inner.epoch.clone()
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

    async fn open_deployment(
        &self,
        module: &ModuleName,
        environment: &Environment,
    ) -> Result<Option<DeploymentId>, ReadError> {
        let (module, environment) = (module.clone(), environment.clone());
        let open =
            self.read(move |connection| query::open_deployment(connection, &module, &environment));
        Ok(open.await?)
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
            success_query::succeeded_deployments(connection, &module, &environment, limit)
        });
        Ok(deployments.await?)
    }

    async fn current_deployments(
        &self,
        environment: Option<&Environment>,
    ) -> Result<Vec<DeploymentId>, ReadError> {
        let environment = environment.cloned();
        let deployments = self.read(move |connection| {
            success_query::current_deployments(connection, environment.as_ref())
        });
        Ok(deployments.await?)
    }

    async fn delete(&self, deployment: DeploymentId) -> Result<(), DeleteError> {
        let delete = move |connection: &Connection| deletion::delete(connection, deployment);
        match self.edit(delete).await? {
            Deletion::Deleted => Ok(()),
            Deletion::Unknown => Err(DeleteError::Unknown(deployment)),
            Deletion::Open => Err(DeleteError::Open(deployment)),
        }
    }

    async fn deleted_through(&self) -> Result<u64, ReadError> {
        Ok(self.read(query::deleted_through).await?)
    }

    async fn is_full(&self) -> bool {
        let reserve = Arc::clone(&self.inner.reserve);
        if !reserve.is_released() {
            return false;
        }
        // There may be room again.
        let restored = tokio::task::spawn_blocking(move || reserve.restore());
        !restored.await.unwrap_or(false)
    }

    async fn usage(&self) -> Result<Usage, ReadError> {
        let (path, reserve) = (self.inner.path.clone(), Arc::clone(&self.inner.reserve));
        let usage = self.read(usage::read).await?;
        let disk = tokio::task::spawn_blocking(move || {
            let folder = path.parent().unwrap_or(Path::new("."));
            let free_bytes = reserve::free_bytes(folder);
            Ok::<_, Error>(Usage {
                database_bytes: usage::database_bytes(&path),
                reserve_bytes: reserve.size(),
                free_bytes: free_bytes.map_err(|source| Error::Folder { path, source })?,
                ..usage
            })
        });
        // Fails if the runtime is shutting down.
        Ok(disk.await.map_err(|_| Error::Closed)??)
    }

    async fn put_snapshot(&self, snapshot: NewSnapshot) -> Result<(), ReadError> {
        if self.inner.reserve.is_released() {
            return Err(Error::Full.into());
        }
        let put = move |connection: &Connection| snapshot::put(connection, &snapshot);
        Ok(self.edit(put).await?)
    }

    async fn snapshot(&self, deployment: DeploymentId) -> Result<Option<Snapshot>, ReadError> {
        let snapshot = self.read(move |connection| snapshot::state(connection, deployment));
        Ok(snapshot.await?)
    }

    async fn summaries(
        &self,
        deployments: &[DeploymentId],
    ) -> Result<Vec<Option<Snapshot>>, ReadError> {
        let deployments = deployments.to_vec();
        let summaries = self.read(move |connection| snapshot::summaries(connection, &deployments));
        Ok(summaries.await?)
    }

    async fn ended_without_snapshot(
        &self,
        format: u32,
        before: Option<DeploymentId>,
        limit: usize,
    ) -> Result<Vec<DeploymentId>, ReadError> {
        let missing =
            self.read(move |connection| snapshot::missing(connection, format, before, limit));
        Ok(missing.await?)
    }

    fn subscribe(&self) -> broadcast::Receiver<Appended> {
        self.inner.subscribers.subscribe()
    }
}
