//! A server with an engine, for tests.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotswap_api::{Algorithm, Config, JwtVerifier, Limits, Role, Secret, Server, Signer, Tokens};
use hotswap_core::{Clock, Digest, SystemClock, Timestamp};
use hotswap_fleet::Registry;
use hotswap_guests::{DIRECT, DNS, ROLLING};
use hotswap_plugins::Host;
use hotswap_runner::metric_providers::MetricProviders;
use hotswap_runner::{BackendInUse, DiscoveryBackendsConfig, Engine, EngineConfig, Environments};
use hotswap_store::{Blobs, Journal, Options, Sqlite};
use hotswap_tests::{LeaselessJournal, UndecidedJournal};
use hotswap_wasm::CompiledCache;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::{API_TOKEN, Client, NODE_TOKEN};
use crate::fleet::ObedientFleet;

/// The largest artifact that the store accepts, in bytes.
pub const LARGEST: u64 = 4 << 20;

// The secret, the issuer and the audience of signed tokens.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "hotswap";

/// What a source of the configuration would run.
fn dns_in_use() -> BackendInUse {
    BackendInUse {
        backend: "dns".to_owned(),
        digest: Digest::of(DNS),
    }
}

/// A server with an engine and a store in a temporary folder, and a client of it.
pub struct Fixture {
    pub client: Client,
    pub store: Arc<Sqlite>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    engine: Engine,
    fleet: Arc<ObedientFleet>,
    folder: tempfile::TempDir,
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

    /// Starts with a changed configuration.
    pub async fn configured(change: impl FnOnce(&mut Config)) -> Self {
        Self::with_strategies(vec![DIRECT, ROLLING], change).await
    }

    /// Starts with these strategies and a changed configuration.
    pub async fn with_strategies(
        built_in: Vec<&'static [u8]>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::of(Options::default(), built_in, |store| store, change).await
    }

    /// Starts with a disk that has no room for the reserve, and so counts as full.
    pub async fn full() -> Self {
        let options = Options {
            reserve_bytes: 1 << 60,
        };
        Self::of(options, vec![DIRECT], |store| store, |_| {}).await
    }

    /// Starts with a host of the test's own, and these strategies.
    pub async fn of_host(host: Host, built_in: Vec<&'static [u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::default();
        Self::open(
            folder,
            options,
            None,
            (host, built_in),
            |store| store,
            |_| {},
        )
        .await
    }

    /// Starts without strategies, which is faster: compiling them takes most of the time. Drives
    /// no deployment: the test writes the journals.
    pub async fn bare(change: impl FnOnce(&mut Config)) -> Self {
        let wrap = |store| -> Arc<dyn Journal> { LeaselessJournal::wrap(store) };
        Self::of(Options::default(), Vec::new(), wrap, change).await
    }

    /// As [`Self::bare`], with a journal of the test's own.
    pub async fn journaled<J: Journal>(wrap: impl FnOnce(Arc<dyn Journal>) -> Arc<J>) -> Self {
        let wrap = |store| -> Arc<dyn Journal> { wrap(store) };
        Self::of(Options::default(), Vec::new(), wrap, |_| {}).await
    }

    async fn of(
        options: Options,
        built_in: Vec<&'static [u8]>,
        wrap: impl FnOnce(Arc<dyn Journal>) -> Arc<dyn Journal>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = default_host();
        Self::open(folder, options, None, (host, built_in), wrap, change).await
    }

    /// Stops, changes the database, and starts over what is on the disk. The nodes go on.
    pub async fn restart_after(self, tamper: impl FnOnce(&rusqlite::Connection)) -> Self {
        let _ = self.stop.send(());
        self.server.await.unwrap();
        self.engine.shutdown().await;
        self.store.close().await;
        let database = rusqlite::Connection::open(self.folder.path().join("engine.db"));
        tamper(&database.unwrap());
        let built_in = vec![DIRECT, ROLLING];
        Self::open(
            self.folder,
            Options::default(),
            Some(&self.fleet),
            (default_host(), built_in),
            |store| store,
            |_| (),
        )
        .await
    }

    /// Starts over what is in the folder, with the nodes of an earlier fleet.
    async fn open(
        folder: tempfile::TempDir,
        options: Options,
        earlier: Option<&ObedientFleet>,
        (host, built_in): (Host, Vec<&'static [u8]>),
        wrap: impl FnOnce(Arc<dyn Journal>) -> Arc<dyn Journal>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let store = Sqlite::open_with(folder.path().join("engine.db"), options).await;
        let store = Arc::new(store.unwrap());
        let blobs = Blobs::open_folder(folder.path().join("blobs"), LARGEST)
            .await
            .unwrap();
        let clock = Arc::new(SystemClock);
        // The nodes of these tests send no heartbeats, and must stay healthy all the same.
        let interval = Duration::from_secs(3600);
        let registry = Registry::load(store.clone(), clock.clone(), interval)
            .await
            .unwrap();
        let policies = BTreeMap::from([(
            "configured".parse().unwrap(),
            hotswap_core::Policy::default_for(&"development".parse().unwrap()),
        )]);
        let fleet = ObedientFleet::new(registry.clone());
        let fleet = Arc::new(match earlier {
            Some(earlier) => fleet.with_nodes_of(earlier),
            None => fleet,
        });
        let is_driven = !built_in.is_empty();
        let engine = Engine::start(EngineConfig {
            journal: wrap(store.clone()),
            environment_journal: if is_driven {
                store.clone()
            } else {
                UndecidedJournal::wrap(store.clone())
            },
            catalogue: store.clone(),
            blobs,
            host,
            fleet: fleet.clone(),
            registry,
            environments: Environments::new(policies),
            clock,
            limits: hotswap_runner::Limits::default(),
            metric_providers: MetricProviders::default(),
            built_in,
            discovery_backends: DiscoveryBackendsConfig {
                built_in: vec!["consul".to_owned()],
                in_use: [("main".to_owned(), dns_in_use())].into(),
                ..DiscoveryBackendsConfig::default()
            },
        })
        .await
        .unwrap();
        let tokens = Tokens {
            api: Secret::strong(API_TOKEN).unwrap(),
            node: Secret::strong(NODE_TOKEN).unwrap(),
        };
        let mut config = Config::new(tokens);
        config.addr.set_port(0);
        let jwt = JwtVerifier::new(Algorithm::Hs256, SECRET, ISSUER, AUDIENCE);
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
            fleet,
            folder,
        }
    }

    /// Shuts down and waits until that is done.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.server.await.unwrap();
        self.engine.shutdown().await;
        self.store.close().await;
    }

    /// Ends without a shutdown, as if the process was killed.
    pub async fn kill(self) {
        self.server.abort();
        assert!(self.server.await.unwrap_err().is_cancelled());
        self.engine.shutdown().await;
        self.store.close().await;
    }

    /// Changes one row of the database behind the store's back.
    pub fn tamper(&self, sql: &str) {
        let database = rusqlite::Connection::open(self.folder.path().join("engine.db")).unwrap();
        database.busy_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(database.execute(sql, []).unwrap(), 1);
    }

    /// The version of a module that a node runs.
    pub fn active(&self, node: &str, module: &str) -> Option<String> {
        self.fleet.active(node, module)
    }

    /// A client with the node token.
    pub fn node(&self) -> Client {
        self.client.with_token(Some(NODE_TOKEN))
    }

    /// Where the artifacts and components are kept.
    pub fn blobs_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("blobs")
    }

    /// A client with a signed token of `subject` with this role.
    pub fn signed(&self, subject: &str, role: Role) -> Client {
        let now = SystemClock.now();
        let token = sign(subject, role, now + Duration::from_secs(900));
        self.client.with_token(Some(&token))
    }

    /// A client whose signed token expires at `expires`, rounded up to a whole second.
    pub fn signed_until(&self, subject: &str, role: Role, expires: Timestamp) -> Client {
        self.client.with_token(Some(&sign(subject, role, expires)))
    }

    /// A client whose signed token has just expired.
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

    /// Uploads version 1.0.0 of `hello` and registers two nodes of `qa`.
    pub async fn furnish(&self) {
        self.push("hello", "1.0.0", hotswap_guests::HELLO_V1).await;
        self.node_in("qa", "node-1").await;
        self.node_in("qa", "node-2").await;
    }

    pub async fn push(&self, name: &str, version: &str, component: &'static [u8]) {
        let path = format!("/api/v1/modules/{name}/versions/{version}");
        self.wasm(Method::PUT, &path, component).await.ok();
    }

    /// Creates a deployment of `hello` to `qa` with these additional fields. Returns its id.
    pub async fn deploy(&self, more: Value) -> String {
        let accepted = self
            .post("/api/v1/deployments", deployment(more))
            .await
            .ok();
        accepted["executionId"].as_str().unwrap().to_owned()
    }

    /// Waits until `done` returns true for the deployment, and returns it.
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

    /// Waits until the deployment has ended, and returns it.
    pub async fn ended(&self, id: &str) -> Value {
        self.until(id, |state| !state["endedAt"].is_null()).await
    }

    /// Waits until the deployment awaits approval, and returns it.
    pub async fn asking(&self, id: &str) -> Value {
        self.until(id, |state| state["status"] == "awaitingApproval")
            .await
    }
}

fn default_host() -> Host {
    // It outlives the tests: what they load need not be compiled each time.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let compiled = CompiledCache::open(&folder).unwrap();
    Host::with_compiled(hotswap_plugins::Limits::default(), compiled).unwrap()
}

fn sign(subject: &str, role: Role, expires: Timestamp) -> String {
    let signer = Signer::new(SECRET, ISSUER, AUDIENCE).unwrap();
    let issued = Timestamp::from_millis(0);
    signer.sign(subject, role, issued, expires).unwrap()
}

/// The body of a node's registration.
pub fn registration(environment: &str) -> Value {
    json!({
        "environment": environment,
        "zone": "a",
        "labels": {"rack": "7"},
        "controlUrl": "http://127.0.0.1:9",
        "dataUrl": "http://127.0.0.1:9",
    })
}

/// The body of a request for a deployment of `hello` to `qa`, with these additional fields.
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
