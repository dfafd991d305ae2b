//! A fault that passes ends no deployment: a disk that cannot be read, a process without free files,
//! a component that cannot be compiled, one that is gone, and one that this engine does not accept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hotswap_core::{CauseKind, Deployment, DeploymentId, Digest, Status};
use hotswap_plugins::Host;
use hotswap_runner::{Engine, EngineConfig, Retry};
use hotswap_store::Journal;
use hotswap_tests::{Cluster, EMAIL, Installation, LeaselessJournal};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const PRODUCTION: &str = "production";
const TIMEOUT: Duration = Duration::from_secs(30);

/// A cluster with a deployment that no engine has begun to drive, and the file of its
/// strategy's component. The next engine must load it: the host has forgotten it.
struct Fixture {
    cluster: Cluster,
    id: DeploymentId,
    component: PathBuf,
    digest: Digest,
}

impl Fixture {
    async fn new() -> Result<Self> {
        let mut cluster = Cluster::start(&[(PRODUCTION, 1)]).await?;
        cluster.upload_samples().await?;
        let strategies = &cluster.engine.strategies;
        let strategy = strategies
            .upload(hotswap_guests::HALVES.to_vec(), EMAIL)
            .await?;
        let leaseless = LeaselessJournal::wrap(Arc::new(cluster.resources.store.clone()));
        cluster.restart_engine(leaseless).await?;
        let halves = (strategy.name.as_str(), json!({ "watch": "1ms" }));
        let id = cluster
            .deploy(("hello", "1.0.0"), PRODUCTION, halves)
            .await?;
        cluster.engine.shutdown().await;
        cluster.resources.host = Host::new(hotswap_plugins::Limits::default())?;
        let component = cluster.blob_path(strategy.digest);
        ensure!(component.is_file(), "{}", component.display());
        Ok(Self {
            cluster,
            id,
            component,
            digest: strategy.digest,
        })
    }

    async fn start_engine(&mut self) -> Result<()> {
        let journal: Arc<dyn Journal> = Arc::new(self.cluster.resources.store.clone());
        self.cluster.restart_engine(journal).await
    }

    /// Makes the component unreadable: reading a folder fails with EISDIR.
    fn break_disk(&self) -> Result<()> {
        std::fs::rename(&self.component, self.component.with_extension("kept"))?;
        Ok(std::fs::create_dir(&self.component)?)
    }

    fn mend_disk(&self) -> Result<()> {
        std::fs::remove_dir(&self.component)?;
        let kept = self.component.with_extension("kept");
        Ok(std::fs::rename(kept, &self.component)?)
    }

    /// An engine whose memory for strategies is too small for any of them, as that of a machine
    /// that has no room now.
    async fn start_cramped_engine(&self) -> Result<Engine> {
        let resources = &self.cluster.resources;
        let cramped = hotswap_plugins::Limits {
            memory_bytes: 1,
            ..hotswap_plugins::Limits::default()
        };
        let engine = Engine::start(EngineConfig {
            host: Host::new(cramped)?,
            // They could not be compiled either.
            built_in: Vec::new(),
            ..resources.engine_config(Arc::new(resources.store.clone()))
        });
        Ok(engine.await?)
    }

    /// Waits until the engine says that it retries, at least for the second time.
    async fn retry(&self) -> Result<Retry> {
        self.retry_of(&self.cluster.engine).await
    }

    async fn retry_of(&self, engine: &Engine) -> Result<Retry> {
        let deployments = &engine.deployments;
        let retry = async {
            loop {
                let state = deployments.get(self.id).await?;
                let retry = deployments.retry(&state);
                if let Some(retry) = retry.filter(|retry| retry.attempts > 1) {
                    return anyhow::Ok(retry);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, retry).await?
    }

    /// Waits until the deployment is paused.
    async fn paused(&self) -> Result<Deployment> {
        let deployments = &self.cluster.engine.deployments;
        loop {
            let state = deployments.get(self.id).await?;
            ensure!(!state.status().is_final(), "{:?}", state.cause);
            if state.status() == Status::Paused {
                return Ok(state);
            }
            let events = deployments.events(self.id, state.next_seq, 1, TIMEOUT);
            ensure!(!events.await?.events.is_empty(), "{:?}", state.lifecycle);
        }
    }

    async fn wait_for_end(self) -> Result<Deployment> {
        let state = self.cluster.wait_for_end(self.id).await?;
        let retry = self.cluster.engine.deployments.retry(&state);
        ensure!(retry.is_none(), "{retry:?}");
        self.cluster.shutdown().await;
        Ok(state)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_fault_while_an_engine_starts_ends_no_deployment() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    fixture.break_disk()?;
    fixture.start_engine().await?;
    let retry = fixture.retry().await?;
    ensure!(retry.reason.contains("Is a directory"), "{}", retry.reason);
    let state = fixture.cluster.engine.deployments.get(fixture.id).await?;
    assert_eq!(state.status(), Status::Running);
    fixture.mend_disk()?;
    let state = fixture.wait_for_end().await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_whose_strategy_cannot_be_read_can_be_aborted() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    fixture.break_disk()?;
    fixture.start_engine().await?;
    fixture.retry().await?;
    let deployments = fixture.cluster.engine.deployments.clone();
    deployments.abort(fixture.id, EMAIL, None).await?;
    let state = fixture.wait_for_end().await?;
    assert_eq!(state.cause.map(|cause| cause.kind), Some(CauseKind::Abort));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_whose_strategy_is_gone_is_paused_until_it_is_back() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    std::fs::remove_file(&fixture.component)?;
    fixture.start_engine().await?;
    let state = fixture.paused().await?;
    let reason = state.pause_reason.unwrap();
    let digest = fixture.digest.to_string();
    for expected in ["halves", &digest, "upload it again"] {
        ensure!(reason.contains(expected), "{reason}");
    }
    // Resumed without the component, it pauses again.
    let deployments = fixture.cluster.engine.deployments.clone();
    deployments.resume(fixture.id, EMAIL).await?;
    fixture.paused().await?;
    let strategies = &fixture.cluster.engine.strategies;
    strategies
        .upload(hotswap_guests::HALVES.to_vec(), EMAIL)
        .await?;
    let state = deployments.resume(fixture.id, EMAIL).await?;
    assert_eq!(state.pause_reason, None);
    let state = fixture.wait_for_end().await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_whose_strategy_the_engine_does_not_accept_is_paused() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let resources = &fixture.cluster.resources;
    // As after a downgrade: the component needs what this engine does not have.
    let foreign = hotswap_guests::HELLO_V1;
    let mut blob = resources.blobs.writer().await?;
    blob.write(foreign).await?;
    blob.finish(None).await?;
    let (pinned, replacement) = (fixture.digest.to_string(), Digest::of(foreign).to_string());
    let changed = fixture.cluster.replace_in_journals(&pinned, &replacement)?;
    assert_eq!(changed, 1);
    fixture.start_engine().await?;
    let reason = fixture.paused().await?.pause_reason.unwrap();
    ensure!(reason.contains("cannot use"), "{reason}");
    let deployments = fixture.cluster.engine.deployments.clone();
    deployments.abort(fixture.id, EMAIL, None).await?;
    let state = fixture.wait_for_end().await?;
    assert_eq!(state.status(), Status::Failed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_compilation_while_an_engine_starts_ends_no_deployment() -> Result<()> {
    let mut fixture = Fixture::new().await?;
    let cramped = fixture.start_cramped_engine().await?;
    let retry = fixture.retry_of(&cramped).await?;
    ensure!(retry.reason.contains("memory"), "{}", retry.reason);
    let state = cramped.deployments.get(fixture.id).await?;
    assert_eq!(state.status(), Status::Running, "{:?}", state.cause);
    cramped.shutdown().await;
    fixture.start_engine().await?;
    let state = fixture.wait_for_end().await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    Ok(())
}

/// A connection to the API that is there before the engine can accept no other.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    token: String,
}

impl Connection {
    /// Opens it, and waits until the engine has accepted it.
    async fn open(installation: &Installation) -> Result<Self> {
        let host = installation
            .url
            .strip_prefix("http://")
            .context("no host")?;
        let stream = TcpStream::connect(host).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut opened = Self {
            sender,
            host: host.to_owned(),
            token: installation.token.clone(),
        };
        opened.send("GET", "/api/v1/nodes", None).await?;
        Ok(opened)
    }

    async fn send(&mut self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        self.sender.ready().await?;
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(Full::from(
                body.map_or_else(String::new, |it| it.to_string()),
            ))?;
        let answer = timeout(TIMEOUT, self.sender.send_request(request)).await??;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body);
        ensure!(status.is_success(), "{path}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

/// Processes of the real program: an engine that was killed, and has started again without a free
/// file.
struct RestartedEngine {
    installation: Installation,
    connection: Connection,
    deployment: String,
}

impl RestartedEngine {
    /// Restarts the engine of an installation in which this deployment is open.
    async fn restart(mut installation: Installation, deployment: String) -> Result<Self> {
        installation.kill_engine().await?;
        installation.restart_engine().await?;
        installation.wait_for_nodes(2).await?;
        let connection = Connection::open(&installation).await?;
        // What it has open stays open.
        installation.limit_files_of_engine(Some(3))?;
        Ok(Self {
            installation,
            connection,
            deployment,
        })
    }

    /// Asks for `action`. What the engine then has to do, it cannot: waits until it says that it
    /// retries, at least for the second time. Returns the state.
    async fn fail(&mut self, action: &str, body: Value) -> Result<Value> {
        let path = format!("/api/v1/deployments/{}", self.deployment);
        let request = format!("{path}/{action}");
        self.connection.send("POST", &request, Some(body)).await?;
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let state = self.connection.send("GET", &path, None).await?;
            ensure!(state["endedAt"].is_null(), "it has ended: {state}");
            if state["retry"]["attempts"].as_u64() > Some(1) {
                let reason = state["retry"]["reason"].as_str().unwrap_or_default();
                ensure!(reason.contains("Too many open files"), "{state}");
                return Ok(state);
            }
            ensure!(Instant::now() < deadline, "no retry: {state}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Gives the engine files again, and checks that the deployment ends like this, and that no node
    /// has failed.
    async fn end(self, status: &str) -> Result<()> {
        self.installation.limit_files_of_engine(None)?;
        let ended = self.installation.wait_for_end(&self.deployment).await?;
        assert_eq!(ended["status"], status, "{ended}");
        assert_eq!(ended["failures"], json!([]), "{ended}");
        ensure!(ended["retry"].is_null(), "{ended}");
        for node in ended["nodes"].as_array().context("no nodes")? {
            ensure!(node["failure"].is_null(), "{ended}");
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_without_free_files_counts_no_node_as_gone() -> Result<()> {
    let installation = Installation::start(PRODUCTION, 2, &[]).await?;
    let id = installation.propose("1.0.0", "direct", json!({})).await?;
    let mut restarted = RestartedEngine::restart(installation, id).await?;
    // The deployment begins, so the engine has to ask its nodes, to which it has no connection yet.
    let approval = json!({ "approved": true, "requesterEmail": EMAIL });
    let state = restarted.fail("approval", approval).await?;
    ensure!(state["cause"].is_null(), "it is reverted: {state}");
    restarted.end("succeeded").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_without_free_files_gives_no_node_up_that_it_has_to_revert() -> Result<()> {
    let mut installation = Installation::start(PRODUCTION, 2, &[]).await?;
    // Only one try of a node that fails.
    let config = installation.folder().join("hotswap.toml");
    let policy = "\n[environments.production]\nrevertPatience = \"0s\"\n";
    let config_before = std::fs::read_to_string(&config)?;
    std::fs::write(&config, format!("{config_before}{policy}"))?;
    installation.kill_engine().await?;
    installation.restart_engine().await?;
    installation.wait_for_nodes(2).await?;
    let rolling = json!({ "batch": 1, "settle": "1h" });
    let id = installation.propose("1.0.0", "rolling", rolling).await?;
    installation.approve(&id).await?;
    let is_waiting = |state: &Value| {
        let wait = state["waitId"].as_str();
        state["status"] == "running" && wait.is_some_and(|wait| wait.starts_with("call-"))
    };
    let state = installation.wait_for_state(&id, is_waiting).await?;
    assert_eq!(state["policy"]["revertPatience"], 0, "{state}");
    let mut restarted = RestartedEngine::restart(installation, id).await?;
    let abort = json!({ "requesterEmail": EMAIL });
    let state = restarted.fail("abort", abort).await?;
    assert_eq!(state["status"], "rollingBack", "{state}");
    restarted.end("rolledBack").await
}
