//! What was decided for a module in an environment so far.

use hotswap_core::{DeploymentId, Environment, EnvironmentEventBody, ModuleName, Timestamp};
use rusqlite::{Connection, params};

use super::query::clamp;
use super::row::{read_deployment_id, read_u64};
use crate::{Decided, PastDecision, PastPlace};

/// A deployment that succeeded.
struct Success {
    number: u64,
    /// Of its first event: no retirement can come between that and its end.
    position: u64,
    id: DeploymentId,
}

/// A retirement.
struct Retirement {
    position: u64,
    decided: Decided,
}

/// Newest first. Two steps over an index: the work does not grow with the history.
pub(super) fn read(
    connection: &Connection,
    module: &ModuleName,
    environment: &Environment,
    before: PastPlace,
    limit: usize,
) -> rusqlite::Result<Vec<PastDecision>> {
    let successes = successes(connection, module, environment, before.number, limit)?;
    let retirements = retirements(connection, module, environment, before.position, limit)?;
    let mut successes = successes.into_iter().peekable();
    let mut retirements = retirements.into_iter().peekable();
    let mut place = before;
    let mut past = Vec::new();
    while past.len() < limit {
        let success = successes.peek().map(|success| success.position);
        let retirement = retirements.peek().map(|retirement| retirement.position);
        // `None` is less than any position.
        let decided = if success > retirement {
            let Some(success) = successes.next() else {
                break;
            };
            place.number = success.number;
            Decided::Succeeded(success.id)
        } else {
            let Some(retirement) = retirements.next() else {
                break;
            };
            place.position = retirement.position;
            retirement.decided
        };
        past.push(PastDecision { place, decided });
    }
    Ok(past)
}

fn successes(
    connection: &Connection,
    module: &ModuleName,
    environment: &Environment,
    before: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Success>> {
    let query = "SELECT number, id,
            coalesce((SELECT min(position) FROM event WHERE deployment = number AND seq = 0), 0)
        FROM deployment INDEXED BY deployment_succeeded
        WHERE module = ?1 AND environment = ?2 AND status = 'succeeded' AND number < ?3
        ORDER BY number DESC LIMIT ?4";
    connection
        .prepare_cached(query)?
        .query_map(
            params![
                module.as_str(),
                environment.as_str(),
                clamp(before),
                clamp(limit)
            ],
            |row| {
                Ok(Success {
                    number: read_u64(row, 0)?,
                    id: read_deployment_id(row, 1)?,
                    position: read_u64(row, 2)?,
                })
            },
        )?
        .collect()
}

fn retirements(
    connection: &Connection,
    module: &ModuleName,
    environment: &Environment,
    before: u64,
    limit: usize,
) -> rusqlite::Result<Vec<Retirement>> {
    let query = "SELECT position, at, body
        FROM environment_event INDEXED BY environment_event_module
        WHERE environment = ?1 AND module = ?2 AND module IS NOT NULL AND position < ?3
        ORDER BY position DESC LIMIT ?4";
    connection
        .prepare_cached(query)?
        .query_map(
            params![
                environment.as_str(),
                module.as_str(),
                clamp(before),
                clamp(limit)
            ],
            |row| {
                let at = Timestamp::from_millis(read_u64(row, 1)?);
                let (by, reason) = match EnvironmentEventBody::decode(row.get_ref(2)?.as_bytes()?) {
                    Ok(EnvironmentEventBody::Retired { by, reason, .. }) => (Some(by), reason),
                    _ => (None, None),
                };
                Ok(Retirement {
                    position: read_u64(row, 0)?,
                    decided: Decided::Retired { at, by, reason },
                })
            },
        )?
        .collect()
}
