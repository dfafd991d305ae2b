//! A server with an engine behind it.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotswap_api::{Algorithm, Config, Jwt, Limits, Role, Secret, Server, Signer, Tokens};
use hotswap_core::{Clock, SystemClock, Timestamp};
use hotswap_fleet::Registry;
use hotswap_guests::{DIRECT, ROLLING};
use hotswap_plugins::Host;
use hotswap_runner::{Engine, EngineConfig, Environments};
use hotswap_store::{Blobs, Sqlite};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{API_TOKEN, Client, NODE_TOKEN};
use crate::fleet::Obedient;

/// The largest artifact that the store takes.
pub const LARGEST: u64 = 4 << 20;

/// What tokens are signed with, by whom and for whom.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "hotswap";

/// A server, an engine, a store in a folder of its own, and a client.
pub struct Fixture {
    pub client: Client,
    pub store: Arc<Sqlite>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    engine: Engine,
    _folder: tempfile::TempDir,
}

impl Deref for Fixture {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Fixture {
    pub async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        Self::configured(|config| config.limits = limits).await
    }

    /// Its configuration changed so.
    pub async fn configured(change: impl FnOnce(&mut Config)) -> Self {
        Self::of(vec![DIRECT, ROLLING], change).await
    }

    /// Without strategies: compiling them is most of what a start takes.
    pub async fn bare(change: impl FnOnce(&mut Config)) -> Self {
        Self::of(Vec::new(), change).await
    }

    async fn of(built_in: Vec<&'static [u8]>, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Sqlite::open(folder.path().join("engine.db")).await.unwrap());
        let blobs = Blobs::open_folder(folder.path().join("blobs"), LARGEST)
            .await
            .unwrap();
        let clock = Arc::new(SystemClock);
        // Nodes of these tests register once: they are to pass for as long as a test runs.
        let interval = Duration::from_secs(3600);
        let registry = Registry::load(store.clone(), clock.clone(), interval)
            .await
            .unwrap();
        let policies = BTreeMap::from([(
            "configured".parse().unwrap(),
            hotswap_core::Policy::default_for(&"development".parse().unwrap()),
        )]);
        let engine = Engine::start(EngineConfig {
            journal: store.clone(),
            catalogue: store.clone(),
            blobs,
            host: Host::new(hotswap_plugins::Limits::default()).unwrap(),
            fleet: Arc::new(Obedient::new(registry.clone())),
            registry,
            environments: Environments::new(policies),
            clock,
            limits: hotswap_runner::Limits::default(),
            built_in,
        })
        .await
        .unwrap();
        let tokens = Tokens {
            api: Secret::new(API_TOKEN).unwrap(),
            node: Secret::new(NODE_TOKEN).unwrap(),
        };
        let mut config = Config::new(tokens);
        config.addr.set_port(0);
        let jwt = Jwt::new(Algorithm::Hs256, SECRET, ISSUER, AUDIENCE);
        config.jwt = Some(jwt.unwrap());
        change(&mut config);
        let server = Server::bind(config, engine.clone()).await.unwrap();
        let client = Client::new(format!("http://{}", server.local_addr()));
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self {
            client,
            store,
            stop,
            server,
            engine,
            _folder: folder,
        }
    }

    /// Shuts down, and waits for it.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.server.await.unwrap();
        self.engine.shutdown().await;
        self.store.close().await;
    }

    /// Ends without a word, as if the process had.
    pub async fn kill(self) {
        self.server.abort();
        assert!(self.server.await.unwrap_err().is_cancelled());
        self.engine.shutdown().await;
        self.store.close().await;
    }

    /// A client that shows the node token.
    pub fn node(&self) -> Client {
        self.client.with_token(Some(NODE_TOKEN))
    }

    /// A client that shows a signed token of `subject` in this role.
    pub fn signed(&self, subject: &str, role: Role) -> Client {
        let now = SystemClock.now();
        let token = sign(subject, role, now + Duration::from_secs(900));
        self.client.with_token(Some(&token))
    }

    /// A client whose signed token expires with the second that `expires` is in.
    pub fn signed_until(&self, subject: &str, role: Role, expires: Timestamp) -> Client {
        self.client.with_token(Some(&sign(subject, role, expires)))
    }

    /// A client whose signed token has expired, a moment ago.
    pub fn expired(&self, role: Role) -> Client {
        let now = SystemClock.now().millis();
        let token = sign("ada", role, Timestamp::from_millis(now - 1000));
        self.client.with_token(Some(&token))
    }

    /// Registers a node.
    pub async fn node_in(&self, environment: &str, id: &str) {
        let path = format!("/api/v1/nodes/{id}");
        self.node().put(&path, registration(environment)).await.ok();
    }

    /// Uploads version 1.0.0 of `hello`, and registers two nodes of `qa`.
    pub async fn furnish(&self) {
        self.push("hello", "1.0.0", hotswap_guests::HELLO_V1).await;
        self.node_in("qa", "node-1").await;
        self.node_in("qa", "node-2").await;
    }

    pub async fn push(&self, name: &str, version: &str, component: &'static [u8]) {
        let path = format!("/api/v1/modules/{name}/versions/{version}");
        self.wasm(Method::PUT, &path, component).await.ok();
    }

    /// Begins a deployment of `hello` to `qa`, with these fields besides, and returns its id.
    pub async fn deploy(&self, more: Value) -> String {
        let accepted = self
            .post("/api/v1/deployments", deployment(more))
            .await
            .ok();
        accepted["executionId"].as_str().unwrap().to_owned()
    }

    /// The deployment once `done` says so of it.
    pub async fn until(&self, id: &str, done: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut after = String::new();
        loop {
            let state = self.get(&format!("/api/v1/deployments/{id}")).await.ok();
            if done(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "{state}");
            let path = format!("/api/v1/deployments/{id}/events?wait=5{after}");
            let events = self.get(&path).await.ok();
            after = format!("&after={}", events["after"]);
        }
    }

    /// The deployment once it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        self.until(id, |state| !state["endedAt"].is_null()).await
    }

    /// The deployment once a person has to decide.
    pub async fn asking(&self, id: &str) -> Value {
        self.until(id, |state| state["status"] == "awaitingApproval")
            .await
    }
}

fn sign(subject: &str, role: Role, expires: Timestamp) -> String {
    let signer = Signer::new(SECRET, ISSUER, AUDIENCE).unwrap();
    let issued = Timestamp::from_millis(0);
    signer.sign(subject, role, issued, expires).unwrap()
}

pub fn registration(environment: &str) -> Value {
    json!({
        "environment": environment,
        "zone": "a",
        "labels": {"rack": "7"},
        "controlUrl": "http://127.0.0.1:9",
        "dataUrl": "http://127.0.0.1:9",
    })
}

/// The body of a request for a deployment of `hello` to `qa`.
pub fn deployment(more: Value) -> Value {
    let mut body = json!({
        "moduleName": "hello",
        "targetEnvironment": "qa",
        "requesterEmail": "ada@example.org",
        "strategy": "direct",
    });
    let fields = body.as_object_mut().unwrap();
    for (name, value) in more.as_object().unwrap() {
        fields.insert(name.clone(), value.clone());
    }
    body
}
