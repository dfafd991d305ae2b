use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::{Jwt, Origin, Tokens};

/// How the API is served.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one. On anything but the loopback address,
    /// put a proxy that speaks TLS in front: tokens travel as they are.
    pub addr: SocketAddr,
    /// Who may do what.
    pub tokens: Tokens,
    /// How signed tokens are checked; none: none are taken.
    pub jwt: Option<Jwt>,
    /// Whose pages may call from a browser, besides those of the server itself.
    pub cors_origins: Vec<Origin>,
    /// What a client may use.
    pub limits: Limits,
    /// How those who watch are told.
    pub live: Live,
}

/// How those who watch are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// Times and limits of each hub.
    pub hubs: hotswap_signalr::Config,
    /// How often metrics are measured and told.
    pub metrics_every: Duration,
}

/// What clients may use of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same moment; more wait until one is closed.
    pub connections: usize,
    /// How long a request may take, unless it is an upload or waits on purpose.
    pub request: Duration,
    /// How long an upload may take in all.
    pub upload: Duration,
    /// How long an upload may send nothing.
    pub inactivity: Duration,
    /// The size of a JSON body, in bytes.
    pub body: usize,
    /// The size of a strategy's component, in bytes. An artifact's is limited by the store.
    pub strategy: usize,
    /// How long requests that are being answered may go on after the signal to shut down.
    pub grace: Duration,
}

impl Config {
    /// On 127.0.0.1, port 5000, with the default limits, for no signed tokens and no other
    /// pages.
    pub fn new(tokens: Tokens) -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)),
            tokens,
            jwt: None,
            cors_origins: Vec::new(),
            limits: Limits::default(),
            live: Live::default(),
        }
    }
}

impl Default for Live {
    fn default() -> Self {
        Self {
            hubs: hotswap_signalr::Config::default(),
            metrics_every: Duration::from_secs(5),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            request: Duration::from_secs(30),
            upload: Duration::from_secs(30 * 60),
            inactivity: Duration::from_secs(30),
            body: 1 << 20,
            strategy: 16 << 20,
            grace: Duration::from_secs(10),
        }
    }
}
