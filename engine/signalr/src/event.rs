use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

use crate::message::Message;
use crate::protocol::Protocol;

/// Something to tell clients: written once for each protocol, however many hear it.
/// Cheap to clone.
#[derive(Clone)]
pub struct Event(Arc<Inner>);

struct Inner {
    message: Message,
    newest: Option<String>,
    json: OnceLock<Bytes>,
    messagepack: OnceLock<Bytes>,
}

impl Event {
    /// Calls the clients' handlers of `target` with one argument.
    pub fn new(target: &str, argument: Value) -> Self {
        Self::of(invocation(target, argument), None)
    }

    /// The same, for what only the newest of is worth having: where another one with the
    /// same key has not been sent yet, this takes its place.
    pub fn newest(key: String, target: &str, argument: Value) -> Self {
        Self::of(invocation(target, argument), Some(key))
    }

    /// What the clients' handlers are given.
    pub fn argument(&self) -> Option<&Value> {
        match &self.0.message {
            Message::Invocation { arguments, .. } => arguments.first(),
            _ => None,
        }
    }

    /// Bytes that it takes, in JSON: what most clients speak.
    pub fn size(&self) -> usize {
        self.encoded(Protocol::Json).len()
    }

    pub(crate) fn of(message: Message, newest: Option<String>) -> Self {
        Self(Arc::new(Inner {
            message,
            newest,
            json: OnceLock::new(),
            messagepack: OnceLock::new(),
        }))
    }

    pub(crate) fn message(&self) -> &Message {
        &self.0.message
    }

    /// Whether a later one with this key takes its place.
    pub(crate) fn yields_to(&self, later: &Self) -> bool {
        self.0.newest.is_some() && self.0.newest == later.0.newest
    }

    pub(crate) fn is_newest_only(&self) -> bool {
        self.0.newest.is_some()
    }

    pub(crate) fn encoded(&self, protocol: Protocol) -> &Bytes {
        let place = match protocol {
            Protocol::Json => &self.0.json,
            Protocol::MessagePack => &self.0.messagepack,
        };
        place.get_or_init(|| protocol.encode(&self.0.message))
    }
}

fn invocation(target: &str, argument: Value) -> Message {
    Message::Invocation {
        id: None,
        target: target.to_owned(),
        arguments: vec![argument],
        streams: Vec::new(),
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Event").field(&self.0.message).finish()
    }
}
