use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hotswap_core::{Environment, NodeId};

/// What a node is told when it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name, unique among the nodes of an engine.
    pub id: NodeId,
    /// Which environment it belongs to.
    pub environment: Environment,
    /// Where it stands, if that matters.
    pub zone: Option<String>,
    /// What its operator says of it; strategies and plans can select by them.
    pub labels: BTreeMap<String, String>,
    /// Where it answers requests for its modules. Port 0 takes a free one.
    pub data_addr: SocketAddr,
    /// Where it takes orders. Port 0 takes a free one.
    pub control_addr: SocketAddr,
    /// The host that the engine and clients reach it by, where that is not the address
    /// it listens on: a name, or an IP address (version 6 in brackets).
    pub advertise: Option<String>,
    /// The engine: `http://host:port`. Without one the node does not register, and can
    /// run only artifacts that it has on disk already.
    pub engine_url: Option<String>,
    /// What the engine shows with its orders, and the node with its requests to it.
    pub token: Token,
    /// Where it keeps slots and artifacts. One node alone may use it; created if absent.
    pub data_dir: PathBuf,
    /// What one module may use.
    pub limits: Limits,
}

/// What one module may use on a node.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Linear memory of one instance, in bytes, over all its memories. Default 128 MiB.
    pub memory: usize,
    /// From the request's head to the end of the answer's body. Default 30 s.
    pub request_time: Duration,
    /// Requests that one version works on at the same time; further ones wait for
    /// [`Limits::queue_time`], then are answered 503. Default 1000.
    pub concurrency: u32,
    /// How long a request waits for one of the others to end. Default 250 ms.
    pub queue_time: Duration,
    /// How long a client may take to send a request's head, or leave a connection
    /// idle. Default 30 s.
    pub header_time: Duration,
    /// Connections open on one port at the same time; further ones wait to be
    /// accepted. Default 16,384.
    pub connections: usize,
    /// The largest artifact that is fetched, in bytes. Default 256 MiB.
    pub artifact: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 128 << 20,
            request_time: Duration::from_secs(30),
            concurrency: 1000,
            queue_time: Duration::from_millis(250),
            header_time: Duration::from_secs(30),
            connections: 16_384,
            artifact: 256 << 20,
        }
    }
}

/// A secret that both ends of a connection know. `Debug` does not show it.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The token that this text is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for an `Authorization` header alone.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `text` is the token. Takes as long for a near miss as for any other text
    /// of that length.
    pub(crate) fn is(&self, text: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        !self.0.is_empty() && self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_itself_alone_and_stays_secret() {
        let token = Token::new("secret");
        assert!(token.is("secret"));
        for other in ["", "secre", "secret ", "Secret"] {
            assert!(!token.is(other), "{other}");
        }
        assert!(!Token::new("").is(""), "no token opens nothing");
        assert!(!format!("{token:?}").contains("secret"));
    }
}
