//! The first message of each side, always JSON. It selects the protocol of all later ones.

use bytes::Bytes;
use serde::Deserialize;

use super::{Protocol, RECORD_SEPARATOR};

/// The maximum size of a handshake request, in bytes. It holds only a name and a number.
const MAX_SIZE: usize = 4096;

/// The request as the client writes it.
#[derive(Debug, Deserialize)]
struct RequestJson {
    protocol: String,
    version: u64,
}

/// A handshake request that the server accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeRequest {
    /// The encoding of all later messages.
    pub protocol: Protocol,
    /// Whether the client knows Ack and Sequence messages: it asks for version 2.
    pub supports_acks: bool,
    /// The bytes that were received after the request.
    pub remainder: Vec<u8>,
}

/// Collects received bytes until the handshake request is complete.
#[derive(Debug, Default)]
pub struct HandshakeParser {
    buffer: Vec<u8>,
}

/// Why the handshake failed. The text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HandshakeError(pub String);

impl HandshakeParser {
    /// Adds received bytes. Returns the request once it is complete.
    ///
    /// # Errors
    /// Where the bytes are not a handshake request, or it asks for a protocol that is not
    /// supported.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<HandshakeRequest>, HandshakeError> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        let end = self.buffer[start..]
            .iter()
            .position(|byte| *byte == RECORD_SEPARATOR);
        let Some(end) = end.map(|end| start + end) else {
            return if self.buffer.len() > MAX_SIZE {
                Err(HandshakeError("Handshake was canceled.".to_owned()))
            } else {
                Ok(None)
            };
        };
        if end > MAX_SIZE {
            return Err(HandshakeError("Handshake was canceled.".to_owned()));
        }
        let remainder = self.buffer.split_off(end + 1);
        let json = &self.buffer[..end];
        let request: RequestJson = serde_json::from_slice(json).map_err(|_| {
            let text = "An unexpected error occurred during connection handshake.";
            HandshakeError(text.to_owned())
        })?;
        let protocol =
            Protocol::from_name(&request.protocol, request.version).map_err(HandshakeError)?;
        self.buffer = Vec::new();
        Ok(Some(HandshakeRequest {
            protocol,
            supports_acks: request.version >= 2,
            remainder,
        }))
    }
}

impl HandshakeRequest {
    /// The response that accepts the request.
    pub fn response(&self) -> Bytes {
        Bytes::from_static(b"{}\x1e")
    }
}

impl HandshakeError {
    /// The response that tells the client of the error.
    pub fn response(&self) -> Bytes {
        let mut bytes = serde_json::json!({ "error": self.0 })
            .to_string()
            .into_bytes();
        bytes.push(RECORD_SEPARATOR);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_in_pieces_is_parsed_and_the_remainder_returned() {
        let mut parser = HandshakeParser::default();
        assert_eq!(parser.feed(b"{\"protocol\":\"js").unwrap(), None);
        let request = parser
            .feed(b"on\",\"version\":1}\x1e{\"type\":6}\x1e")
            .unwrap()
            .unwrap();
        assert_eq!(request.protocol, Protocol::Json);
        assert_eq!(request.remainder, b"{\"type\":6}\x1e");
    }

    #[test]
    fn unsupported_protocols_are_rejected_with_the_reason() {
        for (request, expected) in [
            (
                r#"{"protocol":"xml","version":1}"#,
                "The protocol 'xml' is not supported.",
            ),
            (
                r#"{"protocol":"json","version":3}"#,
                "The server does not support version 3 of the 'json' protocol.",
            ),
            (
                "{}",
                "An unexpected error occurred during connection handshake.",
            ),
            (
                "not json",
                "An unexpected error occurred during connection handshake.",
            ),
        ] {
            let mut bytes = request.as_bytes().to_vec();
            bytes.push(RECORD_SEPARATOR);
            let error = HandshakeParser::default().feed(&bytes).unwrap_err();
            assert_eq!(error.0, expected);
            let response = error.response();
            let (separator, json) = response.split_last().unwrap();
            assert_eq!(*separator, RECORD_SEPARATOR);
            let json: serde_json::Value = serde_json::from_slice(json).unwrap();
            assert_eq!(json["error"], expected);
        }
        for version in 0..=2 {
            let bytes = format!("{{\"protocol\":\"messagepack\",\"version\":{version}}}\x1e");
            let request = HandshakeParser::default()
                .feed(bytes.as_bytes())
                .unwrap()
                .unwrap();
            assert_eq!(request.protocol, Protocol::MessagePack);
            assert_eq!(request.supports_acks, version == 2);
        }
    }

    #[test]
    fn the_buffer_is_bounded() {
        let mut parser = HandshakeParser::default();
        let error = (0..10_000).find_map(|_| parser.feed(b"xxxx").err());
        assert_eq!(error.unwrap().0, "Handshake was canceled.");
        assert!(parser.buffer.len() <= MAX_SIZE + 4);
    }
}
