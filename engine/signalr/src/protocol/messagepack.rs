use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CompletionResult, Frame, Message, ProtocolError};

/// The maximum size of a length prefix, in bytes. 5 × 7 bits hold more than the maximum
/// length of 2 GiB.
const MAX_PREFIX: usize = 5;
/// The maximum nesting depth of a message. JSON's parser stops at 128. Our messages need
/// less than a tenth of that.
const MAX_DEPTH: usize = 64;

/// Splits off the message behind the length prefix: a variable-length integer with 7 bits
/// per byte, lowest first. The highest bit of a byte says that another byte follows.
pub(super) fn split_frame(bytes: &[u8], limit: usize) -> Result<Option<Frame<'_>>, ProtocolError> {
    let mut length = 0_usize;
    for (index, byte) in bytes.iter().take(MAX_PREFIX).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let start = index + 1;
            if length > limit {
                let text = format!("The maximum message size of {limit}B was exceeded.");
                return Err(ProtocolError::new(text));
            }
            let payload = bytes.get(start..start + length);
            return Ok(payload.map(|payload| Frame {
                payload,
                size: start + length,
            }));
        }
    }
    if bytes.len() >= MAX_PREFIX {
        return Err(ProtocolError::new(
            "Messages over 2GB in size are not supported.",
        ));
    }
    Ok(None)
}

/// `None` for a message of an unknown type. Additional items are ignored: a later protocol
/// version may have them.
pub(super) fn decode(payload: &[u8]) -> Result<Option<Message>, ProtocolError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(payload);
    reader.set_max_depth(MAX_DEPTH);
    let items = Vec::<Value>::deserialize(&mut reader)
        .map_err(|error| ProtocolError::new(format!("Error reading MessagePack: {error}.")))?;
    let mut items = UnreadItems(items.into());
    let kind = items.number("type")?;
    let has_headers = matches!(kind, 1..=5);
    if has_headers && !matches!(items.any("headers")?, Value::Object(_) | Value::Null) {
        return Err(ProtocolError::new("Reading 'headers' as a map failed."));
    }
    let message = match kind {
        1 => Message::Invocation {
            invocation_id: items.text_or_nil("invocationId")?,
            target: items.text("target")?,
            arguments: items.array("arguments")?,
            stream_ids: items.stream_ids()?,
        },
        2 => Message::StreamItem {
            invocation_id: items.text("invocationId")?,
            item: items.any("item")?,
        },
        3 => Message::Completion {
            invocation_id: items.text("invocationId")?,
            result: match items.number("resultKind")? {
                1 => CompletionResult::Error(items.text("error")?),
                2 => CompletionResult::Void,
                3 => CompletionResult::Value(items.any("result")?),
                _ => return Err(ProtocolError::new("Invalid invocation result kind.")),
            },
        },
        4 => Message::StreamInvocation {
            invocation_id: items.text("invocationId")?,
            target: items.text("target")?,
            arguments: items.array("arguments")?,
            stream_ids: items.stream_ids()?,
        },
        5 => Message::CancelInvocation {
            invocation_id: items.text("invocationId")?,
        },
        6 => Message::Ping,
        7 => Message::Close {
            error: items.text_or_nil("error")?,
            allow_reconnect: matches!(items.0.pop_front(), Some(Value::Bool(true))),
        },
        8 => Message::Ack {
            sequence_id: items.number("sequenceId")?,
        },
        9 => Message::Sequence {
            sequence_id: items.number("sequenceId")?,
        },
        _ => return Ok(None),
    };
    Ok(Some(message))
}

/// The items of a message that have not been read yet.
struct UnreadItems(VecDeque<Value>);

impl UnreadItems {
    fn any(&mut self, name: &str) -> Result<Value, ProtocolError> {
        self.0
            .pop_front()
            .ok_or_else(|| wrong_type(name, "an item"))
    }

    fn number(&mut self, name: &str) -> Result<u64, ProtocolError> {
        let number = self.any(name)?.as_u64();
        number.ok_or_else(|| wrong_type(name, "Int32"))
    }

    fn text(&mut self, name: &str) -> Result<String, ProtocolError> {
        let text = self.text_or_nil(name)?;
        text.ok_or_else(|| wrong_type(name, "String"))
    }

    fn text_or_nil(&mut self, name: &str) -> Result<Option<String>, ProtocolError> {
        match self.any(name)? {
            Value::String(text) => Ok(Some(text)),
            Value::Null => Ok(None),
            _ => Err(wrong_type(name, "String")),
        }
    }

    fn array(&mut self, name: &str) -> Result<Vec<Value>, ProtocolError> {
        match self.any(name)? {
            Value::Array(items) => Ok(items),
            _ => Err(wrong_type(name, "an array")),
        }
    }

    /// Absent from old clients.
    fn stream_ids(&mut self) -> Result<Vec<String>, ProtocolError> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let ids = self.array("streamIds")?.into_iter().map(|id| match id {
            Value::String(id) => Ok(id),
            _ => Err(wrong_type("streamIds", "String")),
        });
        ids.collect()
    }
}

fn wrong_type(name: &str, kind: &str) -> ProtocolError {
    ProtocolError::new(format!("Reading '{name}' as {kind} failed."))
}

pub(super) fn encode(message: &Message) -> Bytes {
    let headers = Value::Object(serde_json::Map::new());
    let optional_text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::String);
    let text_array = |texts: &[String]| Value::from(texts.to_vec());
    let items = match message {
        Message::Invocation {
            invocation_id,
            target,
            arguments,
            stream_ids,
        } => vec![
            1.into(),
            headers,
            optional_text(invocation_id),
            target.as_str().into(),
            Value::Array(arguments.clone()),
            text_array(stream_ids),
        ],
        Message::StreamItem {
            invocation_id,
            item,
        } => {
            vec![
                2.into(),
                headers,
                invocation_id.as_str().into(),
                item.clone(),
            ]
        }
        Message::Completion {
            invocation_id,
            result,
        } => {
            let mut items = vec![3.into(), headers, invocation_id.as_str().into()];
            match result {
                CompletionResult::Error(error) => items.extend([1.into(), error.as_str().into()]),
                CompletionResult::Void => items.push(2.into()),
                CompletionResult::Value(value) => items.extend([3.into(), value.clone()]),
            }
            items
        }
        Message::StreamInvocation {
            invocation_id,
            target,
            arguments,
            stream_ids,
        } => vec![
            4.into(),
            headers,
            invocation_id.as_str().into(),
            target.as_str().into(),
            Value::Array(arguments.clone()),
            text_array(stream_ids),
        ],
        Message::CancelInvocation { invocation_id } => {
            vec![5.into(), headers, invocation_id.as_str().into()]
        }
        Message::Ping => vec![6.into()],
        Message::Close {
            error,
            allow_reconnect,
        } => vec![7.into(), optional_text(error), (*allow_reconnect).into()],
        Message::Ack { sequence_id } => vec![8.into(), (*sequence_id).into()],
        Message::Sequence { sequence_id } => vec![9.into(), (*sequence_id).into()],
    };
    let mut payload = Vec::with_capacity(128);
    if let Err(error) = items.serialize(&mut rmp_serde::Serializer::new(&mut payload)) {
        // Every JSON value can be encoded as MessagePack.
        tracing::error!(%error, "a message could not be encoded as MessagePack");
    }
    let mut bytes = Vec::with_capacity(MAX_PREFIX + payload.len());
    let mut length = payload.len();
    loop {
        // The mask leaves 7 bits.
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
