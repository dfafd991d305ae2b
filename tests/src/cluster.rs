use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use hotswap_api::{Secret, Tokens};
use hotswap_core::{
    Clock, Deployment, DeploymentId, Digest, Environment, Event, Health, ModuleName, NodeId,
    Policy, SystemClock,
};
use hotswap_node::Node;
use hotswap_runner::Engine;
use hotswap_store::Journal;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::tools;
use crate::{EMAIL, EngineResources, new_deployment, node_config, wait_for_end};

const API_TOKEN: &str = "api-token-of-the-tests";
/// The token by which engine and nodes authenticate to each other.
pub const NODE_TOKEN: &str = "node-token-of-the-tests";
/// Time limit of every wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

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
        let runtime = hotswap_node::Runtime::new(&tools::compiled_folder()?)?;
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

    /// Like [`Self::start`]. The nodes of `environment` run version 1.0.0 of the sample module
    /// `hello`.
    pub async fn start_with_hello(environment: &str, nodes: usize) -> Result<Self> {
        let cluster = Self::start(&[(environment, nodes)]).await?;
        cluster.upload_samples().await?;
        let direct = ("direct", serde_json::json!({}));
        cluster
            .roll_out(("hello", "1.0.0"), environment, direct)
            .await?;
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
        let data_dir = self.node_dir(&id);
        let mut config = node_config(id.clone(), environment, self.url.clone(), data_dir);
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

    /// Waits until the nodes of an environment run these versions of a module, and no other node is
    /// known.
    ///
    /// # Errors
    /// If they do not in time.
    pub async fn wait_for_versions(
        &self,
        environment: &str,
        module: &str,
        expected: &BTreeMap<NodeId, Option<String>>,
    ) -> Result<()> {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        loop {
            let active = self.active_versions(environment, module).await?;
            if active == *expected {
                return Ok(());
            }
            ensure!(
                tokio::time::Instant::now() < deadline,
                "the nodes run {active:?}, not {expected:?}; {:?}",
                self.engine
                    .reconciler
                    .placements(&environment.parse()?)
                    .await?
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
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
async fn start_api(engine: Engine, shutdown: CancellationToken) -> Result<String> {
    let (api, node) = (Secret::strong(API_TOKEN)?, Secret::strong(NODE_TOKEN)?);
    let mut config = hotswap_api::Config::new(Tokens { api, node });
    config.addr = "127.0.0.1:0".parse()?;
    let server = hotswap_api::Server::bind(config, engine).await?;
    let url = format!("http://{}", server.local_addr());
    tokio::spawn(server.run(async move { shutdown.cancelled().await }));
    Ok(url)
}

/// Polls until the condition holds. For conditions without a notification.
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
