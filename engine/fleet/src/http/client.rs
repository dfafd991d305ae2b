//! The HTTP client for the nodes, with retries.

use std::time::Duration;

use hotswap_common::tls::ClientTls;
use hotswap_common::trace::{self, TRACEPARENT};
use hotswap_common::{Backoff, CurrentSecret, Secret};
use hotswap_core::{Environment, NodeError, NodeId};
use hotswap_protocol::{BOOT_HEADER, NODE_HEADER};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode, Url, redirect};
use serde::Serialize;
use tokio::time::Instant;

use super::addressee::Addressee;
use super::response::{Response, is_local_fault, unreachable};
use crate::fleet::moved_error;
use crate::{Options, Registry};

/// Maximum size of a response: a status with some forty thousand histogram buckets.
const MAX_BODY_BYTES: usize = 2 << 20;

/// Idle connections kept for each node. Orders, readings and probes of a node run
/// concurrently, rarely more.
const MAX_IDLE_CONNECTIONS: usize = 4;

/// Delays between attempts to reach a node.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(25);
const MAX_RETRY_DELAY: Duration = Duration::from_millis(500);

/// How long to retry while this machine has no file or port left for a connection. Short: who
/// asked retries for longer, and shows people why.
const LOCAL_FAULT_PATIENCE: Duration = Duration::from_secs(1);

/// Why the client for the nodes could not be set up: the step that failed, and its cause.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct SetupError {
    /// The step that failed.
    pub step: SetupStep,
    /// Its cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A step of setting up the client for the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetupStep {
    /// Putting the node token into an HTTP header.
    #[error("the node token cannot be sent in a header; use visible ASCII characters")]
    Token,
    /// Setting TLS up.
    #[error("TLS to the nodes could not be set up")]
    Tls,
    /// Creating the HTTP client.
    #[error("the HTTP client for the nodes could not be created")]
    Client,
}

/// A request to a node's control API.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// Segments of the path.
    pub(super) path: &'a [&'a str],
    /// The environment on whose behalf it is sent: it is kept from a node that belongs to another
    /// one. `None` for what may be asked of any node.
    pub(super) environment: Option<&'a Environment>,
    pub(super) body: Option<Vec<u8>>,
    /// For one attempt, up to the end of the response.
    pub(super) timeout: Duration,
    /// How long to retry while the node is unreachable, or cannot do it now.
    pub(super) retry_for: Duration,
}

/// Sends requests to the nodes of a registry. One client for all nodes, so that they share
/// its resources.
pub(super) struct NodeClient {
    registry: Registry,
    http: reqwest::Client,
    token: CurrentSecret,
}

impl NodeClient {
    pub(super) fn new(
        registry: Registry,
        token: CurrentSecret,
        options: &Options,
        tls: &ClientTls,
    ) -> Result<Self, SetupError> {
        check_token(&token.get())?;
        Ok(Self {
            registry,
            http: http_client(options, tls, MAX_IDLE_CONNECTIONS)?,
            token,
        })
    }

    /// Sends a request. An answer of the node, whatever it says, shows the registry that the
    /// node is alive. While the node is unreachable or shutting down, retries for
    /// `request.retry_for`; while this machine can open no connection, for
    /// [`LOCAL_FAULT_PATIENCE`] at most. Looks its address up for each attempt: a node may come back at
    /// another one.
    pub(super) async fn send(
        &self,
        node: &NodeId,
        request: Request<'_>,
    ) -> Result<Response, NodeError> {
        let start = Instant::now();
        let mut backoff = Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY);
        loop {
            let (result, retry_for) = match self.send_once(node, &request).await {
                Ok(response) if response.status != StatusCode::SERVICE_UNAVAILABLE => {
                    return Ok(response);
                }
                Ok(response) => (Ok(response), request.retry_for),
                Err(SendError::Node(error @ NodeError::Unreachable(_))) => {
                    (Err(error), request.retry_for)
                }
                Err(SendError::Local(reason)) => {
                    let retry_for = request.retry_for.min(LOCAL_FAULT_PATIENCE);
                    (Err(NodeError::Local(reason)), retry_for)
                }
                Err(error @ (SendError::Node(_) | SendError::Moved(_))) => return Err(error.into()),
            };
            let delay = backoff.next_delay();
            if start.elapsed() + delay >= retry_for {
                return result;
            }
            let error = result.err();
            tracing::debug!(%node, ?error, ?delay, "node does not carry out a request, retrying");
            tokio::time::sleep(delay).await;
        }
    }

    /// Sends a request once.
    pub(super) async fn send_once(
        &self,
        node: &NodeId,
        request: &Request<'_>,
    ) -> Result<Response, SendError> {
        let address = self.registry.control_address(node).ok_or_else(|| {
            NodeError::Unreachable("no node of this name is registered".to_owned())
        })?;
        // For each attempt: the node may have moved since the last one.
        if request
            .environment
            .is_some_and(|of| *of != address.environment)
        {
            return Err(SendError::Moved(address.environment));
        }
        let addressee = Addressee {
            node,
            boot: address.boot.as_deref(),
        };
        let host = address.url.host_str().unwrap_or_default().to_owned();
        let mut builder = self
            .http
            .request(request.method.clone(), join(address.url, request.path))
            .header(NODE_HEADER, node.as_str())
            .bearer_auth(self.token.get().expose())
            .timeout(request.timeout);
        if let Some(context) = trace::current() {
            builder = builder.header(TRACEPARENT, context.to_string());
        }
        if let Some(boot) = addressee.boot {
            builder = builder.header(BOOT_HEADER, boot);
        }
        if let Some(body) = &request.body {
            builder = builder
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        let to_node_error = |error| SendError::new(error, &host, request.timeout);
        let mut response = builder.send().await.map_err(to_node_error)?;
        let status = response.status();
        addressee.check(status, response.headers())?;
        self.registry.answered(node);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(to_node_error)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(SendError::Node(NodeError::Other(format!(
                    "its answer is larger than {MAX_BODY_BYTES} bytes; is another program \
                     listening at its address?"
                ))));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, body })
    }
}

/// Checks that a header can carry the token.
fn check_token(token: &Secret) -> Result<(), SetupError> {
    let header = HeaderValue::try_from(format!("Bearer {}", token.expose()));
    header.map(drop).map_err(|source| SetupError {
        step: SetupStep::Token,
        source: source.into(),
    })
}

/// An HTTP client that keeps at most so many idle connections to each node. It follows no redirect
/// and uses no proxy: a request is for the node alone, and its token with it.
pub(super) fn http_client(
    options: &Options,
    tls: &ClientTls,
    max_idle_connections: usize,
) -> Result<reqwest::Client, SetupError> {
    let tls = tls.config().map_err(|source| SetupError {
        step: SetupStep::Tls,
        source: source.into(),
    })?;
    reqwest::Client::builder()
        .user_agent(concat!("hotswap/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect_timeout)
        .pool_max_idle_per_host(max_idle_connections)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .tls_backend_preconfigured(tls)
        .build()
        .map_err(|source| SetupError {
            step: SetupStep::Client,
            source: source.into(),
        })
}

/// Why one attempt failed.
pub(super) enum SendError {
    /// The node, or the way to it.
    Node(NodeError),
    /// This machine, for this reason.
    Local(String),
    /// The node belongs to this environment, and not to that of the request.
    Moved(Environment),
}

impl SendError {
    fn new(error: reqwest::Error, host: &str, timeout: Duration) -> Self {
        let is_local = is_local_fault(&error);
        match unreachable(error, host, timeout) {
            NodeError::Unreachable(reason) if is_local => Self::Local(reason),
            error => Self::Node(error),
        }
    }
}

impl From<SendError> for NodeError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Node(error) => error,
            SendError::Local(reason) => Self::Local(reason),
            SendError::Moved(environment) => moved_error(&environment),
        }
    }
}

impl From<NodeError> for SendError {
    fn from(error: NodeError) -> Self {
        Self::Node(error)
    }
}

/// Encodes the body of a request.
pub(super) fn to_json(body: &impl Serialize) -> Result<Vec<u8>, NodeError> {
    serde_json::to_vec(body)
        .map_err(|error| NodeError::Other(format!("the request could not be encoded: {error}")))
}

/// Appends segments to a URL. Registered addresses have a host, so they can have a path.
fn join(mut base: Url, path: &[&str]) -> Url {
    if let Ok(mut segments) = base.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    base
}
