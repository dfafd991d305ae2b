use std::collections::HashMap;

use hotswap_core::{Append, DeploymentId, Fence, Header, Lifecycle, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::bodies::Bodies;
use super::query;
use super::row::{self, Known};
use crate::{AppendError, Appended, CreateError, Error, Head, Lease, ReadError};

/// About 100 bytes each. Where more deployments are open, all are forgotten at once and
/// read again one by one: a few microseconds each, and nothing to keep in order.
const REMEMBERED: usize = 65_536;

/// The rules of the journal, for the one thread that writes: what may be appended, and
/// the statements that do it. It remembers where open journals end, which may be more
/// than what is committed: so nobody else sees it, and its owner throws it away whenever
/// a transaction fails.
#[derive(Debug)]
pub(super) struct Ledger {
    known: HashMap<DeploymentId, Known>,
    position: u64,
    fence: u64,
}

/// What became of a command: the outer error spoils its whole transaction, the inner one
/// is an answer, given before anything was written.
type Outcome<T, E> = rusqlite::Result<Result<T, E>>;

impl Ledger {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let fence = "SELECT last FROM fence";
        Ok(Self {
            known: HashMap::new(),
            position: query::position(connection)?,
            fence: connection.query_row(fence, [], |row| row::unsigned(row, 0))?,
        })
    }

    pub(super) fn create(
        &mut self,
        connection: &Connection,
        header: &Header,
        at: Timestamp,
        bodies: &Bodies,
    ) -> Outcome<Appended, CreateError> {
        let open = "SELECT id FROM deployment INDEXED BY deployment_open
            WHERE module = ?1 AND environment = ?2 AND ended = 0";
        let (module, environment) = (header.module.name.as_str(), header.environment.as_str());
        let busy = connection
            .prepare_cached(open)?
            .query_row([module, environment], |row| row::id(row, 0))
            .optional()?;
        if let Some(other) = busy {
            return Ok(Err(CreateError::Busy(other)));
        }
        let lifecycle = Lifecycle::INITIAL;
        let json = match row::to_json("a lifecycle", &lifecycle) {
            Ok(json) => json,
            Err(error) => return Ok(Err(CreateError::Store(Box::new(error)))),
        };
        let insert = "INSERT INTO deployment
            (id, module, environment, fence, lifecycle, status, ended, created_at)
            VALUES (?1, ?2, ?3, 0, ?4, ?5, 0, ?6)";
        let number = connection.prepare_cached(insert)?.insert(params![
            header.id.as_bytes(),
            module,
            environment,
            json,
            lifecycle.status().as_str(),
            at.millis().cast_signed(),
        ])?;
        let mut known = Known {
            number,
            fence: Fence(0),
            head: Head {
                next_seq: 0,
                lifecycle,
            },
        };
        self.insert(connection, &mut known, at, bodies)?;
        self.remember(header.id, known);
        Ok(Ok(self.appended(header.id, known.head, false)))
    }

    pub(super) fn lease(
        &mut self,
        connection: &Connection,
        deployment: DeploymentId,
    ) -> Outcome<Lease, ReadError> {
        let Some(mut known) = self.find(connection, deployment)? else {
            return Ok(Err(ReadError::Unknown(deployment)));
        };
        let fence = self.fence + 1;
        connection
            .prepare_cached("UPDATE fence SET last = ?1")?
            .execute([fence.cast_signed()])?;
        connection
            .prepare_cached("UPDATE deployment SET fence = ?2 WHERE number = ?1")?
            .execute([known.number, fence.cast_signed()])?;
        self.fence = fence;
        known.fence = Fence(fence);
        self.remember(deployment, known);
        Ok(Ok(Lease {
            fence: known.fence,
            head: known.head,
        }))
    }

    pub(super) fn append(
        &mut self,
        connection: &Connection,
        append: &Append,
        bodies: &Bodies,
    ) -> Outcome<Appended, AppendError> {
        let deployment = append.deployment;
        let Some(mut known) = self.find(connection, deployment)? else {
            return Ok(Err(AppendError::Unknown(deployment)));
        };
        // First of all: an engine that was replaced must stop, not read and try again.
        if append.fence.is_some_and(|fence| fence != known.fence) {
            return Ok(Err(AppendError::Fenced(known.fence)));
        }
        if append.expected != known.head.next_seq {
            return Ok(Err(AppendError::Conflict(known.head)));
        }
        let before = known.head.lifecycle;
        let after = append.bodies.iter().try_fold(before, Lifecycle::next);
        let after = match after {
            Ok(after) => after,
            Err(illegal) => return Ok(Err(AppendError::IllegalTransition(illegal))),
        };
        // Most steps leave it as it is, and then the row's page is not written.
        if after != before {
            let json = match row::to_json("a lifecycle", &after) {
                Ok(json) => json,
                Err(error) => return Ok(Err(AppendError::Store(Box::new(error)))),
            };
            let update = "UPDATE deployment SET lifecycle = ?2, status = ?3, ended = ?4
                WHERE number = ?1";
            connection.prepare_cached(update)?.execute(params![
                known.number,
                json,
                after.status().as_str(),
                after.is_ended(),
            ])?;
            known.head.lifecycle = after;
        }
        self.insert(connection, &mut known, append.at, bodies)?;
        self.remember(deployment, known);
        Ok(Ok(self.appended(
            deployment,
            known.head,
            append.fence.is_some(),
        )))
    }

    fn insert(
        &mut self,
        connection: &Connection,
        known: &mut Known,
        at: Timestamp,
        bodies: &Bodies,
    ) -> rusqlite::Result<()> {
        let insert = "INSERT INTO event (position, deployment, seq, at, body)
            VALUES (?1, ?2, ?3, ?4, ?5)";
        let mut insert = connection.prepare_cached(insert)?;
        for body in bodies.iter() {
            self.position += 1;
            insert.execute(params![
                self.position.cast_signed(),
                known.number,
                known.head.next_seq.cast_signed(),
                at.millis().cast_signed(),
                body,
            ])?;
            known.head.next_seq += 1;
        }
        Ok(())
    }

    fn find(
        &mut self,
        connection: &Connection,
        deployment: DeploymentId,
    ) -> rusqlite::Result<Option<Known>> {
        if let Some(known) = self.known.get(&deployment) {
            return Ok(Some(*known));
        }
        let found = row::known(connection, deployment)?;
        if let Some(known) = found {
            self.remember(deployment, known);
        }
        Ok(found)
    }

    fn remember(&mut self, deployment: DeploymentId, known: Known) {
        if known.head.lifecycle.is_ended() {
            self.known.remove(&deployment);
            return;
        }
        if self.known.len() >= REMEMBERED && !self.known.contains_key(&deployment) {
            self.known = HashMap::new();
        }
        self.known.insert(deployment, known);
    }

    fn appended(&self, deployment: DeploymentId, head: Head, fenced: bool) -> Appended {
        Appended {
            deployment,
            head,
            position: self.position,
            fenced,
        }
    }
}

impl From<Error> for CreateError {
    fn from(error: Error) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<Error> for AppendError {
    fn from(error: Error) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Store(Box::new(error))
    }
}
