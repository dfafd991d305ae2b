//! Statements on the journals of environments.

use std::collections::HashSet;

use hotswap_core::{
    DeploymentId, Environment, EnvironmentEvent, EnvironmentEventBody, ModuleName, NodeId,
    Timestamp,
};
use rusqlite::{Connection, Row, params};

use super::query::clamp;
use super::row::{read_deployment_id, read_parsed, read_u64};
use super::success_query;
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

/// The events that cordon nodes now with the nodes, ordered by position.
pub(super) fn cordons(
    connection: &Connection,
) -> rusqlite::Result<Vec<(NodeId, EnvironmentEntry)>> {
    let query = "SELECT event.environment, event.position, at, body, node
        FROM cordon JOIN environment_event AS event ON event.position = cordon.position
        ORDER BY event.position";
    connection
        .prepare_cached(query)?
        .query_map([], |row| Ok((read_parsed(row, 4)?, read_entry(row)?)))?
        .collect()
}

/// The events with which nodes came from another environment, ordered by position.
pub(super) fn arrivals(connection: &Connection) -> rusqlite::Result<Vec<EnvironmentEntry>> {
    listed_events(connection, "arrival")
}

/// The events with which people gave environments their policies, ordered by position.
pub(super) fn policies(connection: &Connection) -> rusqlite::Result<Vec<EnvironmentEntry>> {
    listed_events(connection, "policy")
}

/// The events whose positions are in a table, ordered by position.
fn listed_events(connection: &Connection, table: &str) -> rusqlite::Result<Vec<EnvironmentEntry>> {
    let query = format!(
        "SELECT event.environment, event.position, at, body
        FROM {table} JOIN environment_event AS event ON event.position = {table}.position
        ORDER BY event.position"
    );
    connection
        .prepare_cached(&query)?
        .query_map([], read_entry)?
        .collect()
}

fn read_entry(row: &Row<'_>) -> rusqlite::Result<EnvironmentEntry> {
    let (position, at) = (read_u64(row, 1)?, read_u64(row, 2)?);
    let body = EnvironmentEventBody::decode(row.get_ref(3)?.as_bytes()?);
    Ok(EnvironmentEntry {
        environment: read_parsed(row, 0)?,
        position,
        at: Timestamp::from_millis(at),
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

/// What was decided for each module, sorted by module, the newest first. Steps over the index from
/// module to module: the work grows with the deployments that have a selector, not with all.
pub(super) fn decisions(
    connection: &Connection,
    environment: &Environment,
) -> rusqlite::Result<Vec<(ModuleName, Decision)>> {
    let environment = environment.as_str();
    let mut decisions = Vec::new();
    for module in known_modules(connection, environment)? {
        let name = module.as_str();
        let retired = success_query::retirement(connection, environment, name)?;
        let number = retired.map_or(0, |(number, _)| number);
        let (successes, decide_for_all) =
            success_query::deciding_successes(connection, environment, name, number)?;
        let mut add = |decision| decisions.push((module.clone(), decision));
        for id in successes {
            add(Decision::Succeeded(id));
        }
        match retired {
            _ if decide_for_all => {}
            Some((_, at)) => add(Decision::Retired(at)),
            None => {
                for id in last_unsuccessful(connection, environment, name)? {
                    add(Decision::Unsuccessful(id));
                }
            }
        }
    }
    Ok(decisions)
}

/// The modules that were ever deployed or retired, sorted.
fn known_modules(connection: &Connection, environment: &str) -> rusqlite::Result<Vec<ModuleName>> {
    let known = "WITH RECURSIVE known (module) AS (
            SELECT min(module) FROM deployment INDEXED BY deployment_environment_module
            WHERE environment = ?1
            UNION ALL
            SELECT (SELECT min(module) FROM deployment INDEXED BY deployment_environment_module
                WHERE environment = ?1 AND module > known.module)
            FROM known WHERE known.module IS NOT NULL)
        SELECT module FROM known WHERE module IS NOT NULL
        UNION SELECT module FROM retirement WHERE environment = ?1 ORDER BY module";
    connection
        .prepare_cached(known)?
        .query_map([environment], |row| read_parsed(row, 0))?
        .collect()
}

/// The deployments that ended without success: the newest one of each selector, back to the newest
/// one without, newest first. One that ended while it waited for another one to end has not begun,
/// and decides nothing.
fn last_unsuccessful(
    connection: &Connection,
    environment: &str,
    module: &str,
) -> rusqlite::Result<Vec<DeploymentId>> {
    let query = "SELECT id, selector FROM deployment INDEXED BY deployment_environment_module
        WHERE environment = ?1 AND module = ?2 AND ended = 1 AND waits = 0
            AND status <> 'succeeded'
        ORDER BY number DESC";
    let mut query = connection.prepare_cached(query)?;
    let mut rows = query.query([environment, module])?;
    let (mut found, mut selectors) = (Vec::new(), HashSet::new());
    while let Some(row) = rows.next()? {
        let id = read_deployment_id(row, 0)?;
        match row.get::<_, Option<String>>(1)? {
            Some(selector) if selectors.contains(&selector) => {}
            Some(selector) => {
                selectors.insert(selector);
                found.push(id);
            }
            None => {
                found.push(id);
                break;
            }
        }
    }
    Ok(found)
}

/// Deletes what decides nothing. Retirements are kept: each module has few. So are cordons, until
/// they end, how a node came, until it moves again or is forgotten, and policies, until they are
/// replaced.
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
