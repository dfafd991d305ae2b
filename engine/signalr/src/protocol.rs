//! The hub protocol: parses bytes into [`Message`]s and encodes them. No I/O.

mod handshake;
mod json;
mod message;
mod messagepack;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use self::handshake::{HandshakeError, HandshakeParser, HandshakeRequest};
pub use self::message::{CompletionResult, Message};

/// Ends each JSON message and each handshake message: a byte that JSON text cannot contain.
const RECORD_SEPARATOR: u8 = 0x1e;

/// The encoding of a connection's messages, as chosen in its handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Text. The record separator 0x1e ends each message.
    Json,
    /// Binary. Each message is prefixed with its length.
    MessagePack,
}

/// Bytes that are not messages of the protocol. The connection has to be closed: where the
/// next message begins is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProtocolError(String);

/// Parses a stream of bytes into messages. Buffers at most the size limit and one chunk.
#[derive(Debug)]
pub struct Parser {
    protocol: Protocol,
    /// In bytes.
    max_message_size: usize,
    buffer: Vec<u8>,
    /// The number of bytes at the start of the buffer that have been parsed.
    parsed: usize,
}

/// One message, still encoded, at the start of a buffer.
struct Frame<'a> {
    payload: &'a [u8],
    /// The size in bytes with the length prefix or the separator.
    size: usize,
}

impl Protocol {
    /// The protocol with this name and version. Versions 0 to 2 differ in the messages they
    /// have, not in the encoding.
    ///
    /// # Errors
    /// The text for the handshake response, where the protocol is not supported.
    pub fn from_name(name: &str, version: u64) -> Result<Self, String> {
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

    /// Encodes a message, with its separator or length prefix.
    pub fn encode(self, message: &Message) -> Bytes {
        match self {
            Self::Json => json::encode(message),
            Self::MessagePack => messagepack::encode(message),
        }
    }

    /// Whether messages can be sent in text frames.
    pub fn is_text(self) -> bool {
        self == Self::Json
    }
}

impl ProtocolError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Parser {
    /// Accepts messages of at most `max_message_size` bytes.
    pub fn new(protocol: Protocol, max_message_size: usize) -> Self {
        Self {
            protocol,
            max_message_size,
            buffer: Vec::new(),
            parsed: 0,
        }
    }

    /// Adds received bytes. Call [`Self::next_message`] until it returns `None` before
    /// adding more.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.parsed);
        self.parsed = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete message, or `None` until more bytes come. Skips messages of unknown
    /// types: a later protocol version may have them.
    ///
    /// # Errors
    /// Where the bytes are not a message, or the message is too long.
    pub fn next_message(&mut self) -> Result<Option<Message>, ProtocolError> {
        loop {
            let rest = self.buffer.get(self.parsed..).unwrap_or_default();
            let frame = match self.protocol {
                Protocol::Json => json::split_frame(rest),
                Protocol::MessagePack => messagepack::split_frame(rest, self.max_message_size)?,
            };
            let length = frame
                .as_ref()
                .map_or(rest.len(), |frame| frame.payload.len());
            if length > self.max_message_size {
                let limit = self.max_message_size;
                return Err(ProtocolError::new(format!(
                    "The maximum message size of {limit}B was exceeded."
                )));
            }
            let Some(Frame { payload, size }) = frame else {
                if rest.is_empty() {
                    // Most connections are idle: release their buffers.
                    self.buffer = Vec::new();
                    self.parsed = 0;
                }
                return Ok(None);
            };
            let message = match self.protocol {
                Protocol::Json => json::decode(payload)?,
                Protocol::MessagePack => messagepack::decode(payload)?,
            };
            self.parsed += size;
            if message.is_some() {
                return Ok(message);
            }
        }
    }
}
