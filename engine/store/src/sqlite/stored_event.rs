//! Rows of the table `event`.

use hotswap_core::{Event, Timestamp};
use rusqlite::{Connection, Row, params};

use super::row::read_u64;
use crate::stored_event::StoredEvent;

/// Reads the columns seq, position, at and body. Fails only where the database does.
pub(super) fn read_event<'a>(row: &'a Row<'_>) -> rusqlite::Result<StoredEvent<'a>> {
    Ok(StoredEvent {
        seq: read_u64(row, 0)?,
        position: read_u64(row, 1)?,
        at: Timestamp::from_millis(read_u64(row, 2)?),
        body: row.get_ref(3)?.as_bytes()?,
    })
}

/// The events of the deployment with this number that can be read.
pub(super) fn readable_events_of(
    connection: &Connection,
    number: i64,
    from: u64,
) -> rusqlite::Result<Vec<Event>> {
    let query = "SELECT seq, position, at, body FROM event
        WHERE deployment = ?1 AND seq >= ?2 ORDER BY seq";
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query(params![number, i64::try_from(from).unwrap_or(i64::MAX)])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.extend(read_event(row)?.decode());
    }
    Ok(events)
}
