//! The interface behind [`Context`](super::Context).

use super::{Error, Level, Method, SrvRecord};
use crate::Span;

/// What a backend can ask for: of the engine, or of a
/// [`ScriptedRegistry`](super::testing::ScriptedRegistry) in a test. Backends use
/// [`Context`](super::Context) instead.
pub trait Host {
    /// Sends a request, and waits for the head of the answer.
    ///
    /// # Errors
    /// [`Error::Denied`] if the engine refuses the request, [`Error::Unavailable`] if no answer
    /// came.
    fn send(&self, request: RawRequest) -> Result<RawResponse, Error>;
    /// Milliseconds since some moment.
    fn now(&self) -> u64;
    /// Waits.
    fn sleep(&self, span: Span);
    /// Writes a line to the engine's log.
    fn log(&self, level: Level, message: &str);
    /// The SRV records of a name.
    ///
    /// # Errors
    /// If no resolver answers, or the engine refuses to ask.
    fn srv(&self, name: &str) -> Result<Vec<SrvRecord>, Error>;
    /// The IP addresses of a name.
    ///
    /// # Errors
    /// As for [`Self::srv`].
    fn addresses(&self, name: &str) -> Result<Vec<String>, Error>;
}

/// A request, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRequest {
    /// The method.
    pub method: Method,
    /// `host:port`.
    pub authority: String,
    /// Whether to use TLS.
    pub is_tls: bool,
    /// The path, with the query.
    pub path: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long to wait for the connection, its TLS handshake included.
    pub connect: Span,
    /// How long to wait for the head of the answer.
    pub patience: Span,
    /// How long to wait for each part of the body.
    pub idle: Span,
}

/// The head of an answer, and its body, which may still be under way.
pub struct RawResponse {
    /// The status.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Box<dyn Body>,
}

/// The body of an answer as it arrives.
pub trait Body {
    /// Waits for the next bytes, at most until [`Host::now`] is `until`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the connection ended too soon, [`Error::Protocol`] if the answer
    /// is too long.
    fn read(&mut self, until: u64) -> Result<Chunk, Error>;
}

/// What came of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// There are no more.
    End,
    /// None came in time.
    TimedOut,
}
