use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Event, IllegalTransition};

/// The first place where a journal cannot be read, and why. Its `Display` is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Damage {
    /// The sequence number of the event that cannot be read, or that is missing.
    pub seq: u64,
    /// The event's position in the store. If events are missing, a position between the
    /// event before and the next one. `None` if there is no next one.
    pub position: Option<u64>,
    /// Why, for people.
    pub reason: String,
    /// Whether a newer engine wrote the event, and can read it.
    pub needs_upgrade: bool,
    /// The sequence number at which reading can continue.
    pub next_seq: u64,
}

impl Damage {
    /// An event that was read and cannot follow those before it.
    pub fn illegal(event: &Event, why: &IllegalTransition) -> Self {
        Self {
            seq: event.seq,
            position: Some(event.position),
            reason: format!("it cannot follow the events before it: {why}"),
            needs_upgrade: false,
            next_seq: event.seq + 1,
        }
    }

    /// Events that are missing: all from number `seq` to the one before number `next_seq`,
    /// which has the position `next_position`.
    pub fn missing(seq: u64, next_seq: u64, next_position: Option<u64>) -> Self {
        Self {
            seq,
            position: next_position.map(|position| position.saturating_sub(1)),
            reason: "it is missing".to_owned(),
            needs_upgrade: false,
            next_seq,
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seq, reason, .. } = self;
        match self.position {
            Some(position) => write!(
                f,
                "event {seq} of the journal (position {position} in the store) cannot be read: \
                 {reason}"
            ),
            None => write!(f, "event {seq} of the journal cannot be read: {reason}"),
        }
    }
}
