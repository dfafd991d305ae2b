//! The rules of the journal, as SQL statements.

use std::collections::HashMap;

use hotswap_core::{Append, DeploymentId, Fence, Header, IdempotencyKey, Lifecycle, Timestamp};
use rusqlite::{Connection, params};

use super::encoded_events::EncodedEvents;
use super::query::{self, DeploymentRow};
use super::row::{to_json, to_text};
use super::success_query;
use crate::{AppendError, Appended, CreateError, Head, Lease, LeaseError};

/// Maximum number of cached deployments, about 100 bytes each. If more are open, the whole
/// cache is cleared and filled again one by one: a few microseconds each, and no order of use
/// to maintain.
const MAX_CACHED: usize = 65_536;

/// Executes the commands of the journal in the writer's transaction: checks what may be
/// appended, and runs the statements.
///
/// Caches where open journals end. The cache may be ahead of what is committed, so only the
/// writer sees it, and it drops this executor whenever a transaction fails.
#[derive(Debug)]
pub(super) struct JournalExecutor {
    deployments: HashMap<DeploymentId, DeploymentRow>,
    /// Of the last event, of deployments and environments.
    position: u64,
    /// The last one that was handed out, over all deployments.
    fence: u64,
}

/// The outer error fails the whole transaction. The inner one is a reply to the command; it
/// is returned before anything was written.
pub(super) type ExecuteResult<T, E> = rusqlite::Result<Result<T, E>>;

fn idempotency_key(header: &Header) -> Option<&IdempotencyKey> {
    header
        .idempotency
        .as_ref()
        .map(|idempotency| &idempotency.key)
}

const SET_FENCE: &str = "UPDATE fence SET last = ?1";

impl JournalExecutor {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            deployments: HashMap::new(),
            position: query::last_position(connection)?,
            fence: query::last_fence(connection)?.0,
        })
    }

    pub(super) fn create(
        &mut self,
        connection: &Connection,
        header: &Header,
        at: Timestamp,
        events: &EncodedEvents,
    ) -> ExecuteResult<Vec<Appended>, CreateError> {
        let (requester, key) = (&header.requester.subject, idempotency_key(header));
        if let Some(key) = key
            && let Some(first) = query::find_request(connection, requester, key)?
        {
            return Ok(Err(CreateError::Repeated(first)));
        }
        let (module, environment) = (&header.module.name, &header.environment);
        let open = query::open_deployment(connection, module, environment)?;
        match (open, header.supersedes) {
            (Some(other), supersedes) if supersedes != Some(other) => {
                return Ok(Err(CreateError::Busy(other)));
            }
            (None, Some(ended)) => return Ok(Err(CreateError::NothingToSupersede(ended))),
            _ => {}
        }
        if let Some(undone) = header.undo_from
            && !success_query::should_still_run(connection, header, undone)?
        {
            return Ok(Err(CreateError::NothingToUndo(undone)));
        }
        let lifecycle = Lifecycle::INITIAL;
        let json = match to_json("a lifecycle", &lifecycle) {
            Ok(json) => json,
            Err(error) => return Ok(Err(error.into())),
        };
        let mut appended = match open {
            Some(open) => self.supersede(connection, open, header, at)?,
            None => Vec::new(),
        };
        // A retirement remembers the last number of its time, also once that deployment is deleted:
        // a new one with the same number would count as retired.
        let insert = "INSERT INTO deployment
            (number, id, module, environment, fence, lifecycle, status, ended, created_at,
                requester, idempotency_key, selector, waits)
            VALUES (
                1 + max((SELECT coalesce(max(number), 0) FROM deployment),
                    (SELECT coalesce(max(number), 0) FROM retirement)),
                ?1, ?2, ?3, 0, ?4, ?5, 0, ?6, ?7, ?8, ?9, ?10)";
        let number = connection.prepare_cached(insert)?.insert(params![
            header.id.as_bytes(),
            module.as_str(),
            environment.as_str(),
            json,
            query::status_column(lifecycle.status()),
            at.millis().cast_signed(),
            requester,
            key.map(IdempotencyKey::as_str),
            header.selector.as_ref().map(to_text),
            open.is_some(),
        ])?;
        let mut deployment = DeploymentRow {
            number,
            fence: Fence(0),
            head: Head {
                next_seq: 0,
                lifecycle,
            },
        };
        self.insert_events(connection, &mut deployment, at, events)?;
        self.cache(header.id, deployment);
        appended.push(self.appended(header.id, deployment.head, false));
        Ok(Ok(appended))
    }

    /// Returns the new epoch, where the fence was lower.
    pub(super) fn raise_fence(
        &mut self,
        connection: &Connection,
        fence: Fence,
    ) -> rusqlite::Result<Option<String>> {
        if fence.0 <= self.fence {
            return Ok(None);
        }
        connection
            .prepare_cached(SET_FENCE)?
            .execute([fence.0.cast_signed()])?;
        connection.execute(
            "UPDATE epoch SET word = lower(hex(randomblob(8))), lost_at = ?1",
            [self.position.cast_signed()],
        )?;
        self.fence = fence.0;
        query::epoch(connection).map(Some)
    }

    pub(super) fn acquire_lease(
        &mut self,
        connection: &Connection,
        id: DeploymentId,
    ) -> ExecuteResult<Lease, LeaseError> {
        let Some(mut deployment) = self.find(connection, id)? else {
            return Ok(Err(LeaseError::Unknown(id)));
        };
        let previous = Some(deployment.fence).filter(|fence| *fence != Fence(0));
        deployment.fence = self.raise_by_one(connection)?;
        connection
            .prepare_cached("UPDATE deployment SET fence = ?2 WHERE number = ?1")?
            .execute([deployment.number, deployment.fence.0.cast_signed()])?;
        self.cache(id, deployment);
        Ok(Ok(Lease {
            fence: deployment.fence,
            previous,
            head: deployment.head,
            lost_at: query::lost_at(connection)?,
        }))
    }

    /// Hands out the next fence.
    pub(super) fn raise_by_one(&mut self, connection: &Connection) -> rusqlite::Result<Fence> {
        let fence = self.fence + 1;
        connection
            .prepare_cached(SET_FENCE)?
            .execute([fence.cast_signed()])?;
        self.fence = fence;
        Ok(Fence(fence))
    }

    /// Takes the position of the next event.
    pub(super) fn next_position(&mut self) -> u64 {
        self.position += 1;
        self.position
    }

    /// The position of the last event.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn append(
        &mut self,
        connection: &Connection,
        append: &Append,
        events: &EncodedEvents,
    ) -> ExecuteResult<Appended, AppendError> {
        let id = append.deployment;
        let Some(mut deployment) = self.find(connection, id)? else {
            return Ok(Err(AppendError::Unknown(id)));
        };
        // Checked before the sequence number: an engine that was replaced must stop, not read
        // and retry.
        if append.fence.is_some_and(|fence| fence != deployment.fence) {
            return Ok(Err(AppendError::Fenced(deployment.fence)));
        }
        if append.expected != deployment.head.next_seq {
            return Ok(Err(AppendError::Conflict(deployment.head)));
        }
        let before = deployment.head.lifecycle;
        let after = append.bodies.iter().try_fold(before, Lifecycle::append);
        let after = match after {
            Ok(after) => after,
            Err(illegal) => return Ok(Err(AppendError::IllegalTransition(illegal))),
        };
        // Most appends do not change the lifecycle, and then the row's page is not written.
        if after != before {
            let json = match to_json("a lifecycle", &after) {
                Ok(json) => json,
                Err(error) => return Ok(Err(error.into())),
            };
            set_lifecycle(connection, &mut deployment, after, &json)?;
        }
        self.insert_events(connection, &mut deployment, append.at, events)?;
        self.cache(id, deployment);
        Ok(Ok(self.appended(
            id,
            deployment.head,
            append.fence.is_some(),
        )))
    }

    pub(super) fn insert_events(
        &mut self,
        connection: &Connection,
        deployment: &mut DeploymentRow,
        at: Timestamp,
        events: &EncodedEvents,
    ) -> rusqlite::Result<()> {
        let insert = "INSERT INTO event (position, deployment, seq, at, body)
            VALUES (?1, ?2, ?3, ?4, ?5)";
        let mut insert = connection.prepare_cached(insert)?;
        for body in events.iter() {
            insert.execute(params![
                self.next_position().cast_signed(),
                deployment.number,
                deployment.head.next_seq.cast_signed(),
                at.millis().cast_signed(),
                body,
            ])?;
            deployment.head.next_seq += 1;
        }
        Ok(())
    }

    pub(super) fn find(
        &mut self,
        connection: &Connection,
        id: DeploymentId,
    ) -> rusqlite::Result<Option<DeploymentRow>> {
        if let Some(deployment) = self.deployments.get(&id) {
            return Ok(Some(*deployment));
        }
        let found = query::deployment(connection, id)?;
        if let Some(deployment) = found {
            self.cache(id, deployment);
        }
        Ok(found)
    }

    pub(super) fn cache(&mut self, id: DeploymentId, deployment: DeploymentRow) {
        if deployment.head.lifecycle.is_ended() {
            self.deployments.remove(&id);
            return;
        }
        if self.deployments.len() >= MAX_CACHED && !self.deployments.contains_key(&id) {
            self.deployments = HashMap::new();
        }
        self.deployments.insert(id, deployment);
    }

    pub(super) fn appended(&self, deployment: DeploymentId, head: Head, fenced: bool) -> Appended {
        Appended {
            deployment,
            head,
            position: self.position,
            fenced,
        }
    }
}

/// Sets the lifecycle of a deployment, which as JSON is `json`. Where it ends, the one that waits
/// for it may begin.
pub(super) fn set_lifecycle(
    connection: &Connection,
    deployment: &mut DeploymentRow,
    lifecycle: Lifecycle,
    json: &str,
) -> rusqlite::Result<()> {
    let update = "UPDATE deployment SET lifecycle = ?2, status = ?3, ended = ?4
        WHERE number = ?1";
    connection.prepare_cached(update)?.execute(params![
        deployment.number,
        json,
        query::status_column(lifecycle.status()),
        lifecycle.is_ended(),
    ])?;
    deployment.head.lifecycle = lifecycle;
    if lifecycle.is_ended() {
        let begin = "UPDATE deployment SET waits = 0
            WHERE ended = 0 AND waits = 1 AND (module, environment) =
                (SELECT module, environment FROM deployment WHERE number = ?1)";
        connection
            .prepare_cached(begin)?
            .execute([deployment.number])?;
    }
    Ok(())
}
