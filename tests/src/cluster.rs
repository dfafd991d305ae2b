use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_api::{Secret, Tokens};
use hotswap_core::{
    Deployment, DeploymentId, Environment, Event, Health, ModuleName, NodeId, Policy, Requester,
    SystemClock,
};
use hotswap_fleet::{Fleet, HttpFleet, Registry};
use hotswap_node::Node;
use hotswap_plugins::Host;
use hotswap_runner::{Engine, EngineConfig, Environments, Limits, NewDeployment};
use hotswap_store::{Blobs, Journal, Sqlite};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Who asks for the deployments of tests.
pub const EMAIL: &str = "tests@example.com";
const API_TOKEN: &str = "api-token-of-the-tests";
/// What engine and nodes show each other.
pub const NODE_TOKEN: &str = "node-token-of-the-tests";
/// Nodes report in this often.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long a test waits for what must come: long enough for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// What outlives an engine: the disk, and what is expensive to make anew.
pub struct Core {
    /// The store.
    pub store: Sqlite,
    /// Artifacts.
    pub blobs: Blobs,
    /// Runs strategies.
    pub host: Host,
    /// The nodes that the engine knows.
    pub registry: Registry,
    /// How it reaches them.
    pub fleet: Arc<dyn Fleet>,
    /// The policies.
    pub environments: Environments,
    /// What deployments may use.
    pub limits: Limits,
}

/// An engine with its API, and nodes, in this process.
pub struct Cluster {
    /// The engine; [`Self::restart`] puts another in its place.
    pub engine: Engine,
    /// What stays when the engine goes.
    pub core: Core,
    /// The nodes, by name.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Where the API is: `http://host:port`.
    pub url: String,
    /// Shown to the API as a bearer token.
    pub token: &'static str,
    runtime: hotswap_node::Runtime,
    stop: CancellationToken,
    folder: TempDir,
}

impl Core {
    /// A store in `folder`, and everything over it.
    pub async fn new(folder: &Path, policies: BTreeMap<Environment, Policy>) -> Result<Self> {
        let store = Sqlite::open(folder.join("hotswap.db")).await?;
        let blobs = Blobs::open_folder(folder.join("blobs"), 64 << 20).await?;
        let catalogue = Arc::new(store.clone());
        let registry = Registry::load(catalogue, Arc::new(SystemClock), HEARTBEAT).await?;
        let fleet = HttpFleet::new(
            registry.clone(),
            NODE_TOKEN,
            hotswap_fleet::Options::default(),
        )?;
        Ok(Self {
            store,
            blobs,
            host: Host::new(hotswap_plugins::Limits::default())?,
            registry,
            fleet: Arc::new(fleet),
            environments: Environments::new(policies),
            limits: Limits::default(),
        })
    }

    /// Starts an engine whose journal is `journal`.
    pub async fn start(&self, journal: Arc<dyn Journal>) -> Result<Engine> {
        Ok(Engine::start(EngineConfig {
            journal,
            catalogue: Arc::new(self.store.clone()),
            blobs: self.blobs.clone(),
            host: self.host.clone(),
            registry: self.registry.clone(),
            fleet: Arc::clone(&self.fleet),
            environments: self.environments.clone(),
            clock: Arc::new(SystemClock),
            limits: self.limits,
            built_in: hotswap_guests::strategies()
                .iter()
                .map(|guest| guest.component)
                .collect(),
        })
        .await?)
    }
}

impl Cluster {
    /// An engine, and that many nodes for each environment, registered and passing.
    pub async fn start(environments: &[(&str, usize)]) -> Result<Self> {
        Self::with(environments, BTreeMap::new()).await
    }

    /// The same, with policies other than the environments' own.
    pub async fn with(
        environments: &[(&str, usize)],
        policies: BTreeMap<Environment, Policy>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let core = Core::new(folder.path(), policies).await?;
        let engine = core.start(Arc::new(core.store.clone())).await?;
        let stop = CancellationToken::new();
        let (api, node) = (Secret::strong(API_TOKEN)?, Secret::strong(NODE_TOKEN)?);
        let mut config = hotswap_api::Config::new(Tokens { api, node });
        config.addr = "127.0.0.1:0".parse()?;
        let server = hotswap_api::Server::bind(config, engine.clone()).await?;
        let url = format!("http://{}", server.local_addr());
        let stopped = stop.clone();
        tokio::spawn(server.run(async move { stopped.cancelled().await }));
        let runtime = hotswap_node::Runtime::new(&folder.path().join("compiled"))?;
        let nodes = BTreeMap::new();
        let token = API_TOKEN;
        let mut cluster = Self {
            engine,
            core,
            nodes,
            url,
            token,
            runtime,
            stop,
            folder,
        };
        for (environment, count) in environments {
            for number in 1..=*count {
                let id: NodeId = format!("{environment}-{number}").parse()?;
                cluster.start_node(id, environment.parse()?).await?;
            }
        }
        cluster.settled().await?;
        Ok(cluster)
    }

    /// Starts a node, or starts one of a name that has ended, as it was then.
    pub async fn start_node(&mut self, id: NodeId, environment: Environment) -> Result<()> {
        let config = hotswap_node::Config {
            id: id.clone(),
            environment,
            zone: None,
            labels: BTreeMap::new(),
            data_addr: "127.0.0.1:0".parse()?,
            control_addr: "127.0.0.1:0".parse()?,
            advertise: None,
            engine_url: Some(self.url.clone()),
            token: hotswap_node::Secret::new(NODE_TOKEN),
            data_dir: self.node_dir(&id),
            limits: hotswap_node::Limits::default(),
        };
        let node = Node::start_with(self.runtime.clone(), config).await?;
        self.nodes.insert(id, node);
        Ok(())
    }

    /// Where a node keeps its state.
    pub fn node_dir(&self, id: &NodeId) -> PathBuf {
        self.folder.path().join("nodes").join(id.as_str())
    }

    /// Comes back once every node has registered and is passing.
    pub async fn settled(&self) -> Result<()> {
        until("every node to register", || {
            let members = self.core.registry.members();
            let passing = members
                .iter()
                .filter(|member| member.health == Health::Passing);
            passing.count() >= self.nodes.len()
        })
        .await
    }

    /// Lets go of the engine and starts another over the same store, with this journal.
    /// The API goes on with the one that the cluster began with.
    pub async fn restart(&mut self, journal: Arc<dyn Journal>) -> Result<()> {
        self.engine.shutdown().await;
        self.engine = self.core.start(journal).await?;
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

    /// Uploads the samples `hello` 1.0.0, 2.0.0 and 3.0.0.
    pub async fn upload_samples(&self) -> Result<()> {
        self.upload("hello", "1.0.0", hotswap_guests::HELLO_V1)
            .await?;
        self.upload("hello", "2.0.0", hotswap_guests::HELLO_V2)
            .await?;
        self.upload("hello", "3.0.0", hotswap_guests::HELLO_V3)
            .await
    }

    /// Asks for a deployment.
    pub async fn deploy(
        &self,
        (module, version): (&str, &str),
        environment: &str,
        (strategy, config): (&str, Value),
    ) -> Result<DeploymentId> {
        Ok(self
            .engine
            .deployments
            .create(NewDeployment {
                module: module.parse()?,
                version: Some(version.parse()?),
                environment: environment.parse()?,
                strategy: Some(strategy.parse()?),
                config: Some(config),
                requester: Requester {
                    email: EMAIL.to_owned(),
                    subject: "tests".to_owned(),
                },
                description: None,
                metadata: BTreeMap::new(),
                require_approval: false,
                trace: None,
            })
            .await?)
    }

    /// Waits for a deployment's end.
    pub async fn ended(&self, id: DeploymentId) -> Result<Deployment> {
        ended(&self.engine, id).await
    }

    /// Deploys and waits for the end, which must be a success.
    pub async fn rolled_out(
        &self,
        version: (&str, &str),
        environment: &str,
        strategy: (&str, Value),
    ) -> Result<Deployment> {
        let id = self.deploy(version, environment, strategy).await?;
        let state = self.ended(id).await?;
        ensure!(
            state.status() == hotswap_core::Status::Succeeded,
            "{} {:?} {:?}",
            state.status().as_str(),
            state.cause,
            state.failures
        );
        Ok(state)
    }

    /// All events of a deployment.
    pub async fn journal(&self, id: DeploymentId) -> Result<Vec<Event>> {
        Ok(self.core.store.events(id, 0, usize::MAX).await?)
    }

    /// Puts one text for another in all journals, behind the store's back. Returns how many
    /// events that changed. For when no engine runs.
    pub fn alter(&self, text: &str, other: &str) -> Result<usize> {
        let database = rusqlite::Connection::open(self.folder.path().join("hotswap.db"))?;
        database.busy_timeout(PATIENCE)?;
        let change = "UPDATE event SET body = CAST(replace(CAST(body AS TEXT), ?1, ?2) AS BLOB) \
                      WHERE instr(CAST(body AS TEXT), ?1) > 0";
        Ok(database.execute(change, [text, other])?)
    }

    /// Where the nodes of an environment answer for a module.
    pub fn urls(&self, environment: &str, module: &str) -> Vec<String> {
        let members = self.core.registry.members();
        let here = members
            .iter()
            .filter(|member| member.record.environment.as_str() == environment);
        here.map(|member| format!("{}/{module}/", member.record.data_url))
            .collect()
    }

    /// The versions that the nodes of an environment run, by node.
    pub async fn running(
        &self,
        environment: &str,
        module: &str,
    ) -> Result<BTreeMap<NodeId, Option<String>>> {
        let (environment, module): (Environment, ModuleName) =
            (environment.parse()?, module.parse()?);
        let nodes = self.core.fleet.nodes(&environment, &module).await?;
        let active = nodes.into_iter().map(|node| {
            (
                node.id,
                node.active.map(|active| active.version.to_string()),
            )
        });
        Ok(active.collect())
    }

    /// Ends everything that was started.
    pub async fn stop(self) {
        self.engine.shutdown().await;
        for (_, node) in self.nodes {
            node.shutdown().await;
        }
        self.stop.cancel();
    }
}

/// Waits for a deployment's end.
///
/// # Errors
/// Where it does not end in time.
pub async fn ended(engine: &Engine, id: DeploymentId) -> Result<Deployment> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let state = engine.deployments.get(id).await?;
        if state.status().is_final() {
            return Ok(state);
        }
        let wait = deadline.saturating_duration_since(tokio::time::Instant::now());
        ensure!(
            !wait.is_zero(),
            "not ended in time: {:?} {:?}",
            state.lifecycle,
            state.stages
        );
        engine
            .deployments
            .events(id, state.next_seq, 1, wait)
            .await
            .context("waiting")?;
    }
}

/// Waits until something holds that nothing tells of.
async fn until(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        ensure!(
            tokio::time::Instant::now() < deadline,
            "waited too long for {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// What a node says of itself that nobody will reach.
pub fn registration(environment: &str) -> hotswap_protocol::Registration {
    hotswap_protocol::Registration {
        environment: environment.to_owned(),
        zone: None,
        labels: BTreeMap::new(),
        control_url: "http://127.0.0.1:1".to_owned(),
        data_url: "http://127.0.0.1:1".to_owned(),
    }
}
