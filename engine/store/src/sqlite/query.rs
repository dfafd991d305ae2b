//! Queries on the journals. Each sees the state of one moment.

use hotswap_core::{
    Damage, DeploymentId, Environment, Event, Fence, IdempotencyKey, ModuleName, Status, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::lifecycle_memo::read_lifecycle;
use super::row::{read_deployment_id, read_parsed, read_u64};
use super::stored_event::{read_event, readable_events_of};
use crate::{DeploymentRecord, Entry, Head, Page, Query};

/// What the store knows of a deployment without reading its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeploymentRow {
    pub(super) number: i64,
    pub(super) fence: Fence,
    pub(super) head: Head,
}

/// The status as the column of that name holds it. Indices find what has succeeded by this
/// column, so a partial success is a success there; the lifecycle tells the difference.
pub(super) fn status_column(status: Status) -> &'static str {
    match status {
        Status::Partial => Status::Succeeded.as_str(),
        status => status.as_str(),
    }
}

/// Whether a lifecycle, which is JSON, says that some nodes were not updated.
const IS_PARTIAL: &str = "instr(CAST(lifecycle AS TEXT), '\"partial\":true')";

/// `None` if there is no such deployment.
pub(super) fn deployment(
    connection: &Connection,
    deployment: DeploymentId,
) -> rusqlite::Result<Option<DeploymentRow>> {
    // One statement, so that lifecycle and length are of the same moment.
    let query = "SELECT number, fence, lifecycle, status, ended,
            (SELECT coalesce(max(seq) + 1, 0) FROM event WHERE deployment = number)
        FROM deployment WHERE id = ?1";
    connection
        .prepare_cached(query)?
        .query_row([deployment.as_bytes()], |row| {
            let number = row.get(0)?;
            Ok(DeploymentRow {
                number,
                fence: Fence(read_u64(row, 1)?),
                head: Head {
                    lifecycle: read_lifecycle(connection, number, row, 2)?,
                    next_seq: read_u64(row, 5)?,
                },
            })
        })
        .optional()
}

/// `None` if there is no such deployment.
pub(super) fn record(
    connection: &Connection,
    id: DeploymentId,
) -> rusqlite::Result<Option<DeploymentRecord>> {
    let Some(row) = deployment(connection, id)? else {
        return Ok(None);
    };
    let query = "SELECT module, environment, created_at FROM deployment WHERE number = ?1";
    connection
        .prepare_cached(query)?
        .query_row([row.number], |columns| {
            Ok(DeploymentRecord {
                module: read_parsed(columns, 0)?,
                environment: read_parsed(columns, 1)?,
                created_at: Timestamp::from_millis(read_u64(columns, 2)?),
                head: row.head,
            })
        })
        .optional()
}

pub(super) fn deployment_number(
    connection: &Connection,
    deployment: DeploymentId,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT number FROM deployment WHERE id = ?1")?
        .query_row([deployment.as_bytes()], |row| row.get(0))
        .optional()
}

/// `None` if there is no such deployment. The inner error is the first event of these that
/// cannot be read, or that is missing.
pub(super) fn events(
    connection: &Connection,
    deployment: DeploymentId,
    from: u64,
    limit: usize,
) -> rusqlite::Result<Option<Result<Vec<Event>, Damage>>> {
    let Some(number) = deployment_number(connection, deployment)? else {
        return Ok(None);
    };
    let query = "SELECT seq, position, at, body FROM event
        WHERE deployment = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3";
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(params![number, clamp(from), clamp(limit)])?;
    let mut events = Vec::new();
    let mut next_seq = from;
    while let Some(row) = rows.next()? {
        match read_event(row)?.decode_as(next_seq) {
            Ok(event) => events.push(event),
            Err(damage) => return Ok(Some(Err(damage))),
        }
        next_seq += 1;
    }
    // Every journal has an event 0.
    if from == 0 && limit > 0 && events.is_empty() {
        return Ok(Some(Err(Damage::missing(0, 1, None))));
    }
    Ok(Some(Ok(events)))
}

/// `None` if there is no such deployment.
pub(super) fn readable_events(
    connection: &Connection,
    deployment: DeploymentId,
    from: u64,
) -> rusqlite::Result<Option<Vec<Event>>> {
    let Some(number) = deployment_number(connection, deployment)? else {
        return Ok(None);
    };
    readable_events_of(connection, number, from).map(Some)
}

/// Ordered by position.
pub(super) fn events_after(
    connection: &Connection,
    position: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Entry>> {
    // A cross join keeps its order: it walks the events and looks up the deployment of each.
    let query = "SELECT seq, position, at, body, id
        FROM event CROSS JOIN deployment ON number = deployment
        WHERE position > ?1 ORDER BY position LIMIT ?2";
    connection
        .prepare_cached(query)?
        .query_map(params![clamp(position), clamp(limit)], |row| {
            let stored = read_event(row)?;
            Ok(Entry {
                deployment: read_deployment_id(row, 4)?,
                position: stored.position,
                event: stored.decode(),
            })
        })?
        .collect()
}

/// The position of the last event of deployments and environments, even if that was deleted; 0
/// if there was none.
pub(super) fn last_position(connection: &Connection) -> rusqlite::Result<u64> {
    let query = "SELECT max(through, coalesce((SELECT max(position) FROM event), 0),
        coalesce((SELECT max(position) FROM environment_event), 0)) FROM deleted";
    connection
        .prepare_cached(query)?
        .query_row([], |row| read_u64(row, 0))
}

/// The highest position of an event that was deleted; 0 if none was.
pub(super) fn deleted_through(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT through FROM deleted")?
        .query_row([], |row| read_u64(row, 0))
}

/// The last fence that was handed out.
pub(super) fn last_fence(connection: &Connection) -> rusqlite::Result<Fence> {
    let query = "SELECT last FROM fence";
    connection.query_row(query, [], |row| read_u64(row, 0).map(Fence))
}

/// Up to which position events may be missing.
pub(super) fn lost_at(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT lost_at FROM epoch")?
        .query_row([], |row| read_u64(row, 0))
}

pub(super) fn epoch(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("SELECT word FROM epoch", [], |row| row.get(0))
}

/// The open deployment of a module in an environment, except for one that waits for its end.
pub(super) fn open_deployment(
    connection: &Connection,
    module: &ModuleName,
    environment: &Environment,
) -> rusqlite::Result<Option<DeploymentId>> {
    open(connection, module, environment, false)
}

/// The deployment that waits for the end of the open one, which it supersedes.
pub(super) fn waiting_deployment(
    connection: &Connection,
    module: &ModuleName,
    environment: &Environment,
) -> rusqlite::Result<Option<DeploymentId>> {
    open(connection, module, environment, true)
}

fn open(
    connection: &Connection,
    module: &ModuleName,
    environment: &Environment,
    waits: bool,
) -> rusqlite::Result<Option<DeploymentId>> {
    let query = "SELECT id FROM deployment INDEXED BY deployment_open
        WHERE module = ?1 AND environment = ?2 AND waits = ?3 AND ended = 0";
    connection
        .prepare_cached(query)?
        .query_row(
            params![module.as_str(), environment.as_str(), waits],
            |row| read_deployment_id(row, 0),
        )
        .optional()
}

/// Oldest first.
pub(super) fn open_deployments(connection: &Connection) -> rusqlite::Result<Vec<DeploymentId>> {
    // The index is forced: sorting the open deployments is cheaper than reading every
    // deployment there ever was, which SQLite would choose to avoid the sort.
    let query = "SELECT id FROM deployment INDEXED BY deployment_open
        WHERE ended = 0 ORDER BY number";
    connection
        .prepare_cached(query)?
        .query_map([], |row| read_deployment_id(row, 0))?
        .collect()
}

/// The deployment that the requester created under this key.
pub(super) fn find_request(
    connection: &Connection,
    requester: &str,
    key: &IdempotencyKey,
) -> rusqlite::Result<Option<DeploymentId>> {
    let query = "SELECT id FROM deployment WHERE requester = ?1 AND idempotency_key = ?2";
    connection
        .prepare_cached(query)?
        .query_row([requester, key.as_str()], |row| read_deployment_id(row, 0))
        .optional()
}

/// The inner error is [`Query::before`], if there is no deployment of that id.
pub(super) fn list(
    connection: &Connection,
    query: &Query,
) -> rusqlite::Result<Result<Page, DeploymentId>> {
    let module = query.module.as_ref().map(ModuleName::as_str);
    let environment = query.environment.as_ref().map(Environment::as_str);
    let status = query.status.map(status_column);
    let before = match query.before {
        None => None,
        Some(id) => match deployment_number(connection, id)? {
            None => return Ok(Err(id)),
            number => number,
        },
    };
    let limit = query.limit.max(1);
    // One more than asked for tells whether there are more.
    let sql_limit = clamp(limit.saturating_add(1));
    // A statement for each set of conditions, so that each one uses its index.
    let condition = match query.status {
        Some(Status::Succeeded) => format!("{IS_PARTIAL} = 0"),
        Some(Status::Partial) => format!("{IS_PARTIAL} > 0"),
        _ => "true".to_owned(),
    };
    let mut sql = format!("SELECT id FROM deployment WHERE {condition}");
    let mut values: Vec<&dyn ToSql> = Vec::new();
    let mut push_clause = |clause: &str, value| {
        sql.push_str(clause);
        values.push(value);
    };
    if let Some(module) = &module {
        push_clause(" AND module = ?", module);
    }
    if let Some(environment) = &environment {
        push_clause(" AND environment = ?", environment);
    }
    if let Some(status) = &status {
        push_clause(" AND status = ?", status);
    }
    if let Some(before) = &before {
        push_clause(" AND number < ?", before);
    }
    push_clause(" ORDER BY number DESC LIMIT ?", &sql_limit);
    let mut deployments = connection
        .prepare_cached(&sql)?
        .query_map(values.as_slice(), |row| read_deployment_id(row, 0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let more = deployments.len() > limit;
    deployments.truncate(limit);
    Ok(Ok(Page { deployments, more }))
}

/// SQLite's integers are signed. No position is above their maximum, and no limit needs to be.
pub(super) fn clamp(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
