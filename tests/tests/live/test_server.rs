use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hotswap_api::{Config, Secret, Server, Tokens};
use hotswap_core::SystemClock;
use hotswap_fleet::Registry;
use hotswap_plugins::Host;
use hotswap_runner::metric_providers::MetricProviders;
use hotswap_runner::{Engine, EngineConfig, Environments, Limits};
use hotswap_store::{Blobs, Sqlite};
use hotswap_tests::{LeaselessJournal, NODE_TOKEN, StaticFleet, UndecidedJournal};
use std::net::SocketAddr;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// API token of the readers.
pub const TOKEN: &str = "api-token-of-the-readers";
/// How long a server waits for readers on shutdown. Short, because stalled readers never
/// answer.
const GRACE: Duration = Duration::from_millis(50);

/// An API server over the store in a folder. Its engine drives no deployments.
pub struct TestServer {
    pub store: Sqlite,
    pub addr: SocketAddr,
    engine: Engine,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl TestServer {
    /// Opens the store and starts to serve.
    pub async fn start(folder: &Path, host: &Host, queue_capacity: usize) -> Result<Self> {
        let store = Sqlite::open(folder.join("hotswap.db")).await?;
        let catalogue = Arc::new(store.clone());
        let clock = Arc::new(SystemClock);
        let heartbeat_interval = Duration::from_secs(1);
        let registry = Registry::load(catalogue.clone(), clock.clone(), heartbeat_interval).await?;
        let engine = Engine::start(EngineConfig {
            journal: LeaselessJournal::wrap(Arc::new(store.clone())),
            environment_journal: UndecidedJournal::wrap(Arc::new(store.clone())),
            catalogue,
            blobs: Blobs::open_folder(folder.join("blobs"), 1 << 20).await?,
            host: host.clone(),
            registry,
            fleet: Arc::new(StaticFleet::new(1)),
            environments: Environments::new(Default::default()),
            clock,
            limits: Limits::default(),
            metric_providers: MetricProviders::default(),
            built_in: Vec::new(),
            discovery_backends: Default::default(),
        })
        .await?;
        let (api, node) = (Secret::strong(TOKEN)?, Secret::strong(NODE_TOKEN)?);
        let mut config = Config::new(Tokens { api, node });
        config.addr = "127.0.0.1:0".parse()?;
        config.limits.grace = GRACE;
        config.live.hubs.queue_capacity.messages = queue_capacity;
        config.live.hubs.queue_capacity.bytes = queue_capacity << 10;
        let server = Server::bind(config, engine.clone()).await?;
        let (addr, shutdown) = (server.local_addr(), CancellationToken::new());
        let requested = shutdown.clone();
        let server = tokio::spawn(server.run(async move { requested.cancelled().await }));
        Ok(Self {
            store,
            addr,
            engine,
            shutdown,
            server,
        })
    }

    /// Stops the server, without a graceful shutdown if `killed`, and closes the store.
    pub async fn stop(self, killed: bool) {
        if killed {
            self.server.abort();
        }
        self.shutdown.cancel();
        // Fails if it was killed.
        let _ = self.server.await;
        self.engine.shutdown().await;
        self.store.close().await;
    }
}
