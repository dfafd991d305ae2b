//! One of the engines on the store.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use hotswap_api::{Secret, Tokens};
use hotswap_core::{Clock, Environment, Policy};
use hotswap_fleet::{HttpFleet, Options, Registry};
use hotswap_plugins::Host;
use hotswap_runner::{Engine, EngineConfig, Environments, Limits};
use hotswap_store::{Blobs, Journal, Redis, RedisConfig};
use hotswap_tests::{InterceptedJournal, NODE_TOKEN, RedisProxy, RedisServer, SteppedClock};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::gated_fleet::{GatedFleet, Log};
use crate::links::Links;
use crate::repair_gate::RepairGate;
use crate::watched_journal::{LateSession, RolloutUnderTest, Watch};

/// As short as engines may be told.
const LEASE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(1);
const API_TOKEN: &str = "api-token-of-the-tests";

/// What the engines of a group are told.
#[derive(Clone, Default)]
pub struct Setup {
    pub policies: BTreeMap<Environment, Policy>,
    /// How long orders are tried, and more.
    pub fleet: Options,
    pub log: Log,
    pub gate: Arc<RepairGate>,
}

/// What all groups share.
pub struct Shared {
    redis_port: u16,
    pub redis_url: String,
    wait_for_disk: bool,
    host: Host,
    pub runtime: hotswap_node::Runtime,
    pub folder: TempDir,
    refused_appends: Arc<AtomicU64>,
    refused_orders: Arc<AtomicU64>,
}

/// What was refused because its fence was old.
pub struct Refused {
    pub appends: u64,
    pub orders: u64,
}

impl Shared {
    pub fn new(server: &RedisServer) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self {
            redis_port: server.port(),
            redis_url: server.url(),
            wait_for_disk: false,
            host: hotswap_tests::shared_host()?,
            runtime: hotswap_node::Runtime::new(&hotswap_tests::tools::compiled_folder()?)?,
            folder,
            refused_appends: Arc::default(),
            refused_orders: Arc::default(),
        })
    }

    /// Lets each write wait until the server has it on its disk.
    pub fn waiting_for_disk(self) -> Self {
        Self {
            wait_for_disk: true,
            ..self
        }
    }

    pub fn refused(&self) -> Refused {
        Refused {
            appends: self.refused_appends.load(Ordering::Relaxed),
            orders: self.refused_orders.load(Ordering::Relaxed),
        }
    }

    /// The configuration of a store of a group, at this address.
    pub fn redis_config(&self, url: String, group: usize, engine: &str) -> RedisConfig {
        RedisConfig {
            key_prefix: format!("group-{group}"),
            lease_ttl: LEASE,
            patience: PATIENCE,
            engine: engine.to_owned(),
            wait_for_disk: self.wait_for_disk,
            ..RedisConfig::new(url)
        }
    }
}

/// An engine with its API. It reaches everything else through its links.
pub struct Replica {
    /// Each start of an engine has another one.
    pub number: u64,
    pub engine: Engine,
    pub links: Arc<Links>,
    pub addr: SocketAddr,
    /// That of the engine's machine.
    pub clock: Arc<SteppedClock>,
    store: Redis,
    stop: CancellationToken,
    _registry: AbortOnDropHandle<()>,
}

impl Replica {
    pub async fn start(
        shared: &Shared,
        group: usize,
        number: u64,
        rollout: &Arc<RolloutUnderTest>,
        setup: &Setup,
    ) -> Result<Self> {
        let proxy = RedisProxy::start(shared.redis_port).await?;
        let config = shared.redis_config(proxy.url(), group, &format!("engine-{number}"));
        let links = Arc::new(Links::new(proxy));
        let store = Redis::open(&config).await?;
        let shared_store = Arc::new(store.clone());
        let session = store.session();
        let session = session.map(|session| LateSession::wrap(session, Arc::clone(&links)));
        let watch = Watch {
            rollout: Arc::clone(rollout),
            links: Arc::clone(&links),
            session,
            refused: Arc::clone(&shared.refused_appends),
            engine: number,
        };
        let folder = shared.folder.path();
        let folder = folder.join(format!("group-{group}-engine-{number}"));
        let blobs = Blobs::open_folder(folder, 64 << 20).await?;
        // Each engine's machine has another date. Only that of the server counts.
        let machine_clock = Arc::<SteppedClock>::default();
        machine_clock.step([0, 3600, -3600][usize::try_from(number % 3)?]);
        let clock: Arc<dyn Clock> = Arc::clone(&machine_clock) as _;
        let catalogue = Arc::clone(&shared_store);
        let interval = Registry::DEFAULT_INTERVAL;
        let registry = Registry::load(catalogue, Arc::clone(&clock), interval).await?;
        let fleet = GatedFleet {
            fleet: HttpFleet::new(registry.clone(), NODE_TOKEN, setup.fleet.clone())?,
            links: Arc::clone(&links),
            engine: number,
            log: Arc::clone(&setup.log),
            gate: Arc::clone(&setup.gate),
            refused: Arc::clone(&shared.refused_orders),
        };
        let engine = Engine::start(EngineConfig {
            journal: InterceptedJournal::new(Arc::clone(&shared_store) as _, watch),
            environment_journal: Arc::clone(&shared_store) as _,
            catalogue: Arc::clone(&shared_store) as _,
            blobs: blobs.shared_in(shared_store),
            host: shared.host.clone(),
            registry: registry.clone(),
            fleet: Arc::new(fleet),
            environments: Environments::new(setup.policies.clone()),
            clock,
            limits: Limits::default(),
            metric_providers: Default::default(),
            built_in: hotswap_guests::strategies()
                .iter()
                .map(|guest| guest.component)
                .collect(),
            discovery_backends: Default::default(),
        })
        .await?;
        let (api, node) = (Secret::strong(API_TOKEN)?, Secret::strong(NODE_TOKEN)?);
        let mut config = hotswap_api::Config::new(Tokens { api, node });
        config.addr = "127.0.0.1:0".parse()?;
        let server = hotswap_api::Server::bind(config, engine.clone()).await?;
        let addr = server.local_addr();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            stopped
                .run_until_cancelled(server.run(std::future::pending()))
                .await
        });
        let registry = async move { registry.run().await };
        Ok(Self {
            number,
            engine,
            links,
            addr,
            clock: machine_clock,
            store,
            stop,
            _registry: AbortOnDropHandle::new(tokio::spawn(registry)),
        })
    }

    /// Frees what the engine uses. Where its links are dead, nobody hears of that.
    pub async fn end(self) {
        self.stop.cancel();
        self.engine.shutdown().await;
        self.store.close().await;
    }
}
