//! The form in which events are stored: JSON that says its schema version.
//!
//! `{"schema":4,"type":"paused","data":{"by":"ada"}}`
//!
//! - Unknown fields are ignored, so a release may add a field that older engines can do
//!   without, and keep the version.
//! - What an older engine would misread needs a new version: a new type of event, a new
//!   variant, a field with another meaning. Raise [`SCHEMA_VERSION`], and add the step from
//!   the version before to `upcast`.
//! - An event of a newer version is never guessed at; see [`DecodeError`].

mod upcast;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::EventBody;

/// The schema version of the events that this release writes. It reads this version and all
/// before.
///
/// - 1: the first. Its events do not say their version.
/// - 2: events say their version, the header pins the strategy's limits, and a deployment can
///   be terminated.
/// - 3: a deployment may be for a part of its environment, may supersede another one, and a
///   person can end its waits. An engine that does not know the header's `selector` would plan
///   all nodes, and one that does not know `supersedes` would not wait. A journal says where the
///   store has lost some of it (`writesLost`): an engine that does not know this type refuses the
///   journal.
/// - 4: the decision that a deployment has succeeded says which nodes were not updated. An older
///   engine that finished such a deployment would ask the nodes again, and might call it partial
///   although the policy tolerates nothing. A journal says which nodes of the plan were brought
///   back (`repairing`, `repaired`, `repairFailed`): an engine that does not know these types
///   refuses the journal.
pub const SCHEMA_VERSION: u32 = 4;

/// Why a stored event cannot be read. Its `Display` follows "event 7 cannot be read: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A newer engine has written it.
    #[error(
        "it has schema version {version}, and this engine reads versions up to {newest}; \
         start the newer engine that wrote it"
    )]
    Newer {
        /// Its schema version.
        version: u32,
        /// The newest that this engine reads.
        newest: u32,
    },
    /// It says what this release does not know, so a newer engine has written it.
    #[error("its type '{name}' is unknown to this engine; start the newer engine that wrote it")]
    UnknownType {
        /// Its type, truncated.
        name: String,
    },
    /// It is not what any release writes.
    #[error("{0}")]
    Invalid(String),
}

/// An event as it is written.
#[derive(Serialize)]
struct StoredEvent<'a> {
    // The first field, so that a reader of the tag need not look for it behind the data.
    schema: u32,
    #[serde(flatten)]
    body: &'a EventBody,
}

/// What every version of a stored event has.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default = "first_version")]
    schema: u32,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

fn first_version() -> u32 {
    1
}

impl DecodeError {
    /// Whether a newer engine wrote the event, and can read it.
    pub fn needs_upgrade(&self) -> bool {
        match self {
            Self::Newer { .. } | Self::UnknownType { .. } => true,
            Self::Invalid(_) => false,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
    pub(crate) fn invalid(error: serde_json::Error) -> Self {
        Self::Invalid(format!("it is not a valid event: {error}"))
    }
}

/// Appends the stored form of an event to `bytes`.
///
/// # Errors
/// Where JSON cannot hold it.
pub fn encode_event(body: &EventBody, bytes: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let schema = SCHEMA_VERSION;
    serde_json::to_writer(bytes, &StoredEvent { schema, body })
}

/// Reads an event from its stored form, of this version or an older one. Pure.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_event(bytes: &[u8]) -> Result<EventBody, DecodeError> {
    let version = check_envelope(bytes, SCHEMA_VERSION, &EventBody::NAMES)?;
    let decoded = if version == SCHEMA_VERSION {
        serde_json::from_slice(bytes)
    } else {
        serde_json::from_slice::<Value>(bytes)
            .and_then(|event| serde_json::from_value(upcast::upcast(version, event)))
    };
    decoded.map_err(DecodeError::invalid)
}

/// Returns the schema version of a stored event.
///
/// # Errors
/// [`DecodeError`] if it is above `newest`, or its type is not one of `names`.
pub(crate) fn check_envelope(
    bytes: &[u8],
    newest: u32,
    names: &[&str],
) -> Result<u32, DecodeError> {
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(DecodeError::invalid)?;
    let version = envelope.schema;
    if version > newest {
        return Err(DecodeError::Newer { version, newest });
    }
    if !names.contains(&&*envelope.kind) {
        let name = envelope.kind.chars().take(80).collect();
        return Err(DecodeError::UnknownType { name });
    }
    Ok(version)
}

#[cfg(test)]
mod tests;
