use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use hotswap_core::{NodeError, NodeId};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url, redirect};
use serde::Serialize;
use tokio::time::Instant;

use crate::answer;
use crate::{Options, Registry};

/// Answers are small: this is a status of some ten thousand histogram buckets.
const MOST_BODY: usize = 1 << 20;

/// Connections to one node that are kept for the next request: a node is asked for
/// orders, readings and probes at once, rarely for more.
const IDLE_CONNECTIONS: usize = 4;

/// Why the client for the nodes could not be set up: the step that failed, and its cause.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct SetupError {
    /// What failed.
    pub step: SetupStep,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A step of setting up the client for the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetupStep {
    /// Making a header of the node token.
    #[error("the node token cannot be sent; use visible ASCII characters")]
    Token,
    /// Making the HTTP client.
    #[error("the HTTP client for the nodes could not be made")]
    Client,
}

/// What is asked of a node's control API.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Segments of the path.
    pub(crate) path: &'a [&'a str],
    pub(crate) body: Option<Vec<u8>>,
    /// For the whole of the answer.
    pub(crate) timeout: Duration,
    /// For how long it is tried again while the node cannot be reached.
    pub(crate) patience: Duration,
}

/// What a node answered.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// One client for all nodes, so that connections are shared.
pub(crate) struct Client {
    http: reqwest::Client,
}

impl Client {
    pub(crate) fn new(token: &str, options: &Options) -> Result<Self, SetupError> {
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|source| SetupError {
                step: SetupStep::Token,
                source: source.into(),
            })?;
        authorization.set_sensitive(true);
        let http = reqwest::Client::builder()
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, authorization)]))
            .user_agent(concat!("hotswap/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            // The token is for this node alone, and goes to it directly.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|source| SetupError {
                step: SetupStep::Client,
                source: source.into(),
            })?;
        Ok(Self { http })
    }

    /// Asks a node, again where it cannot be reached and there is patience left. Its
    /// address is looked up each time, for it may come back at another.
    pub(crate) async fn send(
        &self,
        registry: &Registry,
        node: &NodeId,
        request: Request<'_>,
    ) -> Result<Reply, NodeError> {
        let begun = Instant::now();
        let mut pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(25))
            .with_max_delay(Duration::from_millis(500))
            .with_jitter()
            .without_max_times()
            .build();
        loop {
            let error = match self.attempt(registry, node, &request).await {
                Err(NodeError::Unreachable(reason)) => reason,
                done => return done,
            };
            let pause = pauses.next().unwrap_or_default();
            if begun.elapsed() + pause >= request.patience {
                return Err(NodeError::Unreachable(error));
            }
            tracing::debug!(%node, error, ?pause, "node cannot be reached, trying again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(
        &self,
        registry: &Registry,
        node: &NodeId,
        request: &Request<'_>,
    ) -> Result<Reply, NodeError> {
        let base = registry.control_url(node).ok_or_else(|| {
            NodeError::Unreachable("no node of this name is registered".to_owned())
        })?;
        let mut building = self
            .http
            .request(request.method.clone(), join(base, request.path))
            .timeout(request.timeout);
        if let Some(body) = &request.body {
            building = building
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        let lost = |error| answer::lost(error, request.timeout);
        let mut response = building.send().await.map_err(lost)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > MOST_BODY {
                return Err(NodeError::Other(format!(
                    "its answer is larger than {MOST_BODY} bytes, which no node's is; is \
                     something else listening at its address?"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply { status, body })
    }
}

/// The JSON of a request.
pub(crate) fn json(body: &impl Serialize) -> Result<Vec<u8>, NodeError> {
    serde_json::to_vec(body)
        .map_err(|error| NodeError::Other(format!("the request could not be written: {error}")))
}

/// A registered address always has a host, so that it can have a path.
fn join(mut base: Url, path: &[&str]) -> Url {
    if let Ok(mut segments) = base.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    base
}
