//! [`Journal`] for [`Memory`].

use std::sync::Arc;

use async_trait::async_trait;
use hotswap_core::{
    Append, DeploymentId, Environment, Event, EventBody, Fence, Header, IdempotencyKey, Lifecycle,
    ModuleName, Status, Timestamp,
};
use tokio::sync::{broadcast, watch};

use super::Memory;
use super::state::{Deployment, State};
use crate::journal::{
    AppendError, Appended, CreateError, DeleteError, DeploymentRecord, Entry, Head, Journal, Lease,
    LeaseError, NewSnapshot, Page, Query, ReadError, Snapshot, Usage,
};
use crate::supersede::{Superseding, keep_legal};

#[derive(Debug, thiserror::Error)]
#[error("there was a deployment {0} before")]
struct Exists(DeploymentId);

pub(super) fn is_success(status: Status) -> bool {
    matches!(status, Status::Succeeded | Status::Partial)
}

impl State {
    fn create(&mut self, header: Header, at: Timestamp) -> Result<Vec<Appended>, CreateError> {
        let key = header.idempotency.as_ref().map(|one| one.key.clone());
        let request = key.map(|key| (header.requester.subject.clone(), key));
        let mut all = self.deployments.values();
        if let Some(first) = all.find(|one| request.is_some() && one.request == request) {
            return Err(CreateError::Repeated(first.id));
        }
        let (module, environment) = (header.module.name.clone(), header.environment.clone());
        let open = self.open(&module, &environment, false);
        match (open, header.supersedes) {
            (Some(open), supersedes) if supersedes != Some(open) => {
                return Err(CreateError::Busy(open));
            }
            (None, Some(ended)) => return Err(CreateError::NothingToSupersede(ended)),
            _ => {}
        }
        if let Some(undone) = header.undo_from
            && !self.should_still_run(&header, undone)
        {
            return Err(CreateError::NothingToUndo(undone));
        }
        let id = header.id;
        if self.numbers.contains_key(&id) {
            return Err(CreateError::Store(Box::new(Exists(id))));
        }
        let mut appended = Vec::new();
        if let Some(open) = open {
            let waiting = self.open(&module, &environment, true);
            let superseding = Superseding::by(&header);
            appended.extend(self.push_legal(open, superseding.open, at));
            appended.extend(waiting.and_then(|id| self.push_legal(id, superseding.waiting, at)));
        }
        self.last_number += 1;
        self.numbers.insert(id, self.last_number);
        let deployment = Deployment {
            id,
            module,
            environment,
            selector: header.selector.as_ref().map(ToString::to_string),
            request,
            waits: open.is_some(),
            fence: Fence(0),
            lifecycle: Lifecycle::INITIAL,
            created_at: at,
            events: Vec::new(),
            snapshot: None,
        };
        self.deployments.insert(self.last_number, deployment);
        let requested = vec![EventBody::Requested(Box::new(header))];
        appended.extend(self.push(id, requested, Lifecycle::INITIAL, at, false));
        Ok(appended)
    }

    /// Appends those of the events that can follow.
    fn push_legal(
        &mut self,
        id: DeploymentId,
        mut bodies: Vec<EventBody>,
        at: Timestamp,
    ) -> Option<Appended> {
        let before = self.find(id)?.lifecycle;
        let after = keep_legal(before, &mut bodies);
        if bodies.is_empty() {
            return None;
        }
        self.push(id, bodies, after, at, false)
    }

    fn append(&mut self, append: Append) -> Result<(Head, Option<Appended>), AppendError> {
        let id = append.deployment;
        let deployment = self.find(id).ok_or(AppendError::Unknown(id))?;
        let head = deployment.head();
        if append.fence.is_some_and(|fence| fence != deployment.fence) {
            return Err(AppendError::Fenced(deployment.fence));
        }
        if append.expected != head.next_seq {
            return Err(AppendError::Conflict(head));
        }
        if append.bodies.is_empty() {
            return Ok((head, None));
        }
        let mut bodies = append.bodies.iter();
        let after = bodies.try_fold(head.lifecycle, Lifecycle::append);
        let after = after.map_err(AppendError::IllegalTransition)?;
        let fenced = append.fence.is_some();
        let appended = self.push(id, append.bodies, after, append.at, fenced);
        Ok((appended.map_or(head, |appended| appended.head), appended))
    }

    /// The ids of the deployments that are wanted, newest first.
    fn newest_first(&self, is_wanted: impl Fn(u64, &Deployment) -> bool) -> Vec<DeploymentId> {
        let all = self.deployments.iter().rev();
        all.filter(|(number, one)| is_wanted(**number, one))
            .map(|(_, one)| one.id)
            .collect()
    }

    fn snapshot(
        &self,
        id: DeploymentId,
        part: impl Fn(&NewSnapshot) -> &Vec<u8>,
    ) -> Option<Snapshot> {
        let snapshot = self.find(id)?.snapshot.as_ref()?;
        Some(Snapshot {
            format: snapshot.format,
            next_seq: snapshot.next_seq,
            body: part(snapshot).clone(),
        })
    }
}

#[async_trait]
impl Journal for Memory {
    async fn create(&self, header: Header, at: Timestamp) -> Result<(), CreateError> {
        let mut state = self.state();
        self.notify(state.create(header, at)?);
        Ok(())
    }

    async fn acquire_lease(&self, deployment: DeploymentId) -> Result<Lease, LeaseError> {
        let mut state = self.state();
        let fence = Fence(state.fence + 1);
        let found = state.find_mut(deployment);
        let found = found.ok_or(LeaseError::Unknown(deployment))?;
        let previous = Some(found.fence).filter(|fence| *fence != Fence(0));
        found.fence = fence;
        let head = found.head();
        state.fence = fence.0;
        let lost_at = state.lost_at;
        Ok(Lease {
            fence,
            previous,
            head,
            lost_at,
        })
    }

    async fn raise_fence(&self, fence: Fence) -> Result<bool, ReadError> {
        let mut state = self.state();
        if fence.0 <= state.fence {
            return Ok(false);
        }
        state.fence = fence.0;
        state.begin_epoch();
        Ok(true)
    }

    async fn append(&self, append: Append) -> Result<Head, AppendError> {
        let mut state = self.state();
        let (head, appended) = state.append(append)?;
        self.notify(Vec::from_iter(appended));
        Ok(head)
    }

    async fn events(
        &self,
        deployment: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>, ReadError> {
        let mut events = self.readable_events(deployment, from).await?;
        events.truncate(limit);
        Ok(events)
    }

    async fn readable_events(
        &self,
        deployment: DeploymentId,
        from: u64,
    ) -> Result<Vec<Event>, ReadError> {
        let state = self.state();
        let found = state.find(deployment);
        let found = found.ok_or(ReadError::Unknown(deployment))?;
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(found.events.iter().skip(from).cloned().collect())
    }

    async fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Entry>, ReadError> {
        let state = self.state();
        let entry = |(position, (number, seq)): (&u64, &(u64, usize))| {
            let deployment = state.deployments.get(number)?;
            Some(Entry {
                deployment: deployment.id,
                position: *position,
                event: Ok(deployment.events.get(*seq)?.clone()),
            })
        };
        let after = state.log.range(position.saturating_add(1)..);
        Ok(after.filter_map(entry).take(limit).collect())
    }

    async fn last_position(&self) -> Result<u64, ReadError> {
        Ok(self.state().position)
    }

    fn epoch(&self) -> Arc<str> {
        Arc::clone(&self.state().epoch.borrow())
    }

    fn epochs(&self) -> watch::Receiver<Arc<str>> {
        self.state().epoch.subscribe()
    }

    async fn record(&self, deployment: DeploymentId) -> Result<DeploymentRecord, ReadError> {
        let state = self.state();
        let found = state.find(deployment);
        let found = found.ok_or(ReadError::Unknown(deployment))?;
        Ok(DeploymentRecord {
            module: found.module.clone(),
            environment: found.environment.clone(),
            created_at: found.created_at,
            head: found.head(),
        })
    }

    async fn open_deployment(
        &self,
        module: &ModuleName,
        environment: &Environment,
    ) -> Result<Option<DeploymentId>, ReadError> {
        Ok(self.state().open(module, environment, false))
    }

    async fn open_deployments(&self) -> Result<Vec<DeploymentId>, ReadError> {
        let mut open = self.state().newest_first(|_, one| one.is_open());
        open.reverse();
        Ok(open)
    }

    async fn find_request(
        &self,
        requester: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<DeploymentId>, ReadError> {
        let request = Some((requester.to_owned(), key.clone()));
        let state = self.state();
        let found = state
            .deployments
            .values()
            .find(|one| one.request == request);
        Ok(found.map(|one| one.id))
    }

    async fn list(&self, query: &Query) -> Result<Page, ReadError> {
        let state = self.state();
        let before = match query.before {
            None => u64::MAX,
            Some(id) => *state.numbers.get(&id).ok_or(ReadError::Unknown(id))?,
        };
        let mut deployments = state.newest_first(|number, one| {
            number < before
                && query.module.as_ref().is_none_or(|name| *name == one.module)
                && query
                    .environment
                    .as_ref()
                    .is_none_or(|name| *name == one.environment)
                && query
                    .status
                    .is_none_or(|status| status == one.lifecycle.status())
        });
        let limit = query.limit.max(1);
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
        let mut found = self.state().newest_first(|_, one| {
            one.is_in(module, environment) && is_success(one.lifecycle.status())
        });
        found.truncate(limit);
        Ok(found)
    }

    async fn current_deployments(
        &self,
        environment: Option<&Environment>,
    ) -> Result<Vec<DeploymentId>, ReadError> {
        Ok(self.state().current_deployments(environment))
    }

    async fn delete(&self, deployment: DeploymentId) -> Result<(), DeleteError> {
        let mut state = self.state();
        let found = state.find(deployment);
        let found = found.ok_or(DeleteError::Unknown(deployment))?;
        if found.is_open() {
            return Err(DeleteError::Open(deployment));
        }
        let positions: Vec<_> = found.events.iter().map(|event| event.position).collect();
        for position in positions {
            state.deleted = state.deleted.max(position);
            state.log.remove(&position);
        }
        if let Some(number) = state.numbers.remove(&deployment) {
            state.deployments.remove(&number);
        }
        Ok(())
    }

    async fn deleted_through(&self) -> Result<u64, ReadError> {
        Ok(self.state().deleted)
    }

    async fn is_full(&self) -> bool {
        false
    }

    async fn usage(&self) -> Result<Usage, ReadError> {
        let state = self.state();
        let all = state.deployments.values();
        let (open, ended): (Vec<_>, Vec<_>) = all.partition(|one| one.is_open());
        Ok(Usage {
            open_deployments: open.len() as u64,
            ended_deployments: ended.len() as u64,
            ..Usage::default()
        })
    }

    async fn put_snapshot(&self, snapshot: NewSnapshot) -> Result<(), ReadError> {
        let mut state = self.state();
        if let Some(found) = state.find_mut(snapshot.deployment) {
            let is_newer = found.snapshot.as_ref().is_some_and(|stored| {
                stored.format == snapshot.format && stored.next_seq > snapshot.next_seq
            });
            if !is_newer {
                found.snapshot = Some(snapshot);
            }
        }
        Ok(())
    }

    async fn snapshot(&self, deployment: DeploymentId) -> Result<Option<Snapshot>, ReadError> {
        Ok(self.state().snapshot(deployment, |one| &one.state))
    }

    async fn summaries(
        &self,
        deployments: &[DeploymentId],
    ) -> Result<Vec<Option<Snapshot>>, ReadError> {
        let state = self.state();
        let summary = |id: &DeploymentId| state.snapshot(*id, |one| &one.summary);
        Ok(deployments.iter().map(summary).collect())
    }

    async fn ended_without_snapshot(
        &self,
        format: u32,
        before: Option<DeploymentId>,
        limit: usize,
    ) -> Result<Vec<DeploymentId>, ReadError> {
        let state = self.state();
        // Nothing is older than a deployment that does not exist.
        let before = before.map_or(u64::MAX, |id| {
            state.numbers.get(&id).copied().unwrap_or_default()
        });
        let mut found = state.newest_first(|number, one| {
            let has_snapshot = one.snapshot.as_ref();
            let has_snapshot = has_snapshot.is_some_and(|one| one.ended && one.format == format);
            number < before && !one.is_open() && !has_snapshot
        });
        found.truncate(limit);
        Ok(found)
    }

    fn subscribe(&self) -> broadcast::Receiver<Appended> {
        self.inner.subscribers.subscribe()
    }
}
