//! How records are written and read. Bytes in, [`Message`]s out, and back; no I/O.

mod json;
mod messagepack;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub(crate) use self::json::SEPARATOR;

use crate::message::Message;

/// What a connection's records are written in, as its handshake chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Text, each record ended by 0x1e.
    Json,
    /// Binary, each record after its length.
    MessagePack,
}

/// Bytes that are no records. The connection cannot go on: where the next record begins
/// is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

/// Takes bytes as they come and gives records. Keeps less than the limit and one piece.
#[derive(Debug)]
pub struct Parser {
    protocol: Protocol,
    /// The longest record, in bytes.
    limit: usize,
    buffer: Vec<u8>,
    /// What of the buffer has been read.
    read: usize,
}

/// A record's bytes, and how many they take with what frames them.
struct Framed<'a> {
    payload: &'a [u8],
    taken: usize,
}

impl Protocol {
    /// The protocol of that name and version. Versions 0 to 2 differ only in what may be
    /// said, not in how it is written.
    ///
    /// # Errors
    /// The text that the specification has for it.
    pub fn named(name: &str, version: u64) -> Result<Self, String> {
        let protocol = match name {
            "json" => Self::Json,
            "messagepack" => Self::MessagePack,
            _ => return Err(format!("The protocol '{name}' is not supported.")),
        };
        if version > 2 {
            return Err(format!(
                "The server does not support version {version} of the '{name}' protocol."
            ));
        }
        Ok(protocol)
    }

    /// The record, with what frames it.
    pub fn encode(self, message: &Message) -> Bytes {
        match self {
            Self::Json => json::encode(message),
            Self::MessagePack => messagepack::encode(message),
        }
    }

    /// Whether its records may stand in a text frame.
    pub fn is_text(self) -> bool {
        self == Self::Json
    }
}

impl Malformed {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Parser {
    /// Records may take at most `limit` bytes each.
    pub fn new(protocol: Protocol, limit: usize) -> Self {
        Self {
            protocol,
            limit,
            buffer: Vec::new(),
            read: 0,
        }
    }

    /// Takes what came. Ask for [`Self::take`] until there is none, then give more.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole record, if there is one. What is of an unknown type is passed over:
    /// a later protocol may have it.
    ///
    /// # Errors
    /// Where what came is no record, or too long for one.
    pub fn take(&mut self) -> Result<Option<Message>, Malformed> {
        loop {
            let rest = self.buffer.get(self.read..).unwrap_or_default();
            let framed = match self.protocol {
                Protocol::Json => json::frame(rest),
                Protocol::MessagePack => messagepack::frame(rest, self.limit)?,
            };
            let length = framed
                .as_ref()
                .map_or(rest.len(), |framed| framed.payload.len());
            if length > self.limit {
                let limit = self.limit;
                return Err(Malformed::new(format!(
                    "The maximum message size of {limit}B was exceeded."
                )));
            }
            let Some(Framed { payload, taken }) = framed else {
                if rest.is_empty() {
                    // Most connections are silent: they need no buffer.
                    self.buffer = Vec::new();
                    self.read = 0;
                }
                return Ok(None);
            };
            let message = match self.protocol {
                Protocol::Json => json::decode(payload)?,
                Protocol::MessagePack => messagepack::decode(payload)?,
            };
            self.read += taken;
            if message.is_some() {
                return Ok(message);
            }
        }
    }
}
