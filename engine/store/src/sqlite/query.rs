use hotswap_core::{DeploymentId, Environment, Event, ModuleName, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::row;
use crate::{Entry, Page, Query};

/// SQLite's numbers are signed: nothing is that far, and no limit is that large.
fn bounded(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

fn number(connection: &Connection, deployment: DeploymentId) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT number FROM deployment WHERE id = ?1")?
        .query_row([deployment.as_bytes()], |row| row.get(0))
        .optional()
}

/// None where there is no such deployment.
pub(super) fn events(
    connection: &Connection,
    deployment: DeploymentId,
    from: u64,
    limit: usize,
) -> rusqlite::Result<Option<Vec<Event>>> {
    let Some(number) = number(connection, deployment)? else {
        return Ok(None);
    };
    let query = "SELECT seq, position, at, body FROM event
        WHERE deployment = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3";
    connection
        .prepare_cached(query)?
        .query_map(params![number, bounded(from), bounded(limit)], event)?
        .collect::<rusqlite::Result<_>>()
        .map(Some)
}

/// The columns seq, position, at and body.
fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        seq: row::unsigned(row, 0)?,
        position: row::unsigned(row, 1)?,
        at: Timestamp::from_millis(row::unsigned(row, 2)?),
        body: row::json(row, 3)?,
    })
}

/// In order of position.
pub(super) fn since(
    connection: &Connection,
    position: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Entry>> {
    // A cross join keeps its order: the events from the position on, and a deployment for each.
    let query = "SELECT seq, position, at, body, id
        FROM event CROSS JOIN deployment ON number = deployment
        WHERE position > ?1 ORDER BY position LIMIT ?2";
    connection
        .prepare_cached(query)?
        .query_map(params![bounded(position), bounded(limit)], |row| {
            Ok(Entry {
                deployment: row::id(row, 4)?,
                event: event(row)?,
            })
        })?
        .collect()
}

/// Of the last event; 0 where there is none.
pub(super) fn position(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT coalesce(max(position), 0) FROM event")?
        .query_row([], |row| row::unsigned(row, 0))
}

pub(super) fn epoch(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("SELECT word FROM epoch", [], |row| row.get(0))
}

/// Oldest first.
pub(super) fn open(connection: &Connection) -> rusqlite::Result<Vec<DeploymentId>> {
    // Sorting what is open is less than reading all that ever was, which is what SQLite
    // would choose in order not to sort.
    let query = "SELECT id FROM deployment INDEXED BY deployment_open
        WHERE ended = 0 ORDER BY number";
    connection
        .prepare_cached(query)?
        .query_map([], |row| row::id(row, 0))?
        .collect()
}

/// The error is the deployment to begin after, where there is none of that id.
pub(super) fn list(
    connection: &Connection,
    query: &Query,
) -> rusqlite::Result<Result<Page, DeploymentId>> {
    let module = query.module.as_ref().map(ModuleName::as_str);
    let environment = query.environment.as_ref().map(Environment::as_str);
    let status = query.status.map(|status| status.as_str());
    let before = match query.before {
        None => None,
        Some(id) => match number(connection, id)? {
            None => return Ok(Err(id)),
            some => some,
        },
    };
    let limit = query.limit.max(1);
    let more = bounded(limit.saturating_add(1));
    // A statement for each set of conditions, so that each finds its index.
    let mut sql = String::from("SELECT id FROM deployment WHERE true");
    let mut values: Vec<&dyn ToSql> = Vec::new();
    let mut narrow = |condition: &str, value| {
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(module) = &module {
        narrow(" AND module = ?", module);
    }
    if let Some(environment) = &environment {
        narrow(" AND environment = ?", environment);
    }
    if let Some(status) = &status {
        narrow(" AND status = ?", status);
    }
    if let Some(before) = &before {
        narrow(" AND number < ?", before);
    }
    narrow(" ORDER BY number DESC LIMIT ?", &more);
    let mut deployments = connection
        .prepare_cached(&sql)?
        .query_map(values.as_slice(), |row| row::id(row, 0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let more = deployments.len() > limit;
    deployments.truncate(limit);
    Ok(Ok(Page { deployments, more }))
}

/// Newest first. In the order in which they began, which is that in which they ended:
/// of a module in an environment one begins after the other has ended.
pub(super) fn succeeded(
    connection: &Connection,
    module: &ModuleName,
    environment: &Environment,
    limit: usize,
) -> rusqlite::Result<Vec<DeploymentId>> {
    let query = "SELECT id FROM deployment INDEXED BY deployment_succeeded
        WHERE module = ?1 AND environment = ?2 AND status = 'succeeded'
        ORDER BY number DESC LIMIT ?3";
    connection
        .prepare_cached(query)?
        .query_map(
            params![module.as_str(), environment.as_str(), bounded(limit)],
            |row| row::id(row, 0),
        )?
        .collect()
}
