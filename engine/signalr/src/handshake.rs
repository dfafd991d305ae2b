//! The first record of each side, always JSON: which protocol is spoken from then on.

use bytes::Bytes;
use serde::Deserialize;

use crate::protocol::{Protocol, SEPARATOR};

/// The longest handshake, in bytes. The client has nothing to say but a word and a number.
const LONGEST: usize = 4096;

/// What the client asks for.
#[derive(Debug, Deserialize)]
struct Request {
    protocol: String,
    version: u64,
}

/// What was agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// How records are written.
    pub protocol: Protocol,
    /// Whether the client knows records 8 and 9: it says so by asking for version 2.
    pub counts: bool,
    /// What came after the handshake.
    pub rest: Vec<u8>,
}

/// Takes bytes until they are a handshake.
#[derive(Debug, Default)]
pub struct Handshake {
    buffer: Vec<u8>,
}

/// A handshake that cannot be agreed to; the text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Disagreed(pub String);

impl Handshake {
    /// Takes what came. Where that makes it whole: what it says.
    ///
    /// # Errors
    /// Where it is none, or asks for what is not spoken here.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<Agreed>, Disagreed> {
        let from = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        let end = self.buffer[from..]
            .iter()
            .position(|byte| *byte == SEPARATOR);
        let Some(end) = end.map(|end| from + end) else {
            return if self.buffer.len() > LONGEST {
                Err(Disagreed("Handshake was canceled.".to_owned()))
            } else {
                Ok(None)
            };
        };
        if end > LONGEST {
            return Err(Disagreed("Handshake was canceled.".to_owned()));
        }
        let rest = self.buffer.split_off(end + 1);
        let record = &self.buffer[..end];
        let request: Request = serde_json::from_slice(record).map_err(|_| {
            let text = "An unexpected error occurred during connection handshake.";
            Disagreed(text.to_owned())
        })?;
        let protocol = Protocol::named(&request.protocol, request.version).map_err(Disagreed)?;
        self.buffer = Vec::new();
        Ok(Some(Agreed {
            protocol,
            counts: request.version >= 2,
            rest,
        }))
    }

    /// The server's record where it agrees.
    pub fn agreed() -> Bytes {
        Bytes::from_static(b"{}\x1e")
    }
}

impl Disagreed {
    /// The server's record.
    pub fn record(&self) -> Bytes {
        let mut bytes = serde_json::json!({ "error": self.0 })
            .to_string()
            .into_bytes();
        bytes.push(SEPARATOR);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_in_pieces_and_leaves_what_follows() {
        let mut handshake = Handshake::default();
        assert_eq!(handshake.feed(b"{\"protocol\":\"js").unwrap(), None);
        let whole = handshake
            .feed(b"on\",\"version\":1}\x1e{\"type\":6}\x1e")
            .unwrap();
        let agreed = whole.unwrap();
        assert_eq!(agreed.protocol, Protocol::Json);
        assert_eq!(agreed.rest, b"{\"type\":6}\x1e");
    }

    #[test]
    fn says_what_it_does_not_speak() {
        for (asked, said) in [
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
            let mut bytes = asked.as_bytes().to_vec();
            bytes.push(SEPARATOR);
            let error = Handshake::default().feed(&bytes).unwrap_err();
            assert_eq!(error.0, said);
            let record = error.record();
            let (separator, json) = record.split_last().unwrap();
            assert_eq!(*separator, SEPARATOR);
            let json: serde_json::Value = serde_json::from_slice(json).unwrap();
            assert_eq!(json["error"], said);
        }
        for version in 0..=2 {
            let bytes = format!("{{\"protocol\":\"messagepack\",\"version\":{version}}}\x1e");
            let agreed = Handshake::default()
                .feed(bytes.as_bytes())
                .unwrap()
                .unwrap();
            assert_eq!(agreed.protocol, Protocol::MessagePack);
            assert_eq!(agreed.counts, version == 2);
        }
    }

    #[test]
    fn does_not_grow_without_end() {
        let mut handshake = Handshake::default();
        let fed = (0..10_000).find_map(|_| handshake.feed(b"xxxx").err());
        assert_eq!(fed.unwrap().0, "Handshake was canceled.");
        assert!(handshake.buffer.len() <= LONGEST + 4);
    }
}
