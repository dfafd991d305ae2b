//! Events of deployments in the form in which every store has them.

use hotswap_core::{Damage, Event, Timestamp, decode_event};

/// An event as the store has it.
pub(crate) struct StoredEvent<'a> {
    pub(crate) seq: u64,
    pub(crate) position: u64,
    pub(crate) at: Timestamp,
    pub(crate) body: &'a [u8],
}

impl StoredEvent<'_> {
    /// The event, or why it cannot be read.
    pub(crate) fn decode(&self) -> Result<Event, Damage> {
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
    pub(crate) fn decode_as(&self, seq: u64) -> Result<Event, Damage> {
        if self.seq == seq {
            self.decode()
        } else {
            Err(Damage::missing(seq, self.seq, Some(self.position)))
        }
    }
}
