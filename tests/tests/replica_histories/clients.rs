//! People and programs that use the engines at random.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use hotswap_tests::Replicas;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{History, MODULES, PRODUCTION, lock};

/// How long a client waits for an answer before it takes it for lost.
const ANSWER: Duration = Duration::from_secs(8);
/// How long the engines have to end what is open, once nothing disturbs them.
const END: Duration = Duration::from_secs(180);

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A request, which the name of its requester tells from all others.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The name in the journal.
    pub by: String,
    /// What was requested.
    pub what: &'static str,
    /// Of which deployment.
    pub deployment: String,
    /// What came of it, as far as the client knows.
    pub outcome: Outcome,
}

/// What a client knows of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable.
    Acknowledged,
    /// It was rejected, and had no effect.
    Rejected,
    /// Nobody knows.
    Unknown,
}

/// The name of a requester, another one each time.
pub fn next_name() -> String {
    format!("op-{}@example.org", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn module(number: usize) -> String {
    format!("module-{number}")
}

/// Uploads two versions of each module.
pub async fn upload_modules(replicas: &Replicas, count: usize) -> Result<()> {
    let client = reqwest::Client::new();
    for name in (0..count).map(module) {
        for (version, component) in [
            ("1.0.0", hotswap_guests::HELLO_V1),
            ("2.0.0", hotswap_guests::HELLO_V2),
        ] {
            let url = replicas.url(0)?;
            let url = format!("{url}/api/v1/modules/{name}/versions/{version}");
            let request = client.put(url).bearer_auth(replicas.token());
            let request = request.header("content-type", "application/wasm");
            let answer = request.body(component).send().await?;
            ensure!(answer.status().is_success(), "{}", answer.text().await?);
        }
    }
    Ok(())
}

/// Asks for one thing after the other.
pub struct Client {
    rng: Rng,
    history: Arc<History>,
    token: &'static str,
    http: reqwest::Client,
}

impl Client {
    pub fn new(rng: Rng, history: Arc<History>, token: &'static str) -> Self {
        let http = reqwest::Client::new();
        Self {
            rng,
            history,
            token,
            http,
        }
    }

    pub async fn run(mut self, stop: CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            match self.rng.u8(..10) {
                0..4 => self.deploy(&stop).await?,
                4 => self.undo(&stop).await?,
                _ => self.steer().await?,
            }
            sleep(Duration::from_millis(self.rng.u64(..300))).await;
        }
        Ok(())
    }

    /// Deploys a version by any strategy.
    async fn deploy(&mut self, stop: &CancellationToken) -> Result<()> {
        let by = next_name();
        let span = format!("{}ms", self.rng.u32(1..3000));
        let (strategy, config) = match self.rng.u8(..6) {
            0 => ("direct", json!({})),
            1 => ("canary", json!({ "soak": span })),
            2 => (
                "blue-green",
                json!({ "soak": span, "approval": self.rng.bool() }),
            ),
            _ => ("rolling", json!({ "batch": 1, "settle": span })),
        };
        let body = json!({
            "moduleName": module(self.rng.usize(..MODULES)),
            "version": self.rng.choice(["1.0.0", "2.0.0"]),
            "targetEnvironment": PRODUCTION,
            "strategy": strategy,
            "config": config,
            "requireApproval": self.rng.u8(..4) == 0,
            "requesterEmail": by,
        });
        self.create("/api/v1/deployments", &body, by, stop).await
    }

    /// Goes back to an earlier success of a module.
    async fn undo(&mut self, stop: &CancellationToken) -> Result<()> {
        let by = next_name();
        let module = module(self.rng.usize(..MODULES));
        let path = format!("/api/v1/clusters/{PRODUCTION}/modules/{module}/undo");
        let body = json!({ "requesterEmail": by });
        self.create(&path, &body, by, stop).await
    }

    /// Requests a deployment, until it is known what came of it: the key makes that safe.
    async fn create(
        &mut self,
        path: &str,
        body: &Value,
        by: String,
        stop: &CancellationToken,
    ) -> Result<()> {
        loop {
            let answer = self.post(path, body, Some(&by)).await;
            match answer {
                Some((status, answer)) if status.is_success() => {
                    let id = answer["executionId"].as_str().context("no id")?.to_owned();
                    lock(&self.history.deployments).insert(id.clone(), 0);
                    self.record(by, "create", id, Outcome::Acknowledged);
                    return Ok(());
                }
                Some((status, _)) if status.is_client_error() => {
                    self.record(by, "create", String::new(), Outcome::Rejected);
                    return Ok(());
                }
                _ if stop.is_cancelled() => {
                    self.record(by, "create", String::new(), Outcome::Unknown);
                    return Ok(());
                }
                _ => sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Does something to a deployment, most of the time to one of the newest.
    async fn steer(&mut self) -> Result<()> {
        let ids: Vec<_> = lock(&self.history.deployments).keys().cloned().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let from = ids
            .len()
            .saturating_sub(if self.rng.u8(..8) == 0 { 50 } else { 4 });
        let id = ids[self.rng.usize(from..ids.len())].clone();
        let by = next_name();
        let what = self
            .rng
            .choice([
                "pause", "resume", "resume", "approve", "approve", "abort", "promote",
            ])
            .context("nothing to do")?;
        let path = match what {
            "approve" => format!("/api/v1/deployments/{id}/approval"),
            _ => format!("/api/v1/deployments/{id}/{what}"),
        };
        let body = match what {
            "approve" => json!({ "approved": self.rng.u8(..5) > 0, "requesterEmail": by }),
            "promote" => json!({ "full": self.rng.bool(), "requesterEmail": by }),
            _ => json!({ "requesterEmail": by }),
        };
        let outcome = match self.post(&path, &body, None).await {
            Some((status, _)) if status.is_success() => Outcome::Acknowledged,
            Some((StatusCode::CONFLICT, _)) => Outcome::Rejected,
            Some((status, answer)) => {
                ensure!(status.is_server_error(), "{path}: {status}: {answer}");
                Outcome::Unknown
            }
            None => Outcome::Unknown,
        };
        self.record(by, what, id, outcome);
        Ok(())
    }

    /// Posts to any engine. `None` where no answer came.
    async fn post(
        &mut self,
        path: &str,
        body: &Value,
        key: Option<&str>,
    ) -> Option<(StatusCode, Value)> {
        let url = self.history.url(&mut self.rng)?;
        let request = self.http.post(format!("{url}{path}")).json(body);
        let mut request = request.bearer_auth(self.token).timeout(ANSWER);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status();
        Some((status, answer.json().await.ok()?))
    }

    fn record(&self, by: String, what: &'static str, deployment: String, outcome: Outcome) {
        let operation = Operation {
            by,
            what,
            deployment,
            outcome,
        };
        lock(&self.history.operations).push(operation);
    }
}

/// Ends whatever is open, and waits for it.
pub async fn end_all(replicas: &Replicas, history: &History) -> Result<()> {
    let deadline = Instant::now() + END;
    let list = "/api/v1/deployments?limit=200";
    // Those whose answers were lost are among them.
    let mut found = Vec::new();
    let mut page = replicas.get(0, list).await?;
    loop {
        found.extend(page["deployments"].as_array().context("no list")?.clone());
        let Some(next) = page["nextCursor"].as_str() else {
            break;
        };
        page = replicas.get(0, &format!("{list}&cursor={next}")).await?;
    }
    for deployment in found {
        let id = deployment["executionId"].as_str().context("no id")?;
        lock(&history.deployments).entry(id.to_owned()).or_default();
        let path = format!("/api/v1/deployments/{id}");
        loop {
            let state = replicas.get(0, &path).await?;
            if !state["endedAt"].is_null() {
                break;
            }
            ensure!(Instant::now() < deadline, "it does not end: {state}");
            let abort = format!("{path}/abort");
            let body = json!({ "requesterEmail": "end@example.org" });
            // Rejected once it was aborted before, or has ended.
            if replicas.post(0, &abort, body).await.is_err() {
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
    Ok(())
}
