//! [`Journal`] for [`Redis`].

use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{
    Append, Damage, DeploymentId, Environment, Event, Fence, Header, IdempotencyKey, ModuleName,
    Timestamp,
};
use tokio::sync::{broadcast, watch};

use super::commands::random_word;
use super::error::Error;
use super::queries::{PAGE, list_of};
use super::reply::{Args, Reply};
use super::{Redis, row, script};
use crate::Session;
use crate::journal::{
    AppendError, Appended, CreateError, DeleteError, DeploymentRecord, Entry, Head, Journal, Lease,
    LeaseError, NewSnapshot, Page, Query, ReadError, Snapshot, Usage,
};

/// Positions and numbers are exact in the server's scripts below this.
const MAX_NUMBER: u64 = 1 << 53;

#[async_trait]
impl Journal for Redis {
    async fn create(&self, header: Header, at: Timestamp) -> Result<(), CreateError> {
        self.create_journal(header, at).await
    }

    async fn acquire_lease(&self, deployment: DeploymentId) -> Result<Lease, LeaseError> {
        let session = self.inner.session.id();
        let args = Args::new().text(deployment.to_string()).text(session);
        let reply = self.inner.commands.write(&script::ACQUIRE_LEASE, args);
        let reply = reply.await?;
        match reply.word()? {
            "acquired" => {
                let head = self
                    .head_of(deployment, reply.text(2)?, reply.bytes(3)?)
                    .await?;
                self.inner.heads.put(deployment, head);
                self.inner.witness.saw_fence(reply.number(1)?);
                Ok(Lease {
                    fence: Fence(reply.number(1)?),
                    previous: Some(Fence(reply.number(4)?)).filter(|fence| *fence != Fence(0)),
                    head,
                    lost_at: reply.number(5)?,
                })
            }
            "held" => Err(LeaseError::Held(reply.text(1)?.to_owned())),
            "lapsed" => Err(Error::Lapsed.into()),
            _ => Err(LeaseError::Unknown(deployment)),
        }
    }

    fn session(&self) -> Option<Arc<dyn Session>> {
        Some(Arc::clone(&self.inner.session) as Arc<dyn Session>)
    }

    async fn raise_fence(&self, fence: Fence) -> Result<bool, ReadError> {
        let fence = fence.0.min(MAX_NUMBER);
        let last = Args::new().text("fence");
        let last = self.inner.commands.read_list(&script::META, last);
        let last = last.await?.number(0)?;
        if fence <= last {
            // Also if no lease of this engine has it: the store may lose it.
            self.inner.witness.saw_fence(last);
            return Ok(false);
        }
        let args = Args::new().number(fence).text(random_word());
        let raised = self.inner.commands.write(&script::RAISE_FENCE, args);
        let raised = raised.await?;
        let is_raised = raised.word()? == "raised";
        if is_raised {
            self.inner.witness.saw_fence(fence);
            // The log tells it; the caller reads the new epoch at once.
            let mut epoch = self.inner.epoch.clone();
            let new = raised.text(1)?;
            let arrived = epoch.wait_for(|epoch| **epoch == *new);
            let _ = tokio::time::timeout(super::tail::BLOCK, arrived).await;
        }
        Ok(is_raised)
    }

    async fn append(&self, append: Append) -> Result<Head, AppendError> {
        self.append_events(append).await
    }

    async fn events(
        &self,
        deployment: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>, ReadError> {
        let mut events = Vec::new();
        loop {
            let next = from.saturating_add(events.len() as u64);
            let rows = self.rows(deployment, next, limit - events.len()).await?;
            for index in 0..rows.len() {
                let seq = next + index as u64;
                let event = row::read_event(seq, rows.bytes(index)?)?.decode_as(seq);
                events.push(event.map_err(ReadError::Damaged)?);
            }
            if rows.len() < PAGE || events.len() >= limit {
                break;
            }
        }
        // Every journal has an event 0.
        if from == 0 && limit > 0 && events.is_empty() {
            return Err(ReadError::Damaged(Damage::missing(0, 1, None)));
        }
        Ok(events)
    }

    async fn readable_events(
        &self,
        deployment: DeploymentId,
        from: u64,
    ) -> Result<Vec<Event>, ReadError> {
        let (mut events, mut next) = (Vec::new(), from);
        loop {
            let rows = self.rows(deployment, next, PAGE).await?;
            for index in 0..rows.len() {
                let event = row::read_event(next, rows.bytes(index)?);
                events.extend(event.ok().and_then(|event| event.decode().ok()));
                next += 1;
            }
            if rows.len() < PAGE {
                return Ok(events);
            }
        }
    }

    async fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
        let mut entries = Vec::new();
        let mut from = position.min(MAX_NUMBER) + 1;
        while entries.len() < limit {
            let page = PAGE.min(limit - entries.len());
            let args = Args::new().number(from).number(page as u64);
            let found = self.inner.commands.read_list(&script::EVENTS_AFTER, args);
            let found = found.await?;
            for entry in 0..(found.len() - 1) / 3 {
                let (seq, bytes) = (found.number(3 * entry + 2)?, found.bytes(3 * entry + 3)?);
                let stored = row::read_event(seq, bytes)?;
                entries.push(Entry {
                    deployment: found.parse(3 * entry + 1, "the id of a deployment")?,
                    position: stored.position,
                    event: stored.decode(),
                });
            }
            if found.text(0)?.is_empty() {
                break;
            }
            from = found.number(0)?;
        }
        Ok(entries)
    }

    async fn last_position(&self) -> Result<u64, ReadError> {
        Ok(self.meta("position").await?)
    }

    fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.inner.epoch.borrow())
    }

    fn epochs(&self) -> watch::Receiver<Arc<str>> {
        self.inner.epoch.clone()
    }

    async fn record(&self, deployment: DeploymentId) -> Result<DeploymentRecord, ReadError> {
        let args = Args::new().text(deployment.to_string());
        let found = self.inner.commands.read(&script::RECORD, args).await?;
        let found = Reply::optional(found)?.ok_or(ReadError::Unknown(deployment))?;
        Ok(DeploymentRecord {
            module: found.parse(2, "the name of a module")?,
            environment: found.parse(3, "an environment")?,
            created_at: Timestamp::from_millis(found.number(4)?),
            head: self
                .head_of(deployment, found.text(0)?, found.bytes(1)?)
                .await?,
        })
    }

    async fn open_deployment(
        &self,
        module: &ModuleName,
        environment: &Environment,
    ) -> Result<Option<DeploymentId>, ReadError> {
        Ok(self
            .lookup("running", format!("{environment}/{module}"))
            .await?)
    }

    async fn open_deployments(&self) -> Result<Vec<DeploymentId>, ReadError> {
        let found = self
            .inner
            .commands
            .read_list(&script::OPEN_LIST, Args::new());
        Ok(found.await?.parse_all("the id of a deployment")?)
    }

    async fn find_request(
        &self,
        requester: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<DeploymentId>, ReadError> {
        Ok(self
            .lookup("requests", format!("{requester}\n{key}"))
            .await?)
    }

    async fn list(&self, query: &Query) -> Result<Page, ReadError> {
        let limit = query.limit.clamp(1, PAGE * PAGE);
        let list = list_of(query);
        let args = Args::new()
            .text(list)
            .optional(query.before)
            // One more than asked for tells whether there are more.
            .number(limit as u64 + 1);
        let found = self.inner.commands.read(&script::LIST, args).await?;
        let unknown =
            || ReadError::Unknown(query.before.unwrap_or(DeploymentId::from_bytes([0; 16])));
        let found = Reply::optional(found)?.ok_or_else(unknown)?;
        let mut deployments = found.parse_all("the id of a deployment")?;
        let more = deployments.len() > limit;
        deployments.truncate(limit);
        Ok(Page { deployments, more })
    }

    async fn succeeded_deployments(
        &self,
        module: &ModuleName,
        environment: &Environment,
        limit: usize,
    ) -> Result<Vec<DeploymentId>, ReadError> {
        let args = Args::new()
            .text(format!("succeeded:{environment}/{module}"))
            .text("")
            .number(limit.min(PAGE * PAGE) as u64);
        let found = self.inner.commands.read_list(&script::LIST, args).await?;
        Ok(found.parse_all("the id of a deployment")?)
    }

    async fn current_deployments(
        &self,
        environment: Option<&Environment>,
    ) -> Result<Vec<DeploymentId>, ReadError> {
        let args = Args::new().text("successes").optional(environment);
        let found = self.inner.commands.read_list(&script::DECISIONS, args);
        let found = found.await?;
        let ids =
            (0..found.len() / 3).map(|one| found.parse(3 * one + 2, "the id of a deployment"));
        Ok(ids.collect::<Result<_, _>>()?)
    }

    async fn delete(&self, deployment: DeploymentId) -> Result<(), DeleteError> {
        let args = Args::new().text(deployment.to_string());
        let deleted = self.inner.commands.write(&script::DELETE, args).await?;
        match deleted.word()? {
            "deleted" => {
                self.forget(deployment);
                Ok(())
            }
            "open" => Err(DeleteError::Open(deployment)),
            _ => Err(DeleteError::Unknown(deployment)),
        }
    }

    async fn deleted_through(&self) -> Result<u64, ReadError> {
        Ok(self.meta("deleted").await?)
    }

    async fn is_full(&self) -> bool {
        self.inner.memory.is_full(&self.inner.commands).await
    }

    async fn usage(&self) -> Result<Usage, ReadError> {
        let counts = self.inner.commands.read_list(&script::USAGE, Args::new());
        let counts = counts.await?;
        let (open, all) = (counts.number(0)?, counts.number(1)?);
        let memory = self.inner.memory.read(&self.inner.commands).await?;
        Ok(Usage {
            open_deployments: open,
            ended_deployments: all.saturating_sub(open),
            database_bytes: memory.used,
            reusable_bytes: 0,
            reserve_bytes: memory.reserve(),
            free_bytes: memory.free(),
        })
    }

    async fn put_snapshot(&self, snapshot: NewSnapshot) -> Result<(), ReadError> {
        let args = Args::new()
            .text(snapshot.deployment.to_string())
            .number(snapshot.format.into())
            .number(snapshot.next_seq)
            .flag(snapshot.ended)
            .bytes(snapshot.summary)
            .bytes(snapshot.state);
        self.inner
            .commands
            .write(&script::PUT_SNAPSHOT, args)
            .await?;
        Ok(())
    }

    async fn snapshot(&self, deployment: DeploymentId) -> Result<Option<Snapshot>, ReadError> {
        Ok(self
            .snapshots("state", &[deployment])
            .await?
            .pop()
            .flatten())
    }

    async fn summaries(
        &self,
        deployments: &[DeploymentId],
    ) -> Result<Vec<Option<Snapshot>>, ReadError> {
        Ok(self.snapshots("summary", deployments).await?)
    }

    async fn ended_without_snapshot(
        &self,
        format: u32,
        before: Option<DeploymentId>,
        limit: usize,
    ) -> Result<Vec<DeploymentId>, ReadError> {
        let args = Args::new()
            .number(format.into())
            .optional(before)
            .number(limit.min(PAGE) as u64);
        let found = self
            .inner
            .commands
            .read_list(&script::WITHOUT_SNAPSHOT, args);
        Ok(found.await?.parse_all("the id of a deployment")?)
    }

    fn subscribe(&self) -> broadcast::Receiver<Appended> {
        self.inner.subscribers.subscribe()
    }
}
