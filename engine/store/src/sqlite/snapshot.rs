//! Snapshots: what the events of a deployment add up to.

use hotswap_core::DeploymentId;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::query::{clamp, deployment_number};
use super::row::{read_deployment_id, read_u64};
use crate::{NewSnapshot, Snapshot};

pub(super) fn put(connection: &Connection, snapshot: &NewSnapshot) -> rusqlite::Result<()> {
    let put = "INSERT INTO snapshot (deployment, format, next_seq, ended, summary, state)
        SELECT number, ?2, ?3, ?4, ?5, ?6 FROM deployment WHERE id = ?1
        ON CONFLICT (deployment) DO UPDATE SET format = excluded.format,
            next_seq = excluded.next_seq, ended = excluded.ended,
            summary = excluded.summary, state = excluded.state
        WHERE format <> excluded.format OR next_seq <= excluded.next_seq";
    connection.prepare_cached(put)?.execute(params![
        snapshot.deployment.as_bytes(),
        snapshot.format,
        snapshot.next_seq.cast_signed(),
        snapshot.ended,
        snapshot.summary,
        snapshot.state,
    ])?;
    Ok(())
}

pub(super) fn state(
    connection: &Connection,
    deployment: DeploymentId,
) -> rusqlite::Result<Option<Snapshot>> {
    let query = "SELECT format, next_seq, state FROM snapshot
        JOIN deployment ON number = deployment WHERE id = ?1";
    connection
        .prepare_cached(query)?
        .query_row([deployment.as_bytes()], read_snapshot)
        .optional()
}

pub(super) fn summaries(
    connection: &Connection,
    deployments: &[DeploymentId],
) -> rusqlite::Result<Vec<Option<Snapshot>>> {
    let query = "SELECT format, next_seq, summary FROM snapshot
        JOIN deployment ON number = deployment WHERE id = ?1";
    let mut query = connection.prepare_cached(query)?;
    let summary = |deployment: &DeploymentId| {
        query
            .query_row([deployment.as_bytes()], read_snapshot)
            .optional()
    };
    deployments.iter().map(summary).collect()
}

/// Deployments that have ended and have no snapshot of their end in this format, newest first.
pub(super) fn missing(
    connection: &Connection,
    format: u32,
    before: Option<DeploymentId>,
    limit: usize,
) -> rusqlite::Result<Vec<DeploymentId>> {
    let before = match before {
        None => i64::MAX,
        // Nothing is older than a deployment that does not exist.
        Some(id) => deployment_number(connection, id)?.unwrap_or(0),
    };
    let query = "SELECT id FROM deployment WHERE ended = 1 AND number < ?2
        AND number NOT IN (SELECT deployment FROM snapshot INDEXED BY snapshot_ended
            WHERE ended = 1 AND format = ?1)
        ORDER BY number DESC LIMIT ?3";
    connection
        .prepare_cached(query)?
        .query_map(params![format, before, clamp(limit)], |row| {
            read_deployment_id(row, 0)
        })?
        .collect()
}

fn read_snapshot(row: &Row<'_>) -> rusqlite::Result<Snapshot> {
    Ok(Snapshot {
        format: row.get(0)?,
        next_seq: read_u64(row, 1)?,
        body: row.get(2)?,
    })
}
