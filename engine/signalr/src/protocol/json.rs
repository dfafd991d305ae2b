use bytes::Bytes;
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Framed, Malformed};
use crate::message::{Message, Outcome};

/// Ends each record: a byte that JSON text cannot hold.
pub(crate) const SEPARATOR: u8 = 0x1e;

/// Every field that some type of record has; the type says which must be there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    #[serde(rename = "type")]
    kind: u64,
    invocation_id: Option<String>,
    target: Option<String>,
    arguments: Option<Vec<Value>>,
    #[serde(default)]
    stream_ids: Option<Vec<String>>,
    // Null is a value here: an item may be nothing.
    #[serde(default, deserialize_with = "present")]
    item: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    result: Option<Value>,
    error: Option<String>,
    allow_reconnect: Option<bool>,
    sequence_id: Option<u64>,
}

fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

pub(super) fn frame(bytes: &[u8]) -> Option<Framed<'_>> {
    let end = bytes.iter().position(|byte| *byte == SEPARATOR)?;
    Some(Framed {
        payload: &bytes[..end],
        taken: end + 1,
    })
}

/// Nothing for a record of an unknown type.
pub(super) fn decode(payload: &[u8]) -> Result<Option<Message>, Malformed> {
    let record: Record = serde_json::from_slice(payload)
        .map_err(|error| Malformed::new(format!("Error reading JSON: {error}.")))?;
    let missing = |name: &str| Malformed::new(format!("Missing required property '{name}'."));
    let id = record.invocation_id;
    let id_of = |id: Option<String>| id.ok_or_else(|| missing("invocationId"));
    let message = match record.kind {
        1 => Message::Invocation {
            id,
            target: record.target.ok_or_else(|| missing("target"))?,
            arguments: record.arguments.ok_or_else(|| missing("arguments"))?,
            streams: record.stream_ids.unwrap_or_default(),
        },
        2 => Message::StreamItem {
            id: id_of(id)?,
            item: record.item.ok_or_else(|| missing("item"))?,
        },
        3 => Message::Completion {
            id: id_of(id)?,
            outcome: match (record.error, record.result) {
                (Some(_), Some(_)) => {
                    let both = "The 'error' and 'result' properties are mutually exclusive.";
                    return Err(Malformed::new(both));
                }
                (Some(error), None) => Outcome::Error(error),
                (None, Some(value)) => Outcome::Value(value),
                (None, None) => Outcome::Void,
            },
        },
        4 => Message::StreamInvocation {
            id: id_of(id)?,
            target: record.target.ok_or_else(|| missing("target"))?,
            arguments: record.arguments.ok_or_else(|| missing("arguments"))?,
            streams: record.stream_ids.unwrap_or_default(),
        },
        5 => Message::CancelInvocation { id: id_of(id)? },
        6 => Message::Ping,
        7 => Message::Close {
            error: record.error,
            allow_reconnect: record.allow_reconnect.unwrap_or_default(),
        },
        8 => Message::Ack {
            sequence: record.sequence_id.ok_or_else(|| missing("sequenceId"))?,
        },
        9 => Message::Sequence {
            sequence: record.sequence_id.ok_or_else(|| missing("sequenceId"))?,
        },
        _ => return Ok(None),
    };
    Ok(Some(message))
}

pub(super) fn encode(message: &Message) -> Bytes {
    let mut bytes = Vec::with_capacity(128);
    // Only a value whose keys are no text cannot be written, and ours are all text.
    if let Err(error) = serde_json::to_writer(&mut bytes, &Written(message)) {
        tracing::error!(%error, "a record could not be written");
    }
    bytes.push(SEPARATOR);
    bytes.into()
}

/// A record as it is written: only the fields that its type has. Some clients build an
/// object of exactly the fields they know, and fail on any other.
struct Written<'a>(&'a Message);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            Message::Invocation {
                id,
                target,
                arguments,
                streams,
            } => {
                map.serialize_entry("type", &1)?;
                if let Some(id) = id {
                    map.serialize_entry("invocationId", id)?;
                }
                map.serialize_entry("target", target)?;
                map.serialize_entry("arguments", arguments)?;
                if !streams.is_empty() {
                    map.serialize_entry("streamIds", streams)?;
                }
            }
            Message::StreamItem { id, item } => {
                map.serialize_entry("type", &2)?;
                map.serialize_entry("invocationId", id)?;
                map.serialize_entry("item", item)?;
            }
            Message::Completion { id, outcome } => {
                map.serialize_entry("type", &3)?;
                map.serialize_entry("invocationId", id)?;
                match outcome {
                    Outcome::Void => {}
                    Outcome::Value(value) => map.serialize_entry("result", value)?,
                    Outcome::Error(error) => map.serialize_entry("error", error)?,
                }
            }
            Message::StreamInvocation {
                id,
                target,
                arguments,
                streams,
            } => {
                map.serialize_entry("type", &4)?;
                map.serialize_entry("invocationId", id)?;
                map.serialize_entry("target", target)?;
                map.serialize_entry("arguments", arguments)?;
                if !streams.is_empty() {
                    map.serialize_entry("streamIds", streams)?;
                }
            }
            Message::CancelInvocation { id } => {
                map.serialize_entry("type", &5)?;
                map.serialize_entry("invocationId", id)?;
            }
            Message::Ping => map.serialize_entry("type", &6)?,
            Message::Close {
                error,
                allow_reconnect,
            } => {
                map.serialize_entry("type", &7)?;
                if let Some(error) = error {
                    map.serialize_entry("error", error)?;
                }
                if *allow_reconnect {
                    map.serialize_entry("allowReconnect", &true)?;
                }
            }
            Message::Ack { sequence } => {
                map.serialize_entry("type", &8)?;
                map.serialize_entry("sequenceId", sequence)?;
            }
            Message::Sequence { sequence } => {
                map.serialize_entry("type", &9)?;
                map.serialize_entry("sequenceId", sequence)?;
            }
        }
        map.end()
    }
}
