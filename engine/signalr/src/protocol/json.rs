use bytes::Bytes;
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CompletionResult, Frame, Message, ProtocolError, RECORD_SEPARATOR};

/// The fields of all message types. The type determines which ones are required.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageJson {
    #[serde(rename = "type")]
    kind: u64,
    invocation_id: Option<String>,
    target: Option<String>,
    arguments: Option<Vec<Value>>,
    #[serde(default)]
    stream_ids: Option<Vec<String>>,
    // An item may be null, which differs from an absent one.
    #[serde(default, deserialize_with = "some_value")]
    item: Option<Value>,
    #[serde(default, deserialize_with = "some_value")]
    result: Option<Value>,
    error: Option<String>,
    allow_reconnect: Option<bool>,
    sequence_id: Option<u64>,
}

fn some_value<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

pub(super) fn split_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let end = bytes.iter().position(|byte| *byte == RECORD_SEPARATOR)?;
    Some(Frame {
        payload: &bytes[..end],
        size: end + 1,
    })
}

/// `None` for a message of an unknown type.
pub(super) fn decode(payload: &[u8]) -> Result<Option<Message>, ProtocolError> {
    let json: MessageJson = serde_json::from_slice(payload)
        .map_err(|error| ProtocolError::new(format!("Error reading JSON: {error}.")))?;
    let missing = |name: &str| ProtocolError::new(format!("Missing required property '{name}'."));
    let id = json.invocation_id;
    let required = |id: Option<String>| id.ok_or_else(|| missing("invocationId"));
    let message = match json.kind {
        1 => Message::Invocation {
            invocation_id: id,
            target: json.target.ok_or_else(|| missing("target"))?,
            arguments: json.arguments.ok_or_else(|| missing("arguments"))?,
            stream_ids: json.stream_ids.unwrap_or_default(),
        },
        2 => Message::StreamItem {
            invocation_id: required(id)?,
            item: json.item.ok_or_else(|| missing("item"))?,
        },
        3 => Message::Completion {
            invocation_id: required(id)?,
            result: match (json.error, json.result) {
                (Some(_), Some(_)) => {
                    let both = "The 'error' and 'result' properties are mutually exclusive.";
                    return Err(ProtocolError::new(both));
                }
                (Some(error), None) => CompletionResult::Error(error),
                (None, Some(value)) => CompletionResult::Value(value),
                (None, None) => CompletionResult::Void,
            },
        },
        4 => Message::StreamInvocation {
            invocation_id: required(id)?,
            target: json.target.ok_or_else(|| missing("target"))?,
            arguments: json.arguments.ok_or_else(|| missing("arguments"))?,
            stream_ids: json.stream_ids.unwrap_or_default(),
        },
        5 => Message::CancelInvocation {
            invocation_id: required(id)?,
        },
        6 => Message::Ping,
        7 => Message::Close {
            error: json.error,
            allow_reconnect: json.allow_reconnect.unwrap_or_default(),
        },
        8 => Message::Ack {
            sequence_id: json.sequence_id.ok_or_else(|| missing("sequenceId"))?,
        },
        9 => Message::Sequence {
            sequence_id: json.sequence_id.ok_or_else(|| missing("sequenceId"))?,
        },
        _ => return Ok(None),
    };
    Ok(Some(message))
}

pub(super) fn encode(message: &Message) -> Bytes {
    let mut bytes = Vec::with_capacity(128);
    // Writing fails only for maps whose keys are not text, and ours all are.
    if let Err(error) = serde_json::to_writer(&mut bytes, &JsonFields(message)) {
        tracing::error!(%error, "a message could not be encoded as JSON");
    }
    bytes.push(RECORD_SEPARATOR);
    bytes.into()
}

/// Serialises a message with exactly the fields of its type: some clients fail on others.
struct JsonFields<'a>(&'a Message);

impl Serialize for JsonFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.0 {
            Message::Invocation {
                invocation_id,
                target,
                arguments,
                stream_ids,
            } => {
                map.serialize_entry("type", &1)?;
                if let Some(invocation_id) = invocation_id {
                    map.serialize_entry("invocationId", invocation_id)?;
                }
                map.serialize_entry("target", target)?;
                map.serialize_entry("arguments", arguments)?;
                if !stream_ids.is_empty() {
                    map.serialize_entry("streamIds", stream_ids)?;
                }
            }
            Message::StreamItem {
                invocation_id,
                item,
            } => {
                map.serialize_entry("type", &2)?;
                map.serialize_entry("invocationId", invocation_id)?;
                map.serialize_entry("item", item)?;
            }
            Message::Completion {
                invocation_id,
                result,
            } => {
                map.serialize_entry("type", &3)?;
                map.serialize_entry("invocationId", invocation_id)?;
                match result {
                    CompletionResult::Void => {}
                    CompletionResult::Value(value) => map.serialize_entry("result", value)?,
                    CompletionResult::Error(error) => map.serialize_entry("error", error)?,
                }
            }
            Message::StreamInvocation {
                invocation_id,
                target,
                arguments,
                stream_ids,
            } => {
                map.serialize_entry("type", &4)?;
                map.serialize_entry("invocationId", invocation_id)?;
                map.serialize_entry("target", target)?;
                map.serialize_entry("arguments", arguments)?;
                if !stream_ids.is_empty() {
                    map.serialize_entry("streamIds", stream_ids)?;
                }
            }
            Message::CancelInvocation { invocation_id } => {
                map.serialize_entry("type", &5)?;
                map.serialize_entry("invocationId", invocation_id)?;
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
            Message::Ack { sequence_id } => {
                map.serialize_entry("type", &8)?;
                map.serialize_entry("sequenceId", sequence_id)?;
            }
            Message::Sequence { sequence_id } => {
                map.serialize_entry("type", &9)?;
                map.serialize_entry("sequenceId", sequence_id)?;
            }
        }
        map.end()
    }
}
