use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::Method;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::EMAIL;
use crate::authority::Authority;
use crate::bench::cpu_seconds_of;
use crate::child_process::ChildProcess;
use crate::listed_events::ListedEvents;
use crate::tools;

/// Where processes listen, if nothing else is asked for.
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Time limit of every wait and request.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The engine accepts signed tokens, and `hotswap token` signs them.
const CONFIG: &str = r#"
[jwt]
algorithm = "HS256"
secretFile = "secret"
issuer = "tests"
audience = "hotswap"
"#;

/// What [`Authority::client`] writes.
const AUTHORITY_FILE: &str = "trusted.crt";

/// An engine and its nodes as an operator runs them: processes of the real program. Their
/// folder is removed with this value. The engine can be killed and restarted.
pub struct Installation {
    /// Base URL of the engine: `http://host:port`, or with `https`.
    pub url: String,
    /// The API token.
    pub token: String,
    /// The environment of all nodes.
    pub environment: &'static str,
    // Declared before the folder: fields drop in order, and processes must end before it goes.
    engine: Option<ChildProcess>,
    /// By their ids.
    nodes: BTreeMap<String, ChildProcess>,
    /// How nodes and engine get to know each other.
    node_args: Vec<String>,
    /// Where the nodes listen.
    node_ip: IpAddr,
    serve_args: Vec<String>,
    /// Environment variables of all processes.
    variables: Vec<(String, String)>,
    client: reqwest::Client,
    folder: TempDir,
}

/// How nodes and engine get to know each other. `registry` is the table of a registry, and `config`
/// stands before that in the engine's configuration.
#[derive(Clone, Copy)]
enum Meeting<'a> {
    /// Nodes report in to the engine. All listen at this address.
    ReportIn(IpAddr),
    /// Nodes report in to the engine, which speaks HTTPS.
    ReportInOverHttps,
    /// Nodes register in the registry, where the engine finds them.
    Register { config: &'a str, registry: &'a str },
    /// Others register the nodes, which listen at `ip`.
    Wait {
        config: &'a str,
        registry: &'a str,
        ip: IpAddr,
    },
}

impl Installation {
    /// Starts an engine and `node_count` nodes in one environment. Returns once the nodes pass
    /// their health checks and the sample module `hello` is uploaded in versions 1.0.0, 2.0.0
    /// and 3.0.0. `flags` are additional flags of `hotswap serve`.
    ///
    /// # Errors
    /// If a process does not start.
    pub async fn start(
        environment: &'static str,
        node_count: usize,
        flags: &[&str],
    ) -> Result<Self> {
        let meeting = Meeting::ReportIn(LOCALHOST);
        Self::start_configured(environment, node_count, flags, meeting, &[]).await
    }

    /// Like [`Self::start`], where all listen at `ip`, an address of this machine.
    ///
    /// # Errors
    /// If a process does not start.
    pub async fn start_at(
        environment: &'static str,
        node_count: usize,
        ip: IpAddr,
    ) -> Result<Self> {
        let meeting = Meeting::ReportIn(ip);
        Self::start_configured(environment, node_count, &[], meeting, &[]).await
    }

    /// Like [`Self::start`], with these environment variables of all processes.
    ///
    /// # Errors
    /// If a process does not start.
    pub async fn start_with(
        environment: &'static str,
        node_count: usize,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let meeting = Meeting::ReportIn(LOCALHOST);
        Self::start_configured(environment, node_count, &[], meeting, variables).await
    }

    /// Like [`Self::start`], with nodes that report in to nobody: they register in a registry,
    /// where the engine finds them. `registry` is the table `[[discovery]]` for it, and `config`
    /// stands before that in the engine's configuration.
    ///
    /// # Errors
    /// If a process does not start.
    pub async fn start_found(
        environment: &'static str,
        node_count: usize,
        config: &str,
        registry: &str,
    ) -> Result<Self> {
        let meeting = Meeting::Register { config, registry };
        Self::start_configured(environment, node_count, &[], meeting, &[]).await
    }

    /// Like [`Self::start`], with an engine that speaks HTTPS. See [`Self::authority_file`].
    ///
    /// # Errors
    /// If a process does not start.
    pub async fn start_over_https(environment: &'static str, node_count: usize) -> Result<Self> {
        let meeting = Meeting::ReportInOverHttps;
        let flags = ["--tls-cert", "engine.crt", "--tls-key", "engine.key"];
        Self::start_configured(environment, node_count, &flags, meeting, &[]).await
    }

    /// Like [`Self::start_found`], where others register the nodes: the engine starts without any,
    /// and nodes listen at `ip` and wait for an engine that finds them.
    ///
    /// # Errors
    /// If the engine does not start.
    pub async fn start_discovered(
        environment: &'static str,
        ip: IpAddr,
        config: &str,
        registry: &str,
    ) -> Result<Self> {
        let meeting = Meeting::Wait {
            config,
            registry,
            ip,
        };
        Self::start_configured(environment, 0, &[], meeting, &[]).await
    }

    async fn start_configured(
        environment: &'static str,
        node_count: usize,
        flags: &[&str],
        meeting: Meeting<'_>,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let variables: Vec<_> = variables
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let folder = tempfile::tempdir()?;
        let (more, table) = match meeting {
            Meeting::ReportIn(_) | Meeting::ReportInOverHttps => ("", ""),
            Meeting::Register { config, registry }
            | Meeting::Wait {
                config, registry, ..
            } => (config, registry),
        };
        let config = format!("{CONFIG}{more}\n{table}");
        std::fs::write(folder.path().join("hotswap.toml"), config)?;
        std::fs::write(folder.path().join("node.toml"), table)?;
        std::fs::write(folder.path().join("secret"), "0123456789abcdef".repeat(2))?;
        let is_https = matches!(meeting, Meeting::ReportInOverHttps);
        let client = if is_https {
            let authority = Authority::new()?;
            authority.issue(folder.path(), "engine", "localhost")?;
            authority.client(folder.path(), None)?
        } else {
            reqwest::Client::new()
        };
        let mut serve_args: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let engine_ip = match meeting {
            Meeting::ReportIn(ip) => ip,
            Meeting::ReportInOverHttps | Meeting::Register { .. } | Meeting::Wait { .. } => {
                LOCALHOST
            }
        };
        let listen = SocketAddr::new(engine_ip, 0).to_string();
        serve_args.extend(["--listen".to_owned(), listen]);
        let (engine, addr) = start_engine(folder.path(), &serve_args, &variables).await?;
        // Clients reconnect to this address: a restarted engine must listen there again.
        serve_args.pop();
        serve_args.push(addr.clone());
        let token = std::fs::read_to_string(folder.path().join("engine/token"))?;
        let url = format!("http{}://{addr}", if is_https { "s" } else { "" });
        let node_args: &[&str] = match meeting {
            Meeting::ReportIn(_) => &["--engine", &url],
            Meeting::ReportInOverHttps => &["--engine", &url, "--ca", AUTHORITY_FILE],
            Meeting::Register { .. } => &["--discovery", "node.toml"],
            Meeting::Wait { .. } => &["--discovered", "--log-format", "json"],
        };
        let node_ip = match meeting {
            Meeting::ReportIn(ip) | Meeting::Wait { ip, .. } => ip,
            Meeting::ReportInOverHttps | Meeting::Register { .. } => LOCALHOST,
        };
        let mut installation = Self {
            node_args: node_args.iter().map(|&arg| arg.to_owned()).collect(),
            node_ip,
            url,
            token: token.trim().to_owned(),
            environment,
            engine: Some(engine),
            nodes: BTreeMap::new(),
            serve_args,
            variables,
            client,
            folder,
        };
        for number in 1..=node_count {
            installation.start_node(&format!("{environment}-{number}"))?;
        }
        installation.wait_for_nodes(node_count).await?;
        installation.upload_samples().await?;
        Ok(installation)
    }

    /// Uploads the sample module `hello` in versions 1.0.0, 2.0.0 and 3.0.0.
    ///
    /// # Errors
    /// If the engine rejects it.
    pub async fn upload_samples(&self) -> Result<()> {
        for (version, component) in [
            ("1.0.0", hotswap_guests::HELLO_V1),
            ("2.0.0", hotswap_guests::HELLO_V2),
            ("3.0.0", hotswap_guests::HELLO_V3),
        ] {
            self.upload(version, component).await?;
        }
        Ok(())
    }

    /// Gives nodes that are started from now on these further flags.
    pub fn add_node_flags(&mut self, flags: &[&str]) {
        self.node_args
            .extend(flags.iter().map(|&flag| flag.to_owned()));
    }

    /// Starts another node. If one of this id ran before, it starts with what is on its disk.
    ///
    /// # Errors
    /// If the process does not start.
    pub fn start_node(&mut self, id: &str) -> Result<()> {
        let addr = SocketAddr::new(self.node_ip, 0).to_string();
        let mut command = tools::hotswap()?;
        command
            .current_dir(self.folder.path())
            .envs(self.variables.iter().cloned())
            .args(["node", "--with-parent", "--environment", self.environment])
            .args(&self.node_args)
            .args(["--id", id, "--dir", id])
            .args(["--data", &addr, "--control", &addr])
            .args(["--token-file", "engine/node-token"]);
        let node = ChildProcess::start(command)?;
        self.nodes.insert(id.to_owned(), node);
        Ok(())
    }

    /// The ports of a node that waits for an engine: for orders, and for requests. Ask once after
    /// each start of it.
    ///
    /// # Errors
    /// If no such node runs, or it does not say them in time.
    pub async fn node_ports(&mut self, id: &str) -> Result<(u16, u16)> {
        let node = self.nodes.get_mut(id).context("no such node runs")?;
        let ports = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            let port = |field: &str| {
                let addr: SocketAddr = line[field].as_str()?.parse().ok()?;
                Some(addr.port())
            };
            port("control_addr").zip(port("data_addr"))
        };
        node.find_in_stderr(ports).await
    }

    /// Kills a node with SIGKILL.
    ///
    /// # Errors
    /// If no such node runs, or it does not exit in time.
    pub async fn kill_node(&mut self, id: &str) -> Result<()> {
        let node = self.nodes.remove(id).context("no such node runs")?;
        node.kill().await
    }

    /// Sends SIGTERM to a node, which runs on for its lame-duck time.
    ///
    /// # Errors
    /// If no such node runs.
    pub fn ask_node_to_stop(&self, id: &str) -> Result<()> {
        let node = self.nodes.get(id).context("no such node runs")?;
        node.terminate()
    }

    /// Stops a node with SIGTERM, and waits until it has exited. Returns its standard error.
    ///
    /// # Errors
    /// If no such node runs, or it does not exit in time, or has logged in JSON what the documentation
    /// does not list.
    pub async fn terminate_node(&mut self, id: &str) -> Result<String> {
        let node = self.nodes.remove(id).context("no such node runs")?;
        node.terminate()?;
        let log = node.wait_for_exit().await?.stderr;
        ListedEvents::read()?.check(&log)?;
        Ok(log)
    }

    /// Stops the engine with SIGTERM, and waits until it has exited. Returns its standard error.
    ///
    /// # Errors
    /// If no engine runs, or it does not exit in time, or has logged what the documentation does not
    /// list.
    pub async fn terminate_engine(&mut self) -> Result<String> {
        let engine = self.engine.take().context("no engine runs")?;
        engine.terminate()?;
        let log = engine.wait_for_exit().await?.stderr;
        ListedEvents::read()?.check(&log)?;
        Ok(log)
    }

    /// Waits until this many nodes pass their health checks.
    ///
    /// # Errors
    /// If they do not in time.
    pub async fn wait_for_nodes(&self, node_count: usize) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let nodes = self.get("/api/v1/nodes").await?;
            let nodes = nodes["nodes"].as_array().context("no nodes")?;
            let passing = nodes.iter().filter(|node| node["health"] == "passing");
            if passing.count() == node_count {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "not all nodes pass their health checks: {nodes:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Uploads a version of the sample module `hello`.
    ///
    /// # Errors
    /// If the engine rejects it.
    pub async fn upload(&self, version: &str, component: &'static [u8]) -> Result<()> {
        let url = format!("{}/api/v1/modules/hello/versions/{version}", self.url);
        let request = self.client.put(url).bearer_auth(&self.token);
        let request = request.header("content-type", "application/wasm");
        let answer = request.body(component).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.text().await?);
        Ok(())
    }

    /// Sets how many files and connections the engine may have open; `None` for as many as this
    /// process may. Those that it has above the limit stay open.
    ///
    /// # Errors
    /// If no engine runs.
    pub fn limit_files_of_engine(&self, limit: Option<u64>) -> Result<()> {
        let engine = self.engine.as_ref().context("no engine runs")?;
        let engine = Pid::from_raw(engine.id()?.cast_signed());
        // That of the engine is the same: it has inherited it.
        let maximum = getrlimit(Resource::Nofile).maximum;
        let current = limit.or(maximum);
        prlimit(engine, Resource::Nofile, Rlimit { current, maximum })?;
        Ok(())
    }

    /// The URLs at which the nodes serve the module `hello`.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn data_urls(&self) -> Result<Vec<String>> {
        let nodes = self.get("/api/v1/nodes").await?;
        let nodes = nodes["nodes"].as_array().context("no nodes")?;
        let url = |node: &Value| Some(format!("{}/hello/", node["dataUrl"].as_str()?));
        nodes
            .iter()
            .map(url)
            .collect::<Option<_>>()
            .context("a node without a data URL")
    }

    /// The certificate of the authority that clients over HTTPS have to trust.
    pub fn authority_file(&self) -> PathBuf {
        self.folder.path().join(AUTHORITY_FILE)
    }

    /// The installation's folder, also for files of the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the engine with SIGKILL. The nodes keep running.
    ///
    /// # Errors
    /// If no engine runs, or it does not exit in time.
    pub async fn kill_engine(&mut self) -> Result<()> {
        self.engine.take().context("no engine runs")?.kill().await
    }

    /// The CPU time that the engine and its nodes have used since they started, in seconds.
    ///
    /// # Errors
    /// If no engine runs, or a node has exited.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let engine = self.engine.as_ref().context("no engine runs")?;
        let processes = self.nodes.values().chain([engine]);
        let used = processes.map(|process| cpu_seconds_of(&process.id()?.to_string()));
        used.sum()
    }

    /// Stops the processes of the engine and of all nodes with SIGSTOP, as when their machine is
    /// suspended.
    ///
    /// # Errors
    /// If no engine runs, or a node has exited.
    pub fn stop(&self) -> Result<()> {
        self.nodes.values().try_for_each(ChildProcess::stop)?;
        self.engine.as_ref().context("no engine runs")?.stop()
    }

    /// Continues the engine after [`Self::stop`].
    ///
    /// # Errors
    /// If no engine runs.
    pub fn continue_engine(&self) -> Result<()> {
        let engine = self.engine.as_ref().context("no engine runs")?;
        engine.continue_running()
    }

    /// Continues the nodes after [`Self::stop`].
    ///
    /// # Errors
    /// If a node has exited.
    pub fn continue_nodes(&self) -> Result<()> {
        self.nodes
            .values()
            .try_for_each(ChildProcess::continue_running)
    }

    /// Starts an engine at the address and on the data of the killed one. Returns once it
    /// listens.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart_engine(&mut self) -> Result<()> {
        let (folder, variables) = (self.folder.path(), &self.variables);
        let (engine, _) = start_engine(folder, &self.serve_args, variables).await?;
        self.engine = Some(engine);
        Ok(())
    }

    /// Signs a token that expires after a duration such as `"15m"`.
    ///
    /// # Errors
    /// If `hotswap token` fails.
    pub async fn sign_token(&self, role: &str, expires: &str) -> Result<String> {
        let mut command = tools::hotswap()?;
        command
            .current_dir(self.folder.path())
            .args(["token", "--subject", role, "--role", role])
            .args(["--expires", expires]);
        let exit = ChildProcess::start(command)?.wait_for_exit().await?;
        match exit.stdout.as_slice() {
            [token] if exit.code == Some(0) => Ok(token.clone()),
            _ => bail!("no token: {exit:?}"),
        }
    }

    /// Creates a deployment of `hello` that does not start before it is approved. Returns its
    /// execution id.
    ///
    /// # Errors
    /// If the engine rejects it.
    pub async fn propose(&self, version: &str, strategy: &str, config: Value) -> Result<String> {
        let request = json!({
            "moduleName": "hello",
            "version": version,
            "targetEnvironment": self.environment,
            "strategy": strategy,
            "config": config,
            "requesterEmail": EMAIL,
            "requireApproval": true,
        });
        let accepted = self.post("/api/v1/deployments", request).await?;
        let id = accepted["executionId"].as_str().context("no id")?;
        Ok(id.to_owned())
    }

    /// Approves a proposed deployment, which starts it.
    ///
    /// # Errors
    /// If the engine rejects it.
    pub async fn approve(&self, id: &str) -> Result<()> {
        let path = format!("/api/v1/deployments/{id}/approval");
        let approval = json!({ "approved": true, "requesterEmail": EMAIL });
        self.post(&path, approval).await?;
        Ok(())
    }

    /// Waits until a deployment has ended, and returns its state.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn wait_for_end(&self, id: &str) -> Result<Value> {
        self.wait_for_state(id, |_| false).await
    }

    /// Waits until the state of a deployment is as `is_met` wants it, or the deployment has ended.
    /// Follows its events. Returns the state.
    ///
    /// # Errors
    /// If neither happens in time.
    pub async fn wait_for_state(&self, id: &str, is_met: impl Fn(&Value) -> bool) -> Result<Value> {
        let path = format!("/api/v1/deployments/{id}");
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let state = self.get(&path).await?;
            if is_met(&state) || !state["endedAt"].is_null() {
                return Ok(state);
            }
            ensure!(Instant::now() < deadline, "not in time: {state}");
            let after = &state["lastEvent"];
            self.get(&format!("{path}/events?after={after}&wait=10"))
                .await?;
        }
    }

    /// Pauses a deployment and resumes it, which appends two events.
    ///
    /// # Errors
    /// If the engine rejects it, as it does once the deployment has ended.
    pub async fn pause_and_resume(&self, id: &str) -> Result<()> {
        for action in ["pause", "resume"] {
            let path = format!("/api/v1/deployments/{id}/{action}");
            self.post(&path, json!({})).await?;
        }
        Ok(())
    }

    /// Sends a GET request to the API.
    ///
    /// # Errors
    /// If the status is no success, or the body is not JSON.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// Sends a POST request to the API.
    ///
    /// # Errors
    /// If the status is no success, or the body is not JSON.
    pub async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.send(Method::POST, path, Some(body)).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let url = format!("{}{path}", self.url);
        let mut request = self.client.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.timeout(TIMEOUT).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text)
            .with_context(|| format!("the answer of {path} is not JSON: {text}"))
    }
}

/// Starts an engine. Returns it and its `host:port` once it listens.
async fn start_engine(
    folder: &Path,
    flags: &[String],
    variables: &[(String, String)],
) -> Result<(ChildProcess, String)> {
    let mut command = tools::hotswap()?;
    command
        .current_dir(folder)
        .envs(variables.iter().cloned())
        .args(["serve", "--data-dir", "engine", "--log-format", "json"])
        .args(flags);
    let mut engine = ChildProcess::start(command)?;
    let addr = engine
        .find_in_stderr(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let ready = line["message"] == "api listening";
            ready.then(|| line["addr"].as_str().map(str::to_owned))?
        })
        .await?;
    Ok((engine, addr))
}
