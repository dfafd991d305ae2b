//! Plays the engine's side of the protocol.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use hotswap_core::Digest;
use hotswap_protocol::Version;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::fixture::TOKEN;

/// How much of an artifact is sent at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Plays the engine's side of the protocol.
#[derive(Clone)]
pub struct FakeEngine {
    pub addr: SocketAddr,
    state: Arc<EngineState>,
}

struct EngineState {
    artifacts: Mutex<HashMap<String, Bytes>>,
    /// The header `Range` of each request for an artifact.
    fetches: Mutex<Vec<Option<String>>>,
    /// The line over which artifacts are sent.
    line: watch::Sender<Line>,
    /// Status and body of the answers to registrations and heartbeats.
    answers: Mutex<HashMap<Method, (StatusCode, Value)>>,
    subscriber: Mutex<Option<mpsc::UnboundedSender<NodeRequest>>>,
}

/// How artifacts are sent.
#[derive(Clone, Copy)]
struct Line {
    /// Bytes from the beginning of an artifact that pass. What follows waits.
    open: usize,
    /// Raised to break all connections.
    cuts: usize,
}

/// A registration or heartbeat of a node.
#[derive(Debug)]
pub struct NodeRequest {
    pub method: Method,
    pub path: String,
    pub body: Value,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

impl FakeEngine {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let engine = Self {
            addr: listener.local_addr().unwrap(),
            state: Arc::new(EngineState {
                artifacts: Mutex::default(),
                fetches: Mutex::default(),
                line: watch::Sender::new(Line {
                    open: usize::MAX,
                    cuts: 0,
                }),
                answers: Mutex::default(),
                subscriber: Mutex::default(),
            }),
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

    /// Deletes an artifact: a request for it is answered with 404.
    pub fn delete(&self, digest: &str) {
        self.state.artifacts.lock().unwrap().remove(digest);
    }

    /// Number of requests for artifacts.
    pub fn fetches(&self) -> usize {
        self.state.fetches.lock().unwrap().len()
    }

    /// The first byte that each request for an artifact has asked for.
    pub fn fetched_from(&self) -> Vec<usize> {
        let fetches = self.state.fetches.lock().unwrap();
        fetches
            .iter()
            .map(|range| first_byte(range.as_deref()))
            .collect()
    }

    /// Lets this many bytes from the beginning of an artifact pass. What follows waits.
    pub fn open_line(&self, bytes: usize) {
        self.state.line.send_modify(|line| line.open = bytes);
    }

    /// Breaks all connections over which artifacts are being sent.
    pub fn cut_line(&self) {
        self.state.line.send_modify(|line| line.cuts += 1);
    }

    /// Answers the next heartbeat with 404.
    pub fn forget_node(&self) {
        self.answer_next(Method::POST, StatusCode::NOT_FOUND, json!({ "once": true }));
    }

    /// Answers registrations (PUT) or heartbeats (POST) like this from now on.
    pub fn answer_next(&self, method: Method, status: StatusCode, body: Value) {
        let mut answers = self.state.answers.lock().unwrap();
        answers.insert(method, (status, body));
    }

    /// Tells nodes what to run, with the answers to their heartbeats.
    pub fn desire(&self, desired: Value) {
        let answer = json!({ "desired": desired });
        self.answer_next(Method::POST, StatusCode::OK, answer);
    }

    /// Receives the registrations and heartbeats from now on.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<NodeRequest> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.state.subscriber.lock().unwrap() = Some(sender);
        receiver
    }
}

async fn respond(state: &Arc<EngineState>, request: Request<Incoming>) -> Response<Body> {
    let authorization = request.headers().get("authorization").cloned();
    if authorization.is_none_or(|value| value != format!("Bearer {TOKEN}")) {
        return response(StatusCode::UNAUTHORIZED, Bytes::new());
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    if let Some(digest) = path.strip_prefix("/api/v1/artifacts/") {
        let range = parts.headers.get("range");
        let range = range.map(|range| range.to_str().unwrap().to_owned());
        return send_artifact(state, digest, range);
    }
    let body = body.collect().await.unwrap().to_bytes();
    let request = NodeRequest {
        method: parts.method,
        path,
        body: serde_json::from_slice(&body).unwrap(),
    };
    let method = request.method.clone();
    if let Some(sender) = &*state.subscriber.lock().unwrap() {
        let _ = sender.send(request);
    }
    let mut answers = state.answers.lock().unwrap();
    if let Some((status, body)) = answers.get(&method).cloned() {
        if body["once"] == true {
            answers.remove(&method);
        }
        return response(status, body.to_string().into());
    }
    if method == Method::POST {
        return response(StatusCode::NO_CONTENT, Bytes::new());
    }
    response(StatusCode::OK, r#"{"heartbeatMillis":100}"#.into())
}

fn send_artifact(state: &EngineState, digest: &str, range: Option<String>) -> Response<Body> {
    state.fetches.lock().unwrap().push(range.clone());
    let Some(artifact) = state.artifacts.lock().unwrap().get(digest).cloned() else {
        return response(StatusCode::NOT_FOUND, Bytes::new());
    };
    let (first, size) = (first_byte(range.as_deref()), artifact.len());
    if range.is_some() && first >= size {
        return response(StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new());
    }
    let line = state.line.subscribe();
    let cuts = line.borrow().cuts;
    let chunks = stream::unfold((line, first), move |(mut line, position)| {
        let artifact = artifact.clone();
        async move {
            if position >= size {
                return None;
            }
            let may_pass = |line: &Line| line.cuts > cuts || line.open > position;
            let now = *line.wait_for(may_pass).await.ok()?;
            if now.cuts > cuts {
                return Some((Err(io::ErrorKind::ConnectionReset.into()), (line, size)));
            }
            let end = size.min(now.open).min(position + CHUNK_BYTES);
            let chunk = artifact.slice(position..end);
            Some((Ok(Frame::data(chunk)), (line, end)))
        }
    });
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(chunks)));
    let length = (size - first).to_string();
    response
        .headers_mut()
        .insert("content-length", length.parse().unwrap());
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = format!("bytes {first}-{}/{size}", size - 1);
        response
            .headers_mut()
            .insert("content-range", range.parse().unwrap());
    }
    response
}

fn first_byte(range: Option<&str>) -> usize {
    let range = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    range.map_or(0, |first| first.parse().unwrap())
}

fn response(status: StatusCode, body: Bytes) -> Response<Body> {
    let body = BodyExt::map_err(Full::new(body), |never| match never {});
    let body = body.boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
