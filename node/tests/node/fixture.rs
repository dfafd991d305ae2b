//! A fake engine with artifacts, and nodes with an HTTP client for tests.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use hotswap_core::Digest;
use hotswap_node::{Config, Limits, Node, Runtime, Secret};
use hotswap_protocol::{
    Action, ModuleStatus, OrderRequest, Promote, Revert, Settle, Shift, Stage, Version,
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

pub const TOKEN: &str = "the-node-token";
pub const MODULE: &str = "hello";

/// One runtime for all tests, because each pool reserves terabytes of addresses.
pub fn runtime() -> Runtime {
    static RUNTIME: OnceLock<(Runtime, TempDir)> = OnceLock::new();
    let (runtime, _) = RUNTIME.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        (Runtime::new(folder.path()).unwrap(), folder)
    });
    runtime.clone()
}

/// Plays the engine's side of the protocol.
#[derive(Clone)]
pub struct FakeEngine {
    pub addr: SocketAddr,
    state: Arc<EngineState>,
}

#[derive(Default)]
struct EngineState {
    artifacts: Mutex<HashMap<String, Bytes>>,
    fetches: Mutex<usize>,
    /// Whether to answer the next heartbeat with 404.
    forget_node: Mutex<bool>,
    subscriber: Mutex<Option<mpsc::UnboundedSender<NodeRequest>>>,
}

/// A registration or heartbeat of a node.
#[derive(Debug)]
pub struct NodeRequest {
    pub method: Method,
    pub path: String,
    pub body: Value,
}

impl FakeEngine {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let engine = Self {
            addr: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        let state = engine.state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(|request| {
                        let state = state.clone();
                        async move { Ok::<_, Infallible>(respond(&state, request).await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        engine
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Stores an artifact, and returns its version and digest.
    pub fn push(&self, version: &str, component: &[u8]) -> Version {
        let digest = Digest::of(component).to_string();
        self.put(&digest, component);
        Version {
            version: version.to_owned(),
            digest,
        }
    }

    /// Stores the bytes that the engine sends for a digest, even if they do not match it.
    pub fn put(&self, digest: &str, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        let mut artifacts = self.state.artifacts.lock().unwrap();
        artifacts.insert(digest.to_owned(), bytes);
    }

    /// Number of requests for artifacts.
    pub fn fetches(&self) -> usize {
        *self.state.fetches.lock().unwrap()
    }

    /// Answers the next heartbeat with 404.
    pub fn forget_node(&self) {
        *self.state.forget_node.lock().unwrap() = true;
    }

    /// Receives the registrations and heartbeats from now on.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<NodeRequest> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.state.subscriber.lock().unwrap() = Some(sender);
        receiver
    }
}

async fn respond(state: &EngineState, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let authorization = request.headers().get("authorization").cloned();
    if authorization.is_none_or(|value| value != format!("Bearer {TOKEN}")) {
        return empty_response(StatusCode::UNAUTHORIZED);
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if let Some(digest) = path.strip_prefix("/api/v1/artifacts/") {
        *state.fetches.lock().unwrap() += 1;
        let artifact = state.artifacts.lock().unwrap().get(digest).cloned();
        return match artifact {
            Some(artifact) => Response::new(Full::new(artifact)),
            None => empty_response(StatusCode::NOT_FOUND),
        };
    }
    let body = body.collect().await.unwrap().to_bytes();
    let request = NodeRequest {
        method: parts.method,
        path,
        body: serde_json::from_slice(&body).unwrap(),
    };
    let is_heartbeat = request.method == Method::POST;
    if let Some(sender) = &*state.subscriber.lock().unwrap() {
        let _ = sender.send(request);
    }
    if is_heartbeat {
        let forget = std::mem::take(&mut *state.forget_node.lock().unwrap());
        return empty_response(if forget {
            StatusCode::NOT_FOUND
        } else {
            StatusCode::NO_CONTENT
        });
    }
    Response::new(Full::from(r#"{"heartbeatMillis":100}"#))
}

fn empty_response(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// A configuration for tests, with free ports.
pub fn config(folder: &Path, engine: &FakeEngine) -> Config {
    Config {
        id: "node-1".parse().unwrap(),
        environment: "testing".parse().unwrap(),
        zone: Some("here".to_owned()),
        labels: [("rack".to_owned(), "7".to_owned())].into(),
        data_addr: "127.0.0.1:0".parse().unwrap(),
        control_addr: "127.0.0.1:0".parse().unwrap(),
        advertise: None,
        engine_url: Some(engine.url()),
        token: Secret::new(TOKEN),
        data_dir: folder.to_owned(),
        limits: Limits::default(),
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
        let order = OrderRequest {
            fence,
            deployment: "d-1".to_owned(),
            action: action.clone(),
        };
        let url = self.control_url(&format!("/v1/modules/{MODULE}/operations/{operation}"));
        let request = self.client.put(url).bearer_auth(TOKEN).json(&order);
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

    /// The counters of the only version that was loaded.
    pub async fn counters(&self) -> hotswap_protocol::VersionStatus {
        let status = self.status().await;
        assert_eq!(status.versions.len(), 1);
        status.versions[0].clone()
    }
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
