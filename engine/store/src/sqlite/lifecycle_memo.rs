//! The lifecycle beside a journal: a memo of the fold over its events, which can be folded again.

use hotswap_core::Lifecycle;
use rusqlite::{Connection, Row};

use super::stored_event::readable_events_of;
use crate::lifecycle_memo::fold_lifecycle;

/// Reads the columns lifecycle, status and ended of deployment `number`, from `column` on.
/// Folds the lifecycle from the events where the column cannot be read, because it is damaged
/// or a newer engine wrote it.
pub(super) fn read_lifecycle(
    connection: &Connection,
    number: i64,
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Lifecycle> {
    if let Ok(lifecycle) = serde_json::from_slice(row.get_ref(column)?.as_bytes()?) {
        return Ok(lifecycle);
    }
    let events = readable_events_of(connection, number, 0)?;
    let status: String = row.get(column + 1)?;
    let has_ended: bool = row.get(column + 2)?;
    Ok(fold_lifecycle(&events, &status, has_ended))
}
