use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hotswap_common::tls::ServerTls;
use hotswap_fleet::discovery::{Polled, Sources};

use crate::{Diagnostics, JwtVerifier, Origin, Tokens};

/// How to serve the API.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on. Port 0 takes a free port. Without `tls`, tokens are sent in clear
    /// text: on any address but the loopback address, put a proxy with TLS in front.
    pub addr: SocketAddr,
    /// TLS of the address. If it asks for certificates, nodes need one; people need none.
    pub tls: Option<ServerTls>,
    /// The tokens that are accepted.
    pub tokens: Tokens,
    /// Verifies signed tokens. `None` rejects all signed tokens.
    pub jwt: Option<JwtVerifier>,
    /// The origins whose pages may call the API from a browser, besides the server's own.
    pub cors_origins: Vec<Origin>,
    /// What clients may use.
    pub limits: Limits,
    /// Live updates.
    pub live: LiveConfig,
    /// What knows of nodes, besides the built-in registry.
    pub sources: Sources,
    /// What came of asking the instances that only those know.
    pub polled: Polled,
    /// What admins may ask of the engine itself.
    pub diagnostics: Diagnostics,
}

/// Configures live updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveConfig {
    /// Times and limits of each hub.
    pub hubs: hotswap_signalr::Config,
    /// The interval at which metrics are sampled and sent to subscribers.
    pub metrics_interval: Duration,
}

/// What clients may use of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time. More wait until one closes.
    pub connections: usize,
    /// The longest time a request may take. Uploads and requests that wait for events have
    /// longer limits.
    pub request_timeout: Duration,
    /// The longest time an upload may take in all.
    pub upload_timeout: Duration,
    /// The longest time an upload may send nothing.
    pub upload_idle_timeout: Duration,
    /// The largest JSON body, in bytes.
    pub json_bytes: usize,
    /// The largest component of a strategy, in bytes. The store limits artifacts.
    pub strategy_bytes: usize,
    /// How long open requests may go on once the server accepts no connections any more.
    pub grace: Duration,
}

impl Config {
    /// Listens on 127.0.0.1, port 5000, with the default limits, without signed tokens and
    /// without other origins.
    pub fn new(tokens: Tokens) -> Self {
        Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 5000)),
            tls: None,
            tokens,
            jwt: None,
            cors_origins: Vec::new(),
            limits: Limits::default(),
            live: LiveConfig::default(),
            sources: Sources::default(),
            polled: Polled::default(),
            diagnostics: Diagnostics::default(),
        }
    }
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            hubs: hotswap_signalr::Config::default(),
            metrics_interval: Duration::from_secs(5),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            request_timeout: Duration::from_secs(30),
            upload_timeout: Duration::from_secs(30 * 60),
            upload_idle_timeout: Duration::from_secs(30),
            json_bytes: 1 << 20,
            strategy_bytes: 16 << 20,
            grace: Duration::from_secs(10),
        }
    }
}
