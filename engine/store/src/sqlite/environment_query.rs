//! Statements on the journals of environments.

use std::collections::BTreeMap;

use hotswap_core::{Environment, EnvironmentEvent, EnvironmentEventBody, ModuleName, Timestamp};
use rusqlite::{Connection, Row, params};

use super::query::clamp;
use super::row::{read_deployment_id, read_parsed, read_u64};
use crate::{Decision, EnvironmentEntry};

/// Ordered by position.
pub(super) fn events_after(
    connection: &Connection,
    environment: Option<&Environment>,
    position: u64,
    limit: usize,
) -> rusqlite::Result<Vec<EnvironmentEntry>> {
    let (position, limit) = (clamp(position), clamp(limit));
    match environment {
        Some(environment) => connection
            .prepare_cached(
                "SELECT environment, position, at, body FROM environment_event
                WHERE environment = ?1 AND position > ?2 ORDER BY position LIMIT ?3",
            )?
            .query_map(params![environment.as_str(), position, limit], read_entry)?
            .collect(),
        None => connection
            .prepare_cached(
                "SELECT environment, position, at, body FROM environment_event
                WHERE position > ?1 ORDER BY position LIMIT ?2",
            )?
            .query_map([position, limit], read_entry)?
            .collect(),
    }
}

/// Newest first.
pub(super) fn events_before(
    connection: &Connection,
    environment: &Environment,
    position: u64,
    limit: usize,
) -> rusqlite::Result<Vec<EnvironmentEntry>> {
    let query = "SELECT environment, position, at, body FROM environment_event
        WHERE environment = ?1 AND position < ?2 ORDER BY position DESC LIMIT ?3";
    connection
        .prepare_cached(query)?
        .query_map(
            params![environment.as_str(), clamp(position), clamp(limit)],
            read_entry,
        )?
        .collect()
}

fn read_entry(row: &Row<'_>) -> rusqlite::Result<EnvironmentEntry> {
    let (position, at) = (read_u64(row, 1)?, read_u64(row, 2)?);
    let body = EnvironmentEventBody::decode(row.get_ref(3)?.as_bytes()?);
    Ok(EnvironmentEntry {
        environment: read_parsed(row, 0)?,
        position,
        event: body.map(|body| EnvironmentEvent {
            position,
            at: Timestamp::from_millis(at),
            body,
        }),
    })
}

/// Sorted. Steps over the index from environment to environment.
pub(super) fn decided_environments(connection: &Connection) -> rusqlite::Result<Vec<Environment>> {
    let query = "WITH RECURSIVE known (environment) AS (
            SELECT min(environment) FROM deployment INDEXED BY deployment_environment
            UNION ALL
            SELECT (SELECT min(environment) FROM deployment INDEXED BY deployment_environment
                WHERE environment > known.environment)
            FROM known WHERE known.environment IS NOT NULL)
        SELECT environment FROM known WHERE environment IS NOT NULL
        UNION SELECT environment FROM retirement ORDER BY environment";
    connection
        .prepare_cached(query)?
        .query_map([], |row| read_parsed(row, 0))?
        .collect()
}

/// What was decided last for each module, sorted by module. A deployment that ended while it
/// waited for another one to end has not begun, and decides nothing. Steps over the index from module to
/// module: the work does not grow with the number of deployments.
pub(super) fn decisions(
    connection: &Connection,
    environment: &Environment,
) -> rusqlite::Result<Vec<(ModuleName, Decision)>> {
    let environment = environment.as_str();
    let retired = "SELECT module, at FROM retirement WHERE environment = ?1";
    let mut decisions: BTreeMap<ModuleName, Decision> = connection
        .prepare_cached(retired)?
        .query_map([environment], |row| {
            let at = Timestamp::from_millis(read_u64(row, 1)?);
            Ok((read_parsed(row, 0)?, Decision::Retired(at)))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let ended = "WITH RECURSIVE known (module) AS (
            SELECT min(module) FROM deployment INDEXED BY deployment_environment_module
            WHERE environment = ?1
            UNION ALL
            SELECT (SELECT min(module) FROM deployment INDEXED BY deployment_environment_module
                WHERE environment = ?1 AND module > known.module)
            FROM known WHERE known.module IS NOT NULL),
        last (module, succeeded, ended, retired) AS (SELECT module,
            (SELECT max(number) FROM deployment INDEXED BY deployment_environment_succeeded
                WHERE environment = ?1 AND status = 'succeeded' AND module = known.module),
            (SELECT number FROM deployment INDEXED BY deployment_environment_module
                WHERE environment = ?1 AND module = known.module AND ended = 1 AND waits = 0
                ORDER BY number DESC LIMIT 1),
            coalesce((SELECT number FROM retirement
                WHERE environment = ?1 AND module = known.module), 0)
            FROM known WHERE module IS NOT NULL)
        SELECT last.module, succeeded > retired, id FROM last JOIN deployment
            ON number = CASE WHEN succeeded > retired THEN succeeded ELSE last.ended END";
    let mut ended = connection.prepare_cached(ended)?;
    let mut rows = ended.query([environment])?;
    while let Some(row) = rows.next()? {
        let (module, id) = (read_parsed(row, 0)?, read_deployment_id(row, 2)?);
        let has_succeeded = row.get::<_, Option<bool>>(1)?.unwrap_or(false);
        if has_succeeded {
            decisions.insert(module, Decision::Succeeded(id));
        } else {
            decisions
                .entry(module)
                .or_insert(Decision::Unsuccessful(id));
        }
    }
    Ok(decisions.into_iter().collect())
}

/// Deletes what decides nothing. Retirements are kept: each module has few.
pub(super) fn delete_events(connection: &Connection, before: Timestamp) -> rusqlite::Result<usize> {
    let condition = "at < ?1 AND NOT decides";
    let before = before.millis().cast_signed();
    let deleted = format!(
        "UPDATE deleted SET through = max(through,
            coalesce((SELECT max(position) FROM environment_event WHERE {condition}), 0))"
    );
    connection.prepare_cached(&deleted)?.execute([before])?;
    let delete = format!("DELETE FROM environment_event WHERE {condition}");
    connection.prepare_cached(&delete)?.execute([before])
}
