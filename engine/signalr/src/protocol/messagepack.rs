use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Framed, Malformed};
use crate::message::{Message, Outcome};

/// The bytes that a length may take: 5 × 7 bits hold more than the 2 GiB that it may say.
const LENGTH_BYTES: usize = 5;
/// How deep a record may nest. JSON's reader stops at 128; nothing of ours needs a tenth.
const DEPTH: usize = 64;

/// The record behind its length: 7 bits a byte, the lowest first, the highest bit saying
/// that more follow.
pub(super) fn frame(bytes: &[u8], limit: usize) -> Result<Option<Framed<'_>>, Malformed> {
    let mut length = 0_usize;
    for (place, byte) in bytes.iter().take(LENGTH_BYTES).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let begin = place + 1;
            if length > limit {
                let text = format!("The maximum message size of {limit}B was exceeded.");
                return Err(Malformed::new(text));
            }
            let payload = bytes.get(begin..begin + length);
            return Ok(payload.map(|payload| Framed {
                payload,
                taken: begin + length,
            }));
        }
    }
    if bytes.len() >= LENGTH_BYTES {
        return Err(Malformed::new(
            "Messages over 2GB in size are not supported.",
        ));
    }
    Ok(None)
}

/// Nothing for a record of an unknown type. Items beyond those that a type has are passed
/// over: a later protocol may have them.
pub(super) fn decode(payload: &[u8]) -> Result<Option<Message>, Malformed> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(payload);
    reader.set_max_depth(DEPTH);
    let items = Vec::<Value>::deserialize(&mut reader)
        .map_err(|error| Malformed::new(format!("Error reading MessagePack: {error}.")))?;
    let mut items = Items(items.into());
    let kind = items.number("type")?;
    let headed = matches!(kind, 1..=5);
    if headed && !matches!(items.any("headers")?, Value::Object(_) | Value::Null) {
        return Err(Malformed::new("Reading 'headers' as a map failed."));
    }
    let message = match kind {
        1 => Message::Invocation {
            id: items.text_or_nil("invocationId")?,
            target: items.text("target")?,
            arguments: items.array("arguments")?,
            streams: items.streams()?,
        },
        2 => Message::StreamItem {
            id: items.text("invocationId")?,
            item: items.any("item")?,
        },
        3 => Message::Completion {
            id: items.text("invocationId")?,
            outcome: match items.number("resultKind")? {
                1 => Outcome::Error(items.text("error")?),
                2 => Outcome::Void,
                3 => Outcome::Value(items.any("result")?),
                _ => return Err(Malformed::new("Invalid invocation result kind.")),
            },
        },
        4 => Message::StreamInvocation {
            id: items.text("invocationId")?,
            target: items.text("target")?,
            arguments: items.array("arguments")?,
            streams: items.streams()?,
        },
        5 => Message::CancelInvocation {
            id: items.text("invocationId")?,
        },
        6 => Message::Ping,
        7 => Message::Close {
            error: items.text_or_nil("error")?,
            allow_reconnect: matches!(items.0.pop_front(), Some(Value::Bool(true))),
        },
        8 => Message::Ack {
            sequence: items.number("sequenceId")?,
        },
        9 => Message::Sequence {
            sequence: items.number("sequenceId")?,
        },
        _ => return Ok(None),
    };
    Ok(Some(message))
}

/// The items of a record that have not been read.
struct Items(VecDeque<Value>);

impl Items {
    fn any(&mut self, name: &str) -> Result<Value, Malformed> {
        self.0.pop_front().ok_or_else(|| failed(name, "an item"))
    }

    fn number(&mut self, name: &str) -> Result<u64, Malformed> {
        let number = self.any(name)?.as_u64();
        number.ok_or_else(|| failed(name, "Int32"))
    }

    fn text(&mut self, name: &str) -> Result<String, Malformed> {
        let text = self.text_or_nil(name)?;
        text.ok_or_else(|| failed(name, "String"))
    }

    fn text_or_nil(&mut self, name: &str) -> Result<Option<String>, Malformed> {
        match self.any(name)? {
            Value::String(text) => Ok(Some(text)),
            Value::Null => Ok(None),
            _ => Err(failed(name, "String")),
        }
    }

    fn array(&mut self, name: &str) -> Result<Vec<Value>, Malformed> {
        match self.any(name)? {
            Value::Array(items) => Ok(items),
            _ => Err(failed(name, "an array")),
        }
    }

    /// Left out by old clients.
    fn streams(&mut self) -> Result<Vec<String>, Malformed> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let ids = self.array("streamIds")?.into_iter().map(|id| match id {
            Value::String(id) => Ok(id),
            _ => Err(failed("streamIds", "String")),
        });
        ids.collect()
    }
}

fn failed(name: &str, kind: &str) -> Malformed {
    Malformed::new(format!("Reading '{name}' as {kind} failed."))
}

pub(super) fn encode(message: &Message) -> Bytes {
    let headers = Value::Object(serde_json::Map::new());
    let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::String);
    let streams = |ids: &[String]| Value::from(ids.to_vec());
    let items = match message {
        Message::Invocation {
            id,
            target,
            arguments,
            streams: ids,
        } => vec![
            1.into(),
            headers,
            text(id),
            target.as_str().into(),
            Value::Array(arguments.clone()),
            streams(ids),
        ],
        Message::StreamItem { id, item } => {
            vec![2.into(), headers, id.as_str().into(), item.clone()]
        }
        Message::Completion { id, outcome } => {
            let mut items = vec![3.into(), headers, id.as_str().into()];
            match outcome {
                Outcome::Error(error) => items.extend([1.into(), error.as_str().into()]),
                Outcome::Void => items.push(2.into()),
                Outcome::Value(value) => items.extend([3.into(), value.clone()]),
            }
            items
        }
        Message::StreamInvocation {
            id,
            target,
            arguments,
            streams: ids,
        } => vec![
            4.into(),
            headers,
            id.as_str().into(),
            target.as_str().into(),
            Value::Array(arguments.clone()),
            streams(ids),
        ],
        Message::CancelInvocation { id } => vec![5.into(), headers, id.as_str().into()],
        Message::Ping => vec![6.into()],
        Message::Close {
            error,
            allow_reconnect,
        } => vec![7.into(), text(error), (*allow_reconnect).into()],
        Message::Ack { sequence } => vec![8.into(), (*sequence).into()],
        Message::Sequence { sequence } => vec![9.into(), (*sequence).into()],
    };
    let mut payload = Vec::with_capacity(128);
    if let Err(error) = items.serialize(&mut rmp_serde::Serializer::new(&mut payload)) {
        // Values of JSON can all be written.
        tracing::error!(%error, "a record could not be written");
    }
    let mut bytes = Vec::with_capacity(LENGTH_BYTES + payload.len());
    let mut length = payload.len();
    loop {
        // The mask leaves seven bits.
        let low = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            bytes.push(low);
            break;
        }
        bytes.push(low | 0x80);
    }
    bytes.extend_from_slice(&payload);
    bytes.into()
}
