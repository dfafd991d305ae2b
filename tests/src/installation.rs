use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::EMAIL;
use crate::program::Program;
use crate::tools;

/// How long to wait for what nothing tells of.
const PATIENCE: Duration = Duration::from_secs(60);

/// Signed tokens are taken, and `hotswap token` signs some.
const CONFIG: &str = r#"
[jwt]
algorithm = "HS256"
secretFile = "secret"
issuer = "tests"
audience = "hotswap"
"#;

/// An engine and its nodes as an operator runs them: processes of the real program, in a
/// folder that goes with this value. The engine can be killed, and started again in its
/// place.
pub struct Installation {
    /// Where the engine is: `http://host:port`.
    pub url: String,
    /// The API token.
    pub token: String,
    /// The environment of all nodes.
    pub environment: &'static str,
    // Ends after those who use it.
    engine: Option<Program>,
    _nodes: Vec<Program>,
    serve: Vec<String>,
    client: reqwest::Client,
    folder: TempDir,
}

impl Installation {
    /// Starts an engine and so many nodes, all of one environment; comes back once they are
    /// passing and the samples `hello` 1.0.0 to 3.0.0 are uploaded. `flags` are more of
    /// `hotswap serve`.
    ///
    /// # Errors
    /// Where something does not start.
    pub async fn start(environment: &'static str, nodes: usize, flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("hotswap.toml"), CONFIG)?;
        std::fs::write(folder.path().join("secret"), "0123456789abcdef".repeat(2))?;
        let mut serve: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        serve.extend(["--listen".to_owned(), "127.0.0.1:0".to_owned()]);
        let (engine, addr) = start_engine(folder.path(), &serve).await?;
        // Whoever was connected looks for it there when it comes back.
        serve.pop();
        serve.push(addr.clone());
        let token = std::fs::read_to_string(folder.path().join("engine/token"))?;
        let mut here = Self {
            url: format!("http://{addr}"),
            token: token.trim().to_owned(),
            environment,
            engine: Some(engine),
            _nodes: Vec::new(),
            serve,
            client: reqwest::Client::new(),
            folder,
        };
        for number in 1..=nodes {
            let node = here.start_node(&format!("{environment}-{number}"))?;
            here._nodes.push(node);
        }
        here.settled(nodes).await?;
        for (version, component) in [
            ("1.0.0", hotswap_guests::HELLO_V1),
            ("2.0.0", hotswap_guests::HELLO_V2),
            ("3.0.0", hotswap_guests::HELLO_V3),
        ] {
            here.upload(version, component).await?;
        }
        Ok(here)
    }

    fn start_node(&self, id: &str) -> Result<Program> {
        let mut command = tools::hotswap()?;
        command
            .current_dir(self.folder.path())
            .args(["node", "--with-parent", "--environment", self.environment])
            .args(["--engine", &self.url, "--id", id, "--dir", id])
            .args(["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"])
            .args(["--token-file", "engine/node-token"]);
        Program::start(command)
    }

    async fn settled(&self, nodes: usize) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let known = self.get("/api/v1/nodes").await?;
            let known = known["nodes"].as_array().context("no nodes")?;
            let passing = known.iter().filter(|node| node["health"] == "passing");
            if passing.count() == nodes {
                return Ok(());
            }
            ensure!(Instant::now() < end, "not all nodes joined: {known:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn upload(&self, version: &str, component: &'static [u8]) -> Result<()> {
        let url = format!("{}/api/v1/modules/hello/versions/{version}", self.url);
        let request = self.client.put(url).bearer_auth(&self.token);
        let request = request.header("content-type", "application/wasm");
        let answer = request.body(component).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.text().await?);
        Ok(())
    }

    /// Where the nodes answer requests for the module `hello`.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn data_urls(&self) -> Result<Vec<String>> {
        let known = self.get("/api/v1/nodes").await?;
        let known = known["nodes"].as_array().context("no nodes")?;
        let url = |node: &Value| Some(format!("{}/hello/", node["dataUrl"].as_str()?));
        known
            .iter()
            .map(url)
            .collect::<Option<_>>()
            .context("a node without a data URL")
    }

    /// A folder for whatever belongs to the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the engine, as a loss of power would. The nodes go on.
    ///
    /// # Errors
    /// Where it does not end, or has been killed before.
    pub async fn kill_engine(&mut self) -> Result<()> {
        self.engine.take().context("no engine runs")?.kill().await
    }

    /// Starts an engine in the place of the one that was killed; comes back once it answers.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn restart_engine(&mut self) -> Result<()> {
        let (engine, _) = start_engine(self.folder.path(), &self.serve).await?;
        self.engine = Some(engine);
        Ok(())
    }

    /// A signed token that opens the engine for so long, as `"15m"`.
    ///
    /// # Errors
    /// Where none is signed.
    pub async fn sign(&self, role: &str, expires: &str) -> Result<String> {
        let mut command = tools::hotswap()?;
        command
            .current_dir(self.folder.path())
            .args(["token", "--subject", role, "--role", role])
            .args(["--expires", expires]);
        let ended = Program::start(command)?.ended().await?;
        match ended.output.as_slice() {
            [token] if ended.code == Some(0) => Ok(token.clone()),
            _ => bail!("no token: {ended:?}"),
        }
    }

    /// Asks for a deployment of `hello` that waits to be approved; returns its id once it
    /// does.
    ///
    /// # Errors
    /// Where the engine refuses.
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

    /// Lets a proposed deployment begin.
    ///
    /// # Errors
    /// Where the engine refuses.
    pub async fn approve(&self, id: &str) -> Result<()> {
        let path = format!("/api/v1/deployments/{id}/approval");
        let approval = json!({ "approved": true, "requesterEmail": EMAIL });
        self.post(&path, approval).await?;
        Ok(())
    }

    /// Pauses a deployment and lets it go on: two events.
    ///
    /// # Errors
    /// Where the engine refuses, as it does once the deployment has ended.
    pub async fn pause(&self, id: &str) -> Result<()> {
        for order in ["pause", "resume"] {
            let path = format!("/api/v1/deployments/{id}/{order}");
            self.post(&path, json!({})).await?;
        }
        Ok(())
    }

    /// Asks the API.
    ///
    /// # Errors
    /// Where it refuses.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    /// Tells the API.
    ///
    /// # Errors
    /// Where it refuses.
    pub async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let url = format!("{}{path}", self.url);
        let mut request = self.client.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.timeout(PATIENCE).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{path} answers {text}"))
    }
}

/// Starts an engine; returns it and its address once it answers there.
async fn start_engine(folder: &Path, flags: &[String]) -> Result<(Program, String)> {
    let mut command = tools::hotswap()?;
    command
        .current_dir(folder)
        .args(["serve", "--data-dir", "engine", "--log-format", "json"])
        .args(flags);
    let mut engine = Program::start(command)?;
    let addr = engine
        .logged(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let ready = line["message"] == "api listening";
            ready.then(|| line["addr"].as_str().map(str::to_owned))?
        })
        .await?;
    Ok((engine, addr))
}
