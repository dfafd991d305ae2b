//! Queries on the deployments that succeeded: they decide what should run.

use hotswap_core::{DeploymentId, Environment, Header, ModuleName, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::query::clamp;
use super::row::{read_deployment_id, read_u64};

/// Newest first: in the reverse order of their creation. That is also the order in which they
/// ended, because a deployment of a module in an environment begins only after the one before it
/// has ended.
pub(super) fn succeeded_deployments(
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
            params![module.as_str(), environment.as_str(), clamp(limit)],
            |row| read_deployment_id(row, 0),
        )?
        .collect()
}

/// Whether `undone` is still the newest success of the module in the environment, and the module is
/// not retired, unless the deployment of `header` brings it back.
pub(super) fn should_still_run(
    connection: &Connection,
    header: &Header,
    undone: DeploymentId,
) -> rusqlite::Result<bool> {
    let (module, environment) = (header.module.name.as_str(), header.environment.as_str());
    let newest = "SELECT number, id FROM deployment INDEXED BY deployment_succeeded
        WHERE module = ?1 AND environment = ?2 AND status = 'succeeded'
        ORDER BY number DESC LIMIT 1";
    let newest = connection
        .prepare_cached(newest)?
        .query_row([module, environment], |row| {
            Ok((row.get::<_, i64>(0)?, read_deployment_id(row, 1)?))
        })
        .optional()?;
    let retired = retirement(connection, environment, module)?;
    let retired = retired.map_or(0, |(number, _)| number);
    Ok(newest
        .is_some_and(|(number, id)| id == undone && (number > retired || header.brings_back())))
}

/// The successful deployments that decide what should run in an environment, sorted by module, the
/// newest first; without an environment, in all of them. See [`deciding_successes`].
pub(super) fn current_deployments(
    connection: &Connection,
    environment: Option<&Environment>,
) -> rusqlite::Result<Vec<DeploymentId>> {
    let environments = match environment {
        Some(environment) => vec![environment.as_str().to_owned()],
        None => environments(connection)?,
    };
    let mut found = Vec::new();
    for environment in environments {
        for module in succeeded_modules(connection, &environment)? {
            let retired = retirement(connection, &environment, &module)?;
            let retired = retired.map_or(0, |(number, _)| number);
            found.extend(deciding_successes(connection, &environment, &module, retired)?.0);
        }
    }
    Ok(found)
}

/// The modules that were deployed successfully in an environment, sorted. Steps over the index
/// from module to module.
fn succeeded_modules(connection: &Connection, environment: &str) -> rusqlite::Result<Vec<String>> {
    let query = "WITH RECURSIVE known (module) AS (
            SELECT min(module) FROM deployment INDEXED BY deployment_environment_succeeded
            WHERE environment = ?1 AND status = 'succeeded'
            UNION ALL
            SELECT (SELECT min(module) FROM deployment INDEXED BY deployment_environment_succeeded
                WHERE environment = ?1 AND status = 'succeeded' AND module > known.module)
            FROM known WHERE known.module IS NOT NULL)
        SELECT module FROM known WHERE module IS NOT NULL";
    connection
        .prepare_cached(query)?
        .query_map([environment], |row| row.get(0))?
        .collect()
}

/// Up to which deployment a module was retired in an environment, and when.
pub(super) fn retirement(
    connection: &Connection,
    environment: &str,
    module: &str,
) -> rusqlite::Result<Option<(i64, Timestamp)>> {
    connection
        .prepare_cached("SELECT number, at FROM retirement WHERE environment = ?1 AND module = ?2")?
        .query_row([environment, module], |row| {
            Ok((row.get(0)?, Timestamp::from_millis(read_u64(row, 1)?)))
        })
        .optional()
}

/// The successful deployments of a module that decide what should run on a node of an environment,
/// newest first, and whether they decide for every node: the newest one of each selector, back to
/// the newest one without. Only those with a number above `retired`.
///
/// The work grows with the number of deployments with a selector since, not with all.
pub(super) fn deciding_successes(
    connection: &Connection,
    environment: &str,
    module: &str,
    retired: i64,
) -> rusqlite::Result<(Vec<DeploymentId>, bool)> {
    let for_all = "SELECT max(number) FROM deployment INDEXED BY deployment_environment_selector
        WHERE environment = ?1 AND module = ?2 AND selector IS NULL AND status = 'succeeded'";
    let for_all = connection
        .prepare_cached(for_all)?
        .query_row([environment, module], |row| row.get::<_, Option<i64>>(0))?;
    let for_all = for_all.filter(|number| *number > retired);
    let deciding = "SELECT id FROM deployment JOIN (
            SELECT max(number) AS newest
            FROM deployment INDEXED BY deployment_environment_selector
            WHERE environment = ?1 AND module = ?2 AND selector IS NOT NULL
                AND status = 'succeeded' AND number > ?3
            GROUP BY selector) ON number = newest
        ORDER BY number DESC";
    let mut found = connection
        .prepare_cached(deciding)?
        .query_map(
            params![environment, module, for_all.unwrap_or(retired)],
            |row| read_deployment_id(row, 0),
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    if let Some(number) = for_all {
        let id = "SELECT id FROM deployment WHERE number = ?1";
        let id = connection
            .prepare_cached(id)?
            .query_row([number], |row| read_deployment_id(row, 0))?;
        found.push(id);
    }
    Ok((found, for_all.is_some()))
}

/// The environments in which a deployment has succeeded, sorted.
fn environments(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let query = "WITH RECURSIVE known (environment) AS (
            SELECT min(environment) FROM deployment INDEXED BY deployment_environment_succeeded
            WHERE status = 'succeeded'
            UNION ALL
            SELECT (SELECT min(environment)
                FROM deployment INDEXED BY deployment_environment_succeeded
                WHERE status = 'succeeded' AND environment > known.environment)
            FROM known WHERE known.environment IS NOT NULL)
        SELECT environment FROM known WHERE environment IS NOT NULL";
    connection
        .prepare_cached(query)?
        .query_map([], |row| row.get(0))?
        .collect()
}
