use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hotswap_api::{Config, Secret, Server, Tokens};
use hotswap_core::SystemClock;
use hotswap_fleet::Registry;
use hotswap_plugins::Host;
use hotswap_runner::{Engine, EngineConfig, Environments, Limits};
use hotswap_store::{Blobs, Sqlite};
use hotswap_tests::{NODE_TOKEN, StillFleet, Unled};
use std::net::SocketAddr;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the readers show.
pub const TOKEN: &str = "api-token-of-the-readers";
/// How long a server waits for readers that do not listen.
const GRACE: Duration = Duration::from_millis(50);

/// A server before an engine that drives nothing, over the store of a folder.
pub struct Served {
    pub store: Sqlite,
    pub addr: SocketAddr,
    engine: Engine,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Served {
    /// Opens the store and begins to serve.
    pub async fn start(folder: &Path, host: &Host, capacity: usize) -> Result<Self> {
        let store = Sqlite::open(folder.join("hotswap.db")).await?;
        let catalogue = Arc::new(store.clone());
        let clock = Arc::new(SystemClock);
        let often = Duration::from_secs(1);
        let registry = Registry::load(catalogue.clone(), clock.clone(), often).await?;
        let engine = Engine::start(EngineConfig {
            journal: Unled::new(Arc::new(store.clone())),
            catalogue,
            blobs: Blobs::open_folder(folder.join("blobs"), 1 << 20).await?,
            host: host.clone(),
            registry,
            fleet: Arc::new(StillFleet::new(1)),
            environments: Environments::new(Default::default()),
            clock,
            limits: Limits::default(),
            built_in: Vec::new(),
        })
        .await?;
        let (api, node) = (Secret::strong(TOKEN)?, Secret::strong(NODE_TOKEN)?);
        let mut config = Config::new(Tokens { api, node });
        config.addr = "127.0.0.1:0".parse()?;
        config.limits.grace = GRACE;
        config.live.hubs.queue_capacity.messages = capacity;
        config.live.hubs.queue_capacity.bytes = capacity << 10;
        let server = Server::bind(config, engine.clone()).await?;
        let (addr, stop) = (server.local_addr(), CancellationToken::new());
        let stopped = stop.clone();
        let server = tokio::spawn(server.run(async move { stopped.cancelled().await }));
        Ok(Self {
            store,
            addr,
            engine,
            stop,
            server,
        })
    }

    /// Ends the server, without a word where it is `killed`, and closes the store.
    pub async fn stop(self, killed: bool) {
        if killed {
            self.server.abort();
        }
        self.stop.cancel();
        // Fails where it was killed.
        let _ = self.server.await;
        self.engine.shutdown().await;
        self.store.close().await;
    }
}
