//! An engine that has artifacts and listens to nodes, and nodes with a client for them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use hotswap_core::Digest;
use hotswap_node::{Config, Limits, Node, Runtime, Token};
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

/// One WebAssembly engine for all tests: each pool reserves terabytes of addresses.
pub fn runtime() -> Runtime {
    static RUNTIME: OnceLock<(Runtime, TempDir)> = OnceLock::new();
    let (runtime, _) = RUNTIME.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        (Runtime::new(folder.path()).unwrap(), folder)
    });
    runtime.clone()
}

/// The engine's side of the protocol.
#[derive(Clone)]
pub struct Engine {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    artifacts: Mutex<HashMap<String, Bytes>>,
    fetches: Mutex<usize>,
    /// Answers 404 to the next heartbeat.
    forget: Mutex<bool>,
    heard: Mutex<Option<mpsc::UnboundedSender<Heard>>>,
}

/// What a node told the engine.
#[derive(Debug)]
pub struct Heard {
    pub method: Method,
    pub path: String,
    pub body: Value,
}

impl Engine {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let engine = Self {
            addr: listener.local_addr().unwrap(),
            shared: Arc::default(),
        };
        let shared = engine.shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(|request| {
                        let shared = shared.clone();
                        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
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

    /// Has an artifact, and says which version it is.
    pub fn push(&self, version: &str, component: &[u8]) -> Version {
        let digest = Digest::of(component).to_string();
        self.put(&digest, component);
        Version {
            version: version.to_owned(),
            digest,
        }
    }

    /// Gives these bytes for that digest, right or wrong.
    pub fn put(&self, digest: &str, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        let mut artifacts = self.shared.artifacts.lock().unwrap();
        artifacts.insert(digest.to_owned(), bytes);
    }

    pub fn fetches(&self) -> usize {
        *self.shared.fetches.lock().unwrap()
    }

    pub fn forget(&self) {
        *self.shared.forget.lock().unwrap() = true;
    }

    /// What nodes tell from now on.
    pub fn listen(&self) -> mpsc::UnboundedReceiver<Heard> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.shared.heard.lock().unwrap() = Some(sender);
        receiver
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let shown = request.headers().get("authorization").cloned();
    if shown.is_none_or(|shown| shown != format!("Bearer {TOKEN}")) {
        return status(StatusCode::UNAUTHORIZED);
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if let Some(digest) = path.strip_prefix("/api/v1/artifacts/") {
        *shared.fetches.lock().unwrap() += 1;
        let artifact = shared.artifacts.lock().unwrap().get(digest).cloned();
        return match artifact {
            Some(artifact) => Response::new(Full::new(artifact)),
            None => status(StatusCode::NOT_FOUND),
        };
    }
    let body = body.collect().await.unwrap().to_bytes();
    let heard = Heard {
        method: parts.method,
        path,
        body: serde_json::from_slice(&body).unwrap(),
    };
    let is_heartbeat = heard.method == Method::POST;
    if let Some(sender) = &*shared.heard.lock().unwrap() {
        let _ = sender.send(heard);
    }
    if is_heartbeat {
        let forget = std::mem::take(&mut *shared.forget.lock().unwrap());
        return status(if forget {
            StatusCode::NOT_FOUND
        } else {
            StatusCode::NO_CONTENT
        });
    }
    Response::new(Full::from(r#"{"heartbeatMillis":100}"#))
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

/// A configuration for tests; ports are free ones.
pub fn config(folder: &Path, engine: &Engine) -> Config {
    Config {
        id: "node-1".parse().unwrap(),
        environment: "testing".parse().unwrap(),
        zone: Some("here".to_owned()),
        labels: [("rack".to_owned(), "7".to_owned())].into(),
        data_addr: "127.0.0.1:0".parse().unwrap(),
        control_addr: "127.0.0.1:0".parse().unwrap(),
        advertise: None,
        engine_url: Some(engine.url()),
        token: Token::new(TOKEN),
        data_dir: folder.to_owned(),
        limits: Limits::default(),
    }
}

/// A node and its engine, with clients.
pub struct Bed {
    pub node: Node,
    pub engine: Engine,
    pub folder: TempDir,
    pub client: reqwest::Client,
}

impl Bed {
    pub async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        let engine = Engine::start().await;
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &engine);
        config.limits = limits;
        Self {
            node: Node::start_with(runtime(), config).await.unwrap(),
            engine,
            folder,
            client: client(),
        }
    }

    /// Runs a component as the active version of [`MODULE`].
    pub async fn run(&self, version: &str, component: &[u8]) -> Version {
        let version = self.engine.push(version, component);
        self.done(&stage(&version)).await;
        self.done(&promote(&version)).await;
        version
    }

    /// Stops the node and starts it again.
    pub async fn restart(self) -> Self {
        self.restart_with(runtime()).await
    }

    pub async fn restart_with(self, runtime: Runtime) -> Self {
        let config = config(self.folder.path(), &self.engine);
        self.node.shutdown().await;
        Self {
            node: Node::start_with(runtime, config).await.unwrap(),
            ..self
        }
    }

    pub fn control(&self, path: &str) -> String {
        format!("http://{}{path}", self.node.control_addr())
    }

    pub fn data(&self, path: &str) -> String {
        format!("http://{}/{MODULE}{path}", self.node.data_addr())
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(self.data(path)).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.text().await.unwrap())
    }

    /// Gives an order that must be carried out, as an operation of its own.
    pub async fn done(&self, action: &Action) {
        let (status, body) = self.order(&operation(), 1, action).await;
        assert_eq!(status, 204, "{action:?}: {body}");
    }

    /// The same for one that must not; its problem.
    pub async fn refused(&self, status: u16, kind: &str, action: &Action) -> String {
        let (answered, body) = self.order(&operation(), 1, action).await;
        assert_eq!(answered, status, "{body}");
        assert_eq!(body["type"], format!("urn:hotswap:problem:{kind}"));
        assert_eq!(body["status"], status);
        body["detail"].as_str().unwrap().to_owned()
    }

    pub async fn order(&self, operation: &str, fence: u64, action: &Action) -> (u16, Value) {
        let order = OrderRequest {
            fence,
            deployment: "d-1".to_owned(),
            action: action.clone(),
        };
        let url = self.control(&format!("/v1/modules/{MODULE}/operations/{operation}"));
        let request = self.client.put(url).bearer_auth(TOKEN).json(&order);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub async fn status(&self) -> ModuleStatus {
        let url = self.control(&format!("/v1/modules/{MODULE}"));
        let answer = self.client.get(url).bearer_auth(TOKEN).send().await;
        answer.unwrap().json().await.unwrap()
    }

    /// The counters of the version that has been loaded alone.
    pub async fn counters(&self) -> hotswap_protocol::VersionStatus {
        let status = self.status().await;
        assert_eq!(status.versions.len(), 1);
        status.versions[0].clone()
    }
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// An id that no other operation of this process has.
pub fn operation() -> String {
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

/// Waits until a condition holds, for some seconds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let attempts = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let held = tokio::time::timeout(Duration::from_secs(20), attempts).await;
    assert!(held.is_ok(), "still not so: {what}");
}
