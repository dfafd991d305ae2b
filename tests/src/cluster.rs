use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_api::{Secret, Tokens};
use hotswap_core::{
    Clock, Deployment, DeploymentId, Digest, Environment, Event, Health, ModuleName, NodeId,
    Policy, SystemClock,
};
use hotswap_fleet::{Fleet, HttpFleet, Registry};
use hotswap_node::Node;
use hotswap_plugins::Host;
use hotswap_runner::metric_providers::MetricProviders;
use hotswap_runner::{Engine, EngineConfig, Environments, Limits};
use hotswap_store::{Blobs, EnvironmentJournal, Journal, Sqlite};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{EMAIL, new_deployment, shared_host};

const API_TOKEN: &str = "api-token-of-the-tests";
/// The token by which engine and nodes authenticate to each other.
pub const NODE_TOKEN: &str = "node-token-of-the-tests";
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);
/// Time limit of every wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What an engine runs on. It outlives the engine: the disk, and what is expensive to create.
pub struct EngineResources {
    /// Journals and catalogue.
    pub store: Sqlite,
    /// The journals of the environments; those of `store`, unless a test replaces them.
    pub environment_journal: Arc<dyn EnvironmentJournal>,
    /// Module artifacts.
    pub blobs: Blobs,
    /// Runs strategies.
    pub host: Host,
    /// The nodes that have registered.
    pub registry: Registry,
    /// The client of the nodes.
    pub fleet: Arc<dyn Fleet>,
    /// The policies of the environments.
    pub environments: Environments,
    /// Resource limits of deployments.
    pub limits: Limits,
    /// The servers that soaks may ask for metrics.
    pub metric_providers: MetricProviders,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// An engine with its API and its nodes, all in this process.
pub struct Cluster {
    /// The current engine. [`Self::restart_engine`] replaces it.
    pub engine: Engine,
    /// What stays when the engine is replaced.
    pub resources: EngineResources,
    /// The nodes, by id.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Base URL of the API: `http://host:port`.
    pub url: String,
    /// The API's bearer token.
    pub token: &'static str,
    runtime: hotswap_node::Runtime,
    api_shutdown: CancellationToken,
    folder: TempDir,
}

impl EngineResources {
    /// Opens a store in `folder`, and everything that is built on it, with the machine's clock.
    pub async fn new(folder: &Path, policies: BTreeMap<Environment, Policy>) -> Result<Self> {
        Self::with_clock(folder, policies, Arc::new(SystemClock)).await
    }

    /// Like [`Self::new`], with another clock.
    pub async fn with_clock(
        folder: &Path,
        policies: BTreeMap<Environment, Policy>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let store = Sqlite::open(folder.join("hotswap.db")).await?;
        let blobs = Blobs::open_folder(folder.join("blobs"), 64 << 20).await?;
        let (registry, fleet) = load_registry(&store, &clock).await?;
        Ok(Self {
            environment_journal: Arc::new(store.clone()),
            store,
            blobs,
            host: shared_host()?,
            registry,
            fleet,
            environments: Environments::new(policies),
            limits: Limits::default(),
            metric_providers: MetricProviders::default(),
            clock,
        })
    }

    /// Forgets what was heard of the nodes, as an engine does whose process ends: the next one has
    /// only what the store holds of them.
    pub async fn forget_reports(&mut self) -> Result<()> {
        (self.registry, self.fleet) = load_registry(&self.store, &self.clock).await?;
        Ok(())
    }

    /// Starts an engine with this journal.
    pub async fn start_engine(&self, journal: Arc<dyn Journal>) -> Result<Engine> {
        Ok(Engine::start(EngineConfig {
            journal,
            environment_journal: Arc::clone(&self.environment_journal),
            catalogue: Arc::new(self.store.clone()),
            blobs: self.blobs.clone(),
            host: self.host.clone(),
            registry: self.registry.clone(),
            fleet: Arc::clone(&self.fleet),
            environments: self.environments.clone(),
            clock: Arc::clone(&self.clock),
            limits: self.limits,
            metric_providers: self.metric_providers.clone(),
            built_in: hotswap_guests::strategies()
                .iter()
                .map(|guest| guest.component)
                .collect(),
            discovery_backends: Default::default(),
        })
        .await?)
    }
}

impl Cluster {
    /// Starts an engine, and for each environment the given number of nodes. Returns once all
    /// nodes have registered and pass their health checks.
    pub async fn start(environments: &[(&str, usize)]) -> Result<Self> {
        Self::start_with_policies(environments, BTreeMap::new()).await
    }

    /// Like [`Self::start`], with policies that replace the defaults of their environments.
    pub async fn start_with_policies(
        environments: &[(&str, usize)],
        policies: BTreeMap<Environment, Policy>,
    ) -> Result<Self> {
        Self::start_with_clock(environments, policies, Arc::new(SystemClock)).await
    }

    /// Like [`Self::start_with_policies`], with another clock.
    pub async fn start_with_clock(
        environments: &[(&str, usize)],
        policies: BTreeMap<Environment, Policy>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let resources = EngineResources::with_clock(folder.path(), policies, clock).await?;
        let engine = resources
            .start_engine(Arc::new(resources.store.clone()))
            .await?;
        let api_shutdown = CancellationToken::new();
        let url = start_api(engine.clone(), api_shutdown.clone()).await?;
        let runtime = hotswap_node::Runtime::new(&folder.path().join("compiled"))?;
        let nodes = BTreeMap::new();
        let token = API_TOKEN;
        let mut cluster = Self {
            engine,
            resources,
            nodes,
            url,
            token,
            runtime,
            api_shutdown,
            folder,
        };
        for (environment, count) in environments {
            for number in 1..=*count {
                let id: NodeId = format!("{environment}-{number}").parse()?;
                cluster.start_node(id, environment.parse()?).await?;
            }
        }
        cluster.wait_for_nodes().await?;
        Ok(cluster)
    }

    /// Starts a node. If a node of this id ran before, it starts with the state that is on its
    /// disk.
    pub async fn start_node(&mut self, id: NodeId, environment: Environment) -> Result<()> {
        self.start_node_with(id, environment, |_| ()).await
    }

    /// Like [`Self::start_node`], with a changed configuration.
    pub async fn start_node_with(
        &mut self,
        id: NodeId,
        environment: Environment,
        change: impl FnOnce(&mut hotswap_node::Config),
    ) -> Result<()> {
        let mut config = hotswap_node::Config {
            id: id.clone(),
            environment: Some(environment),
            zone: None,
            labels: BTreeMap::new(),
            data_addr: "127.0.0.1:0".parse()?,
            control_addr: "127.0.0.1:0".parse()?,
            advertise: None,
            engine_url: Some(self.url.clone()),
            is_discovered: false,
            token: hotswap_node::Secret::new(NODE_TOKEN),
            data_dir: self.node_dir(&id),
            tls: None,
            engine_tls: Default::default(),
            drain: None,
            limits: hotswap_node::Limits::default(),
            log: Default::default(),
        };
        change(&mut config);
        let node = Node::start_with(self.runtime.clone(), config).await?;
        self.nodes.insert(id, node);
        Ok(())
    }

    /// The folder of the engine's artifacts.
    pub fn blobs_dir(&self) -> PathBuf {
        self.folder.path().join("blobs")
    }

    /// The data folder of a node.
    pub fn node_dir(&self, id: &NodeId) -> PathBuf {
        self.folder.path().join("nodes").join(id.as_str())
    }

    /// The file of a blob: an artifact, or the component of a strategy.
    pub fn blob_path(&self, digest: Digest) -> PathBuf {
        self.folder.path().join("blobs").join(digest.hex())
    }

    /// Waits until every node has registered and passes its health checks.
    pub async fn wait_for_nodes(&self) -> Result<()> {
        wait_until("every node to register", || {
            let members = self.resources.registry.members();
            let passing = members
                .iter()
                .filter(|member| member.health == Health::Passing);
            passing.count() >= self.nodes.len()
        })
        .await
    }

    /// Shuts the engine down and starts another with `journal` over the same store. The API
    /// keeps using the cluster's first engine.
    pub async fn restart_engine(&mut self, journal: Arc<dyn Journal>) -> Result<()> {
        self.engine.shutdown().await;
        self.engine = self.resources.start_engine(journal).await?;
        Ok(())
    }

    /// Starts another API, of the current engine, and makes [`Self::url`] its URL. The nodes keep
    /// using the first one.
    pub async fn restart_api(&mut self) -> Result<()> {
        self.url = start_api(self.engine.clone(), self.api_shutdown.clone()).await?;
        Ok(())
    }

    /// Uploads a version of a module.
    pub async fn upload(&self, module: &str, version: &str, component: &[u8]) -> Result<()> {
        let mut upload = self.engine.modules.upload().await?;
        upload.write(component).await?;
        upload
            .finish(module.parse()?, version.parse()?, EMAIL)
            .await?;
        Ok(())
    }

    /// Uploads the sample module `hello` in versions 1.0.0, 2.0.0 and 3.0.0.
    pub async fn upload_samples(&self) -> Result<()> {
        self.upload("hello", "1.0.0", hotswap_guests::HELLO_V1)
            .await?;
        self.upload("hello", "2.0.0", hotswap_guests::HELLO_V2)
            .await?;
        self.upload("hello", "3.0.0", hotswap_guests::HELLO_V3)
            .await
    }

    /// Creates a deployment and returns at once.
    pub async fn deploy(
        &self,
        version: (&str, &str),
        environment: &str,
        strategy: (&str, Value),
    ) -> Result<DeploymentId> {
        let new = new_deployment(version, environment, strategy)?;
        Ok(self.engine.deployments.create(new).await?)
    }

    /// Waits until the deployment has ended.
    pub async fn wait_for_end(&self, id: DeploymentId) -> Result<Deployment> {
        wait_for_end(&self.engine, id).await
    }

    /// Deploys and waits for the end.
    ///
    /// # Errors
    /// If the deployment does not succeed.
    pub async fn roll_out(
        &self,
        version: (&str, &str),
        environment: &str,
        strategy: (&str, Value),
    ) -> Result<Deployment> {
        let id = self.deploy(version, environment, strategy).await?;
        let state = self.wait_for_end(id).await?;
        ensure!(
            state.status() == hotswap_core::Status::Succeeded,
            "{} {:?} {:?}",
            state.status().as_str(),
            state.cause,
            state.failures
        );
        Ok(state)
    }

    /// All events in the journal of a deployment.
    pub async fn events(&self, id: DeploymentId) -> Result<Vec<Event>> {
        Ok(self.resources.store.events(id, 0, usize::MAX).await?)
    }

    /// A connection to the database, past the store. Write with it only while no engine runs.
    pub fn database(&self) -> Result<rusqlite::Connection> {
        let database = rusqlite::Connection::open(self.folder.path().join("hotswap.db"))?;
        database.busy_timeout(TIMEOUT)?;
        Ok(database)
    }

    /// Replaces `text` by `replacement` in all journals, directly in the database. Returns how
    /// many events changed. Call it only while no engine runs.
    pub fn replace_in_journals(&self, text: &str, replacement: &str) -> Result<usize> {
        let database = self.database()?;
        let statement = "UPDATE event SET body = CAST(replace(CAST(body AS TEXT), ?1, ?2) AS BLOB) \
                      WHERE instr(CAST(body AS TEXT), ?1) > 0";
        Ok(database.execute(statement, [text, replacement])?)
    }

    /// The URLs at which the nodes of an environment serve a module.
    pub fn module_urls(&self, environment: &str, module: &str) -> Vec<String> {
        let members = self.resources.registry.members();
        let members_of_environment = members
            .iter()
            .filter(|member| member.record.environment.as_str() == environment);
        members_of_environment
            .map(|member| format!("{}/{module}/", member.record.data_url))
            .collect()
    }

    /// The active version of a module on each node of an environment.
    pub async fn active_versions(
        &self,
        environment: &str,
        module: &str,
    ) -> Result<BTreeMap<NodeId, Option<String>>> {
        let (environment, module): (Environment, ModuleName) =
            (environment.parse()?, module.parse()?);
        let nodes = self.resources.fleet.nodes(&environment, &module).await?;
        let active = nodes.into_iter().map(|node| {
            (
                node.id,
                node.active.map(|active| active.version.to_string()),
            )
        });
        Ok(active.collect())
    }

    /// Shuts down the engine, the nodes and the API.
    pub async fn shutdown(self) {
        self.engine.shutdown().await;
        for (_, node) in self.nodes {
            node.shutdown().await;
        }
        self.api_shutdown.cancel();
    }
}

/// Serves the API of an engine until `shutdown` is cancelled. Returns its URL.
/// The nodes that the store holds, and the client of them.
async fn load_registry(
    store: &Sqlite,
    clock: &Arc<dyn Clock>,
) -> Result<(Registry, Arc<dyn Fleet>)> {
    let catalogue = Arc::new(store.clone());
    let registry = Registry::load(catalogue, Arc::clone(clock), HEARTBEAT_INTERVAL).await?;
    let options = hotswap_fleet::Options::default();
    let fleet = HttpFleet::new(registry.clone(), NODE_TOKEN, options)?;
    Ok((registry, Arc::new(fleet)))
}

async fn start_api(engine: Engine, shutdown: CancellationToken) -> Result<String> {
    let (api, node) = (Secret::strong(API_TOKEN)?, Secret::strong(NODE_TOKEN)?);
    let mut config = hotswap_api::Config::new(Tokens { api, node });
    config.addr = "127.0.0.1:0".parse()?;
    let server = hotswap_api::Server::bind(config, engine).await?;
    let url = format!("http://{}", server.local_addr());
    tokio::spawn(server.run(async move { shutdown.cancelled().await }));
    Ok(url)
}

/// Waits until the deployment has ended.
///
/// # Errors
/// If it does not end in time.
pub async fn wait_for_end(engine: &Engine, id: DeploymentId) -> Result<Deployment> {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        let state = engine.deployments.get(id).await?;
        if state.status().is_final() {
            return Ok(state);
        }
        let wait = deadline.saturating_duration_since(tokio::time::Instant::now());
        ensure!(
            !wait.is_zero(),
            "the deployment did not end in time: {:?} {:?}",
            state.lifecycle,
            state.stages
        );
        engine
            .deployments
            .events(id, state.next_seq, 1, wait)
            .await
            .context("cannot wait for the next event")?;
    }
}

/// Polls until the condition condition. For conditions without a notification.
async fn wait_until(what: &str, condition: impl Fn() -> bool) -> Result<()> {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while !condition() {
        ensure!(
            tokio::time::Instant::now() < deadline,
            "timed out waiting for {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// A registration whose URLs lead nowhere, for benches that need no real node.
pub fn unreachable_registration(environment: &str) -> hotswap_protocol::Registration {
    hotswap_protocol::Registration {
        environment: Some(environment.to_owned()),
        zone: None,
        labels: BTreeMap::new(),
        control_url: "http://127.0.0.1:1".to_owned(),
        data_url: "http://127.0.0.1:1".to_owned(),
        highest_fence: 0,
        boot: None,
        instance: None,
        modules: None,
    }
}
