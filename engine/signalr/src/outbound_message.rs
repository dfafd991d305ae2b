use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

use crate::protocol::{Message, Protocol};

/// A message to clients. It is encoded once for each protocol, however many clients it is
/// sent to. Cheap to clone.
#[derive(Clone)]
pub struct OutboundMessage(Arc<Inner>);

struct Inner {
    message: Message,
    replacement_key: Option<String>,
    json: OnceLock<Bytes>,
    messagepack: OnceLock<Bytes>,
}

impl OutboundMessage {
    /// An invocation of the client's handlers of `target`, with one argument.
    pub fn new(target: &str, argument: Value) -> Self {
        Self::from_message(invocation(target, argument), None)
    }

    /// An invocation that replaces an unsent message with the same `key`: only the newest is worth
    /// sending.
    pub fn replaceable(key: String, target: &str, argument: Value) -> Self {
        Self::from_message(invocation(target, argument), Some(key))
    }

    /// The argument of the invocation.
    pub fn argument(&self) -> Option<&Value> {
        match &self.0.message {
            Message::Invocation { arguments, .. } => arguments.first(),
            _ => None,
        }
    }

    /// The size in bytes as JSON, the protocol of most clients.
    pub fn size(&self) -> usize {
        self.encoded(Protocol::Json).len()
    }

    pub(crate) fn from_message(message: Message, replacement_key: Option<String>) -> Self {
        Self(Arc::new(Inner {
            message,
            replacement_key,
            json: OnceLock::new(),
            messagepack: OnceLock::new(),
        }))
    }

    pub(crate) fn message(&self) -> &Message {
        &self.0.message
    }

    /// Whether `newer` replaces this message.
    pub(crate) fn is_replaced_by(&self, newer: &Self) -> bool {
        self.0.replacement_key.is_some() && self.0.replacement_key == newer.0.replacement_key
    }

    pub(crate) fn is_replaceable(&self) -> bool {
        self.0.replacement_key.is_some()
    }

    pub(crate) fn encoded(&self, protocol: Protocol) -> &Bytes {
        let cell = match protocol {
            Protocol::Json => &self.0.json,
            Protocol::MessagePack => &self.0.messagepack,
        };
        cell.get_or_init(|| protocol.encode(&self.0.message))
    }
}

fn invocation(target: &str, argument: Value) -> Message {
    Message::Invocation {
        invocation_id: None,
        target: target.to_owned(),
        arguments: vec![argument],
        stream_ids: Vec::new(),
    }
}

impl fmt::Debug for OutboundMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OutboundMessage")
            .field(&self.0.message)
            .finish()
    }
}
