use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::balancer::Balancer;
use crate::child_process::ChildProcess;
use crate::listed_events::ListedEvents;
use crate::redis_server::{RedisKind, RedisServer};
use crate::{EMAIL, tools};

/// Time limit of every wait and request. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The tokens of all engines.
pub(crate) const TOKEN: &str = "token-of-the-replicas";

/// Several engines on one server of Redis or Valkey, and the nodes of one environment, as an
/// operator runs them: processes of the real program. The nodes reach the engines through a load
/// balancer, which sends each connection to another one.
pub struct Replicas {
    /// The store.
    pub server: RedisServer,
    // Declared before the folder: fields drop in order, and processes must end before it goes.
    engines: Vec<Option<Replica>>,
    nodes: BTreeMap<String, ChildProcess>,
    balancer: Balancer,
    environment: &'static str,
    /// The address of the store, and more lines of the configuration of all engines.
    store: (String, String),
    /// Environment variables of all processes.
    variables: Vec<(String, String)>,
    client: reqwest::Client,
    folder: TempDir,
}

struct Replica {
    process: ChildProcess,
    addr: SocketAddr,
}

impl Replicas {
    /// Starts a server, engines and nodes. Returns once every engine knows that the nodes pass
    /// their health checks, and the sample module `hello` is uploaded in versions 1.0.0, 2.0.0 and
    /// 3.0.0.
    ///
    /// # Errors
    /// If a process does not start.
    pub async fn start(
        kind: RedisKind,
        engine_count: usize,
        environment: &'static str,
        node_count: usize,
    ) -> Result<Self> {
        Self::start_with(kind, engine_count, environment, node_count, &[]).await
    }

    /// Like [`Self::start`], with these environment variables of all processes.
    ///
    /// # Errors
    /// If a process does not start.
    pub async fn start_with(
        kind: RedisKind,
        engine_count: usize,
        environment: &'static str,
        node_count: usize,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let server = RedisServer::start(kind)?;
        let store = (server.url(), String::new());
        let counts = (engine_count, node_count);
        Self::start_on((server, store), environment, counts, variables).await
    }

    /// Like [`Self::start_with`], on a server that runs. `store` is the address that leads to it,
    /// and more lines of the configuration of all engines; `counts` those of engines and nodes.
    ///
    /// # Errors
    /// If a process does not start.
    pub async fn start_on(
        (server, store): (RedisServer, (String, String)),
        environment: &'static str,
        (engine_count, node_count): (usize, usize),
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("token"), TOKEN)?;
        std::fs::write(folder.path().join("node-token"), format!("{TOKEN}-nodes"))?;
        let mut replicas = Self {
            server,
            store,
            engines: Vec::new(),
            nodes: BTreeMap::new(),
            balancer: Balancer::start().await?,
            environment,
            variables: owned(variables),
            client: reqwest::Client::builder()
                .pool_max_idle_per_host(0)
                .build()?,
            folder,
        };
        for engine in 0..engine_count {
            replicas.engines.push(None);
            replicas.start_engine(engine).await?;
        }
        for number in 1..=node_count {
            replicas.start_node(&format!("{environment}-{number}"))?;
        }
        for engine in 0..engine_count {
            replicas.wait_for_nodes(engine, node_count).await?;
        }
        for (number, (version, component)) in [
            ("1.0.0", hotswap_guests::HELLO_V1),
            ("2.0.0", hotswap_guests::HELLO_V2),
            ("3.0.0", hotswap_guests::HELLO_V3),
        ]
        .into_iter()
        .enumerate()
        {
            // To different engines: each has all of them.
            let engine = number % engine_count;
            replicas
                .upload(engine, ("hello", version), component)
                .await?;
        }
        Ok(replicas)
    }

    /// Starts an engine, or starts it again. Returns once it listens.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_engine(&mut self, engine: usize) -> Result<()> {
        let more = self.store.1.clone();
        self.start_engine_with(engine, &more).await
    }

    /// Starts an engine with more in its configuration.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_engine_with(&mut self, engine: usize, more: &str) -> Result<()> {
        let url = self.store.0.clone();
        self.start_engine_at(engine, &url, more).await
    }

    /// As [`Self::start_engine_with`], with another address that leads to the server.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_engine_at(&mut self, engine: usize, url: &str, more: &str) -> Result<()> {
        let store = format!(
            "[store]\nurl = \"{url}\"\nengine = \"{}\"\n{more}",
            engine_name(engine)
        );
        self.write_config(engine, &store)?;
        self.run_engine(engine).await
    }

    /// Writes the configuration of an engine, and returns the name of its file in
    /// [`Self::folder`]. Without `store`, its state is in its own folder.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_config(&self, engine: usize, store: &str) -> Result<String> {
        let name = engine_name(engine);
        let config = format!(
            "tokenFile = \"token\"\nnodeTokenFile = \"node-token\"\ndataDir = \"{name}\"\n{store}"
        );
        let file = format!("{name}.toml");
        std::fs::write(self.folder.path().join(&file), config)?;
        Ok(file)
    }

    /// Starts an engine by the configuration that [`Self::write_config`] has written.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn run_engine(&mut self, engine: usize) -> Result<()> {
        if engine == self.engines.len() {
            self.engines.push(None);
        }
        let file = format!("{}.toml", engine_name(engine));
        let mut command = tools::hotswap()?;
        command
            .current_dir(self.folder.path())
            .envs(self.variables.iter().cloned())
            .args(["serve", "--config", &file, "--log-format", "json"])
            .args(["--listen", "127.0.0.1:0"]);
        let mut process = ChildProcess::start(command)?;
        let addr = process
            .find_in_stderr(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let is_ready = line["message"] == "api listening";
                is_ready.then(|| line["addr"].as_str().map(str::to_owned))?
            })
            .await?;
        let addr = addr.parse()?;
        self.engines[engine] = Some(Replica { process, addr });
        self.balancer.add(engine, addr);
        Ok(())
    }

    fn start_node(&mut self, id: &str) -> Result<()> {
        self.start_node_in(self.environment, id)
    }

    /// Starts a node in any environment. [`Self::wait_for_nodes`] waits for it.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_node_in(&mut self, environment: &str, id: &str) -> Result<()> {
        self.start_node_with(&["--environment", environment], id)
    }

    /// Starts a node with these arguments, which say to which environment it belongs.
    /// [`Self::wait_for_nodes`] waits for it.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_node_with(&mut self, membership: &[&str], id: &str) -> Result<()> {
        let mut command = tools::hotswap()?;
        let url = self.balancer.url();
        command
            .current_dir(self.folder.path())
            .envs(self.variables.iter().cloned())
            .args(["node", "--with-parent"])
            .args(membership)
            .args(["--engine", &url, "--id", id, "--dir", id])
            .args(["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"])
            .args(["--token-file", "node-token"]);
        let node = ChildProcess::start(command)?;
        self.nodes.insert(id.to_owned(), node);
        Ok(())
    }

    /// Kills an engine with SIGKILL.
    ///
    /// # Errors
    /// If it does not run, or does not exit in time.
    pub async fn kill_engine(&mut self, engine: usize) -> Result<()> {
        self.balancer.remove(engine);
        let replica = self.engines[engine].take().context("no such engine runs")?;
        replica.process.kill().await
    }

    /// Stops an engine with SIGTERM, and waits until it has exited. Returns its standard error.
    ///
    /// # Errors
    /// If it does not run, or does not exit in time, or has logged what the documentation does not list.
    pub async fn terminate_engine(&mut self, engine: usize) -> Result<String> {
        self.balancer.remove(engine);
        let replica = self.engines[engine].take().context("no such engine runs")?;
        replica.process.terminate()?;
        let log = replica.process.wait_for_exit().await?.stderr;
        ListedEvents::read()?.check(&log)?;
        Ok(log)
    }

    /// Stops an engine with SIGSTOP: its connections stay, and it does nothing. The load balancer
    /// leaves it out.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause_engine(&self, engine: usize) -> Result<()> {
        self.balancer.remove(engine);
        self.replica(engine)?.process.stop()
    }

    /// Continues an engine after [`Self::pause_engine`].
    ///
    /// # Errors
    /// If it does not run.
    pub fn continue_engine(&self, engine: usize) -> Result<()> {
        let replica = self.replica(engine)?;
        replica.process.continue_running()?;
        self.balancer.add(engine, replica.addr);
        Ok(())
    }

    /// Lets the load balancer send an engine no more connections. Those that there are stay open.
    pub fn leave_out(&self, engine: usize) {
        self.balancer.leave_out(engine);
    }

    fn replica(&self, engine: usize) -> Result<&Replica> {
        self.engines[engine].as_ref().context("no such engine runs")
    }

    /// The engines that run, by their numbers.
    pub fn running(&self) -> Vec<usize> {
        let running = self.engines.iter().enumerate();
        running
            .filter_map(|(number, engine)| engine.as_ref().map(|_| number))
            .collect()
    }

    /// The base URL of an engine.
    ///
    /// # Errors
    /// If it does not run.
    pub fn url(&self, engine: usize) -> Result<String> {
        Ok(format!("http://{}", self.replica(engine)?.addr))
    }

    /// The id of the process of an engine.
    ///
    /// # Errors
    /// If it does not run.
    pub fn process_id(&self, engine: usize) -> Result<u32> {
        self.replica(engine)?.process.id()
    }

    /// The API token of all engines.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// The ids of the nodes. Each has its state in a folder of this name in [`Self::folder`].
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The folder of all processes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The engine that drives a deployment, as the store says. `None` while it is nobody.
    ///
    /// # Errors
    /// If the store does not answer.
    pub fn driver_of(&self, deployment: &str) -> Result<Option<usize>> {
        let key = format!("{{hotswap}}:d:{deployment}");
        let Some(session) = self.lookup(&key, "owner")? else {
            return Ok(None);
        };
        let name = self.lookup("{hotswap}:engines", &session)?;
        let number = name.and_then(|name| name.strip_prefix("engine-")?.parse::<usize>().ok());
        Ok(number.and_then(|number| number.checked_sub(1)))
    }

    /// The session that works in an environment, as the store says. `None` while none does.
    ///
    /// # Errors
    /// If the store does not answer.
    pub fn owner_of(&self, environment: &str) -> Result<Option<String>> {
        self.lookup(&format!("{{hotswap}}:environment:{environment}"), "owner")
    }

    /// Waits until an engine other than `not` drives a deployment.
    ///
    /// # Errors
    /// If none does in time.
    pub async fn wait_for_driver(&self, deployment: &str, not: Option<usize>) -> Result<usize> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self.driver_of(deployment)? {
                Some(driver) if Some(driver) != not => return Ok(driver),
                _ => {}
            }
            ensure!(Instant::now() < deadline, "no engine drives {deployment}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn lookup(&self, key: &str, field: &str) -> Result<Option<String>> {
        let answer = self.server.command(&["HGET", key, field])?;
        let text = answer.lines().nth(1).unwrap_or_default();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    /// Waits until an engine knows so many nodes that pass their health checks.
    ///
    /// # Errors
    /// If there are not so many in time.
    pub async fn wait_for_nodes(&self, engine: usize, node_count: usize) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let nodes = self.get(engine, "/api/v1/nodes").await?;
            let nodes = nodes["nodes"].as_array().context("no nodes")?;
            let passing = nodes.iter().filter(|node| node["health"] == "passing");
            if passing.count() == node_count {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not all nodes pass: {nodes:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Uploads a version of a module to an engine.
    ///
    /// # Errors
    /// If the engine rejects it.
    pub async fn upload(
        &self,
        engine: usize,
        (module, version): (&str, &str),
        component: &'static [u8],
    ) -> Result<()> {
        let path = format!("/api/v1/modules/{module}/versions/{version}");
        self.send_component(engine, Method::PUT, &path, component)
            .await
    }

    /// Uploads a strategy to an engine.
    ///
    /// # Errors
    /// If the engine rejects it.
    pub async fn upload_strategy(&self, engine: usize, component: &'static [u8]) -> Result<()> {
        self.send_component(engine, Method::POST, "/api/v1/strategies", component)
            .await
    }

    async fn send_component(
        &self,
        engine: usize,
        method: Method,
        path: &str,
        component: &'static [u8],
    ) -> Result<()> {
        let url = format!("{}{path}", self.url(engine)?);
        let request = self.client.request(method, url).bearer_auth(TOKEN);
        let request = request.header("content-type", "application/wasm");
        let answer = request.body(component).timeout(TIMEOUT).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.text().await?);
        Ok(())
    }

    /// Requests a deployment of `hello` from an engine, and returns its id.
    ///
    /// # Errors
    /// If the engine rejects it.
    pub async fn deploy(
        &self,
        engine: usize,
        version: &str,
        strategy: (&str, Value),
    ) -> Result<String> {
        self.deploy_module(engine, ("hello", version), strategy)
            .await
    }

    /// As [`Self::deploy`], to any environment.
    ///
    /// # Errors
    /// If the engine rejects it.
    pub async fn deploy_to(
        &self,
        (engine, environment): (usize, &str),
        version: &str,
        strategy: (&str, Value),
    ) -> Result<String> {
        self.request_deployment((engine, environment), ("hello", version), strategy)
            .await
    }

    /// Requests a deployment of any module from an engine, and returns its id.
    ///
    /// # Errors
    /// If the engine rejects it.
    pub async fn deploy_module(
        &self,
        engine: usize,
        (module, version): (&str, &str),
        strategy: (&str, Value),
    ) -> Result<String> {
        let to = (engine, self.environment);
        self.request_deployment(to, (module, version), strategy)
            .await
    }

    async fn request_deployment(
        &self,
        (engine, environment): (usize, &str),
        (module, version): (&str, &str),
        strategy: (&str, Value),
    ) -> Result<String> {
        let request = json!({
            "moduleName": module,
            "version": version,
            "targetEnvironment": environment,
            "strategy": strategy.0,
            "config": strategy.1,
            "requesterEmail": EMAIL,
        });
        let accepted = self.post(engine, "/api/v1/deployments", request).await?;
        let id = accepted["executionId"].as_str().context("no id")?;
        Ok(id.to_owned())
    }

    /// Waits until a deployment has ended, by any engine that runs, and returns its state.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn wait_for_end(&self, engine: usize, id: &str) -> Result<Value> {
        let path = format!("/api/v1/deployments/{id}");
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let state = self.get(engine, &path).await?;
            if !state["endedAt"].is_null() {
                return Ok(state);
            }
            ensure!(Instant::now() < deadline, "not ended in time: {state}");
            let after = &state["lastEvent"];
            let wait = format!("{path}/events?after={after}&wait=5");
            self.get(engine, &wait).await?;
        }
    }

    /// The version of `hello` that each node serves, as the nodes themselves answer.
    ///
    /// # Errors
    /// If a node does not answer.
    pub async fn serving(&self, engine: usize) -> Result<Vec<String>> {
        let nodes = self.get(engine, "/api/v1/nodes").await?;
        let nodes = nodes["nodes"].as_array().context("no nodes")?;
        let mut versions = Vec::new();
        for node in nodes {
            let url = node["dataUrl"].as_str().context("no URL")?;
            let answer = self.client.get(format!("{url}/hello/")).send().await?;
            let version = answer.headers().get("x-hotswap-version");
            versions.push(version.context("no version")?.to_str()?.to_owned());
        }
        Ok(versions)
    }

    /// Sends a GET request to the API of an engine.
    ///
    /// # Errors
    /// If the status is no success, or the body is not JSON.
    pub async fn get(&self, engine: usize, path: &str) -> Result<Value> {
        self.send(engine, Method::GET, path, None).await
    }

    /// Puts to an engine.
    ///
    /// # Errors
    /// If it does not run, or refuses.
    pub async fn put(&self, engine: usize, path: &str, body: Value) -> Result<Value> {
        self.send(engine, Method::PUT, path, Some(body)).await
    }

    /// Sends a POST request to the API of an engine.
    ///
    /// # Errors
    /// If the status is no success, or the body is not JSON.
    pub async fn post(&self, engine: usize, path: &str, body: Value) -> Result<Value> {
        self.send(engine, Method::POST, path, Some(body)).await
    }

    /// The value of a series in the metrics of an engine. `series` is its name, with its labels
    /// where it has some.
    ///
    /// # Errors
    /// If the engine does not answer, or has no such series.
    pub async fn metric(&self, engine: usize, series: &str) -> Result<f64> {
        let url = format!("{}/metrics", self.url(engine)?);
        let answer = self.client.get(url).timeout(TIMEOUT).send().await?;
        let text = answer.error_for_status()?.text().await?;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = value.with_context(|| format!("no series {series}"))?;
        Ok(value.parse()?)
    }

    async fn send(
        &self,
        engine: usize,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let url = format!("{}{path}", self.url(engine)?);
        let mut request = self.client.request(method, url).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.timeout(TIMEOUT).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{path}: {status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{path}: no JSON: {text}"))
    }
}

fn owned(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let variables = variables.iter();
    variables
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn engine_name(engine: usize) -> String {
    format!("engine-{}", engine + 1)
}
