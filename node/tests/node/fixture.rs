//! Nodes with an HTTP client for tests.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use hotswap_node::{Config, Limits, Node, Runtime, Secret};
use hotswap_protocol::{
    Action, ModuleStatus, OrderRequest, Promote, Restart, Revert, Settle, Shift, Stage, Version,
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use crate::fake_engine::FakeEngine;

pub const TOKEN: &str = "the-node-token";
pub const MODULE: &str = "hello";

/// One runtime for all tests, because each pool reserves terabytes of addresses.
pub fn runtime() -> Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    // It outlives the tests: what they load need not be compiled each time.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let runtime = RUNTIME.get_or_init(|| Runtime::new(&folder).unwrap());
    runtime.clone()
}

/// A configuration for tests, with free ports.
pub fn config(folder: &Path, engine: &FakeEngine) -> Config {
    Config {
        id: "node-1".parse().unwrap(),
        environment: Some("testing".parse().unwrap()),
        zone: Some("here".to_owned()),
        labels: [("rack".to_owned(), "7".to_owned())].into(),
        data_addr: "127.0.0.1:0".parse().unwrap(),
        control_addr: "127.0.0.1:0".parse().unwrap(),
        advertise: None,
        engine_url: Some(engine.url()),
        is_discovered: false,
        token: Secret::new(TOKEN),
        data_dir: folder.to_owned(),
        tls: None,
        engine_tls: Default::default(),
        drain: None,
        limits: Limits::default(),
        log: Default::default(),
    }
}

/// A running node, its engine and an HTTP client.
pub struct TestNode {
    inner: Node,
    pub engine: FakeEngine,
    pub folder: TempDir,
    pub client: reqwest::Client,
}

impl TestNode {
    pub async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    /// Starts a node with its own data directory on another runtime and engine.
    pub async fn start_on(runtime: Runtime, engine: FakeEngine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), &engine);
        Self {
            inner: Node::start_with(runtime, config).await.unwrap(),
            engine,
            folder,
            client: client(),
        }
    }

    pub async fn start_with(limits: Limits) -> Self {
        let engine = FakeEngine::start().await;
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &engine);
        config.limits = limits;
        Self {
            inner: Node::start_with(runtime(), config).await.unwrap(),
            engine,
            folder,
            client: client(),
        }
    }

    /// Makes a component the active version of [`MODULE`].
    pub async fn activate(&self, version: &str, component: &[u8]) -> Version {
        let version = self.engine.push(version, component);
        self.apply(&stage(&version)).await;
        self.apply(&promote(&version)).await;
        version
    }

    /// Starts a node with a changed configuration.
    pub async fn configured(change: impl FnOnce(&mut Config)) -> Self {
        let engine = FakeEngine::start().await;
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &engine);
        change(&mut config);
        Self {
            inner: Node::start_with(runtime(), config).await.unwrap(),
            engine,
            folder,
            client: client(),
        }
    }

    /// Stops the node and starts it again with the same data directory.
    pub async fn restart(self) -> Self {
        self.restart_with(runtime()).await
    }

    pub async fn restart_with(self, runtime: Runtime) -> Self {
        let config = config(self.folder.path(), &self.engine);
        self.inner.shutdown().await;
        Self {
            inner: Node::start_with(runtime, config).await.unwrap(),
            ..self
        }
    }

    pub async fn shutdown(self) {
        self.inner.shutdown().await;
    }

    pub fn begin_lame_duck(&self) {
        self.inner.begin_lame_duck();
    }

    pub fn data_addr(&self) -> SocketAddr {
        self.inner.data_addr()
    }

    pub fn control_addr(&self) -> SocketAddr {
        self.inner.control_addr()
    }

    /// URL of a path on the control port.
    pub fn control_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.control_addr())
    }

    /// URL of a path of [`MODULE`] on the data port.
    pub fn data_url(&self, path: &str) -> String {
        format!("http://{}/{MODULE}{path}", self.data_addr())
    }

    /// Status and body of a GET request to [`MODULE`].
    pub async fn get(&self, path: &str) -> (u16, String) {
        let response = self.client.get(self.data_url(path)).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.text().await.unwrap())
    }

    /// Sends an order as a new operation. Panics unless the node carries it out.
    pub async fn apply(&self, action: &Action) {
        let (status, body) = self.send_order(&new_operation_id(), 1, action).await;
        assert_eq!(status, 204, "{action:?}: {body}");
    }

    /// Sends an order as a new operation. Panics unless the node answers with this problem.
    /// Returns the problem's detail.
    pub async fn apply_rejected(&self, status: u16, problem: &str, action: &Action) -> String {
        let (actual_status, body) = self.send_order(&new_operation_id(), 1, action).await;
        assert_eq!(actual_status, status, "{body}");
        assert_eq!(body["type"], format!("urn:hotswap:problem:{problem}"));
        assert_eq!(body["status"], status);
        body["detail"].as_str().unwrap().to_owned()
    }

    /// Sends an order. Returns the status and body of the response.
    pub async fn send_order(&self, operation: &str, fence: u64, action: &Action) -> (u16, Value) {
        self.send(operation, order(fence, action), &[]).await
    }

    /// Sends an order that the node may answer before it is done. Returns the status and body of
    /// the response.
    pub async fn poll_order(&self, operation: &str, action: &Action) -> (u16, Value) {
        let mut order = order(1, action);
        order.wait_millis = Some(1);
        self.send(operation, order, &[]).await
    }

    /// Sends an order with these headers. Returns the status and body of the response.
    pub async fn send(
        &self,
        operation: &str,
        order: OrderRequest,
        headers: &[(&str, &str)],
    ) -> (u16, Value) {
        let url = self.control_url(&format!("/v1/modules/{MODULE}/operations/{operation}"));
        let mut request = self.client.put(url).bearer_auth(TOKEN).json(&order);
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// The status of [`MODULE`].
    pub async fn status(&self) -> ModuleStatus {
        let url = self.control_url(&format!("/v1/modules/{MODULE}"));
        let response = self.client.get(url).bearer_auth(TOKEN).send().await;
        response.unwrap().json().await.unwrap()
    }

    /// Status and body of the readiness check on the control port.
    pub async fn readiness(&self) -> (u16, String) {
        let response = self.client.get(self.control_url("/health/ready"));
        let response = response.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The counters of the only version that was loaded.
    pub async fn counters(&self) -> hotswap_protocol::VersionStatus {
        let status = self.status().await;
        assert_eq!(status.versions.len(), 1);
        status.versions[0].clone()
    }
}

/// An order of a deployment.
pub fn order(fence: u64, action: &Action) -> OrderRequest {
    OrderRequest {
        fence,
        deployment: "d-1".to_owned(),
        action: action.clone(),
        wait_millis: None,
        stall_millis: None,
    }
}

/// A version as the engine writes it.
pub fn wire_version(version: &Version) -> Value {
    json!({ "version": version.version, "digest": version.digest })
}

/// A component that the shared runtime has neither in memory nor on disk: a custom section
/// with this name and length makes it different.
pub fn unique_component(component: &[u8], name: &str, length: usize) -> Vec<u8> {
    let mut component = component.to_vec();
    let mut section = vec![u8::try_from(name.len()).unwrap()];
    section.extend_from_slice(name.as_bytes());
    section.resize(section.len() + length, 7);
    component.push(0);
    let mut size = section.len();
    while size >= 128 {
        component.push((size & 127) as u8 | 128);
        size >>= 7;
    }
    component.push(size as u8);
    component.extend_from_slice(&section);
    component
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// An operation id that is unique in this process.
pub fn new_operation_id() -> String {
    static NEXT: Mutex<u64> = Mutex::new(0);
    let mut next = NEXT.lock().unwrap();
    *next += 1;
    format!("operation-{next}")
}

pub fn stage(version: &Version) -> Action {
    let version = version.clone();
    Action::Stage(Stage { version })
}

pub fn shift(version: &Version, percent: u8) -> Action {
    let version = version.clone();
    Action::Shift(Shift { version, percent })
}

pub fn promote(version: &Version) -> Action {
    let version = version.clone();
    Action::Promote(Promote { version })
}

pub fn revert(to: Option<&Version>) -> Action {
    let to = to.cloned();
    Action::Revert(Revert { to })
}

pub fn restart(version: &Version) -> Action {
    let version = version.clone();
    Action::Restart(Restart { version })
}

pub fn settle() -> Action {
    Action::Settle(Settle {})
}

/// Waits until a condition holds. Panics after 20 seconds.
pub async fn wait_until<F: Future<Output = bool>>(condition: &str, mut holds: impl FnMut() -> F) {
    let attempts = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let result = tokio::time::timeout(Duration::from_secs(20), attempts).await;
    assert!(result.is_ok(), "not in time: {condition}");
}
