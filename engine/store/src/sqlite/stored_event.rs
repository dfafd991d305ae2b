//! Rows of the table `event`.

use hotswap_core::{Damage, Event, Timestamp, decode_event};
use rusqlite::{Connection, Row, params};

use super::row::read_u64;

/// An event as the database has it.
pub(super) struct StoredEvent<'a> {
    pub(super) seq: u64,
    pub(super) position: u64,
    at: Timestamp,
    body: &'a [u8],
}

impl<'a> StoredEvent<'a> {
    /// Reads the columns seq, position, at and body. Fails only where the database does.
    pub(super) fn read(row: &'a Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: read_u64(row, 0)?,
            position: read_u64(row, 1)?,
            at: Timestamp::from_millis(read_u64(row, 2)?),
            body: row.get_ref(3)?.as_bytes()?,
        })
    }

    /// The event, or why it cannot be read.
    pub(super) fn decode(&self) -> Result<Event, Damage> {
        let body = decode_event(self.body).map_err(|error| Damage {
            seq: self.seq,
            position: Some(self.position),
            reason: error.to_string(),
            needs_upgrade: error.needs_upgrade(),
            next_seq: self.seq + 1,
        })?;
        Ok(Event {
            seq: self.seq,
            position: self.position,
            at: self.at,
            body,
        })
    }

    /// The event, which must have number `seq`: those before it are missing otherwise.
    pub(super) fn decode_as(&self, seq: u64) -> Result<Event, Damage> {
        if self.seq == seq {
            self.decode()
        } else {
            Err(Damage::missing(seq, self.seq, Some(self.position)))
        }
    }
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
        events.extend(StoredEvent::read(row)?.decode());
    }
    Ok(events)
}
