//! Deleting deployments that have ended.

use hotswap_core::DeploymentId;
use rusqlite::{Connection, OptionalExtension};

/// The outcome of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deletion {
    Deleted,
    /// There is no such deployment.
    Unknown,
    /// It has not ended.
    Open,
}

/// Deletes a deployment with its events and its snapshot, in the transaction of the caller.
pub(super) fn delete(
    connection: &Connection,
    deployment: DeploymentId,
) -> rusqlite::Result<Deletion> {
    let found = connection
        .prepare_cached("SELECT number, ended FROM deployment WHERE id = ?1")?
        .query_row([deployment.as_bytes()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?))
        })
        .optional()?;
    let number = match found {
        None => return Ok(Deletion::Unknown),
        Some((_, false)) => return Ok(Deletion::Open),
        Some((number, true)) => number,
    };
    for statement in [
        "UPDATE deleted SET through = max(through,
            coalesce((SELECT max(position) FROM event WHERE deployment = ?1), 0))",
        "DELETE FROM event WHERE deployment = ?1",
        // Its snapshot goes with it.
        "DELETE FROM deployment WHERE number = ?1",
    ] {
        connection.prepare_cached(statement)?.execute([number])?;
    }
    Ok(Deletion::Deleted)
}
