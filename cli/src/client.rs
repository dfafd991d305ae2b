//! A client of the engine's REST API. Every path and query that this program uses is here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use hotswap_core::{DeploymentId, Environment, Event, ModuleName, NodeId, Status, StrategyName};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use semver::Version;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::settings::Settings;

mod error;
mod event_decoder;
mod event_stream;
mod problem_response;
mod response;

pub use error::{Error, Interruption};
pub use event_stream::StreamItem;
pub use problem_response::ProblemResponse;
pub use response::{
    Accepted, Damage, DeploymentRow, EnvironmentRow, EnvironmentState, HealthCounts, Module,
    ModuleVersion, NodeRow, Page, StrategyRow,
};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request without an upload may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an upload may take: an artifact of some hundred megabytes over a slow line.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(900);
/// Deployments on one page, at most.
const MAX_PAGE: u32 = 200;

/// A client of one engine.
///
/// Every method is cancel safe and, except [`Self::stream`], has a time-out. A cancelled
/// change may still have been made.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    settings: Settings,
}

/// An event with the JSON that it was read from.
#[derive(Debug, Clone)]
pub struct RecordedEvent {
    /// The JSON, including fields that this program does not know.
    pub json: Value,
    /// The part that this program knows.
    pub event: Event,
}

impl RecordedEvent {
    fn read(json: Value) -> Result<Self, serde_json::Error> {
        let event = Event::deserialize(&json)?;
        Ok(Self { json, event })
    }
}

/// A request for a deployment.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewDeployment {
    /// The module to roll out.
    pub module_name: ModuleName,
    /// Its version; the engine chooses where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The environment to deploy to.
    pub target_environment: Environment,
    /// The requester's e-mail address.
    pub requester_email: String,
    /// What the deployment is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Metadata to attach.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Whether a person must approve it before it starts.
    pub require_approval: bool,
    /// The strategy; the environment's default where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<StrategyName>,
    /// The strategy's settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
}

/// Which deployments to list.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentFilter {
    /// Only deployments of this module.
    pub module: Option<ModuleName>,
    /// Only deployments to this environment.
    pub environment: Option<Environment>,
    /// Only deployments with this status.
    #[serde(serialize_with = "serialize_status")]
    pub status: Option<Status>,
}

fn serialize_status<S: serde::Serializer>(
    status: &Option<Status>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    status.map(Status::as_str).serialize(serializer)
}

impl Client {
    /// A client of the engine that the settings name. Opens no connection yet.
    ///
    /// # Errors
    /// Where the system cannot provide an HTTP client.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("hotswap/", env!("CARGO_PKG_VERSION")))
            // A redirect must not send the token elsewhere.
            .redirect(reqwest::redirect::Policy::none());
        if settings.is_loopback() {
            // A proxy would resolve loopback to its own machine.
            http = http.no_proxy();
        }
        let http = http.build().context("cannot set up an HTTP client")?;
        let settings = settings.clone();
        Ok(Self { http, settings })
    }

    /// The engine's address.
    pub fn server(&self) -> &str {
        &self.settings.server
    }

    /// The state of one deployment.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Value, Error> {
        self.get(&format!("/deployments/{id}"), &()).await
    }

    /// A page of at most `limit` deployments, newest first. `cursor` continues a page before.
    pub async fn deployments(
        &self,
        filter: &DeploymentFilter,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Value, Error> {
        #[derive(Serialize)]
        struct Query<'a> {
            limit: u32,
            cursor: Option<&'a str>,
        }
        let limit = limit.min(MAX_PAGE);
        let request = self.request(Method::GET, "/deployments").query(filter);
        let request = request.query(&Query { limit, cursor });
        self.fetch(request.timeout(REQUEST_TIMEOUT)).await
    }

    /// Requests a deployment. The response is an [`Accepted`].
    pub async fn create_deployment(&self, new: &NewDeployment) -> Result<Value, Error> {
        self.post("/deployments", new).await
    }

    /// The events after number `after`, as many as one page holds.
    pub async fn events(
        &self,
        id: DeploymentId,
        after: Option<u64>,
    ) -> Result<Vec<RecordedEvent>, Error> {
        #[derive(Serialize)]
        struct Query {
            after: Option<u64>,
        }
        let path = format!("/deployments/{id}/events");
        let page: Page<Value> = self.get(&path, &Query { after }).await?;
        if let (true, Some(damage)) = (page.items.is_empty(), page.damage) {
            return Err(Error::Damaged(damage));
        }
        let events = page.items.into_iter().map(RecordedEvent::read);
        let events = events.collect::<Result<_, _>>();
        events.map_err(|source| Error::UnexpectedResponse { path, source })
    }

    /// Posts to a deployment's sub-resource: `pause`, `resume`, `abort`, `terminate`,
    /// `approval` or `rollback`.
    pub async fn post_to_deployment(
        &self,
        id: DeploymentId,
        resource: &str,
        body: &Value,
    ) -> Result<Value, Error> {
        self.post(&format!("/deployments/{id}/{resource}"), body)
            .await
    }

    /// All modules with their versions.
    pub async fn modules(&self) -> Result<Value, Error> {
        self.get("/modules", &()).await
    }

    /// One module with its versions.
    pub async fn module(&self, module: &ModuleName) -> Result<Value, Error> {
        self.get(&format!("/modules/{module}"), &()).await
    }

    /// One version of a module.
    pub async fn module_version(
        &self,
        module: &ModuleName,
        version: &Version,
    ) -> Result<Value, Error> {
        self.get(&format!("/modules/{module}/versions/{version}"), &())
            .await
    }

    /// Uploads a version of a module.
    pub async fn upload_module(
        &self,
        module: &ModuleName,
        version: &Version,
        component: reqwest::Body,
    ) -> Result<Value, Error> {
        let path = format!("/modules/{module}/versions/{version}");
        self.upload(Method::PUT, &path, component).await
    }

    /// All strategies.
    pub async fn strategies(&self) -> Result<Value, Error> {
        self.get("/strategies", &()).await
    }

    /// One strategy, with the schema of its settings.
    pub async fn strategy(&self, name: &StrategyName) -> Result<Value, Error> {
        self.get(&format!("/strategies/{name}"), &()).await
    }

    /// Uploads a strategy.
    pub async fn upload_strategy(&self, component: reqwest::Body) -> Result<Value, Error> {
        self.upload(Method::POST, "/strategies", component).await
    }

    /// Deletes a strategy.
    pub async fn delete_strategy(&self, name: &StrategyName) -> Result<(), Error> {
        let path = format!("/strategies/{name}");
        self.fetch_body(self.request(Method::DELETE, &path).timeout(REQUEST_TIMEOUT))
            .await
            .map(drop)
    }

    /// All nodes.
    pub async fn nodes(&self) -> Result<Value, Error> {
        self.get("/nodes", &()).await
    }

    /// One node.
    pub async fn node(&self, id: &NodeId) -> Result<Value, Error> {
        self.get(&format!("/nodes/{id}"), &()).await
    }

    /// All environments.
    pub async fn environments(&self) -> Result<Value, Error> {
        self.get("/clusters", &()).await
    }

    /// One environment, with its nodes and what runs on them.
    pub async fn environment(&self, name: &Environment) -> Result<Value, Error> {
        self.get(&format!("/clusters/{name}"), &()).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, Error> {
        let request = self.request(Method::GET, path).query(query);
        self.fetch(request.timeout(REQUEST_TIMEOUT)).await
    }

    async fn post(&self, path: &str, body: &impl Serialize) -> Result<Value, Error> {
        let request = self.request(Method::POST, path).json(body);
        self.fetch(request.timeout(REQUEST_TIMEOUT)).await
    }

    async fn upload(
        &self,
        method: Method,
        path: &str,
        component: reqwest::Body,
    ) -> Result<Value, Error> {
        let request = self
            .request(method, path)
            .header("content-type", "application/wasm")
            .body(component)
            .timeout(UPLOAD_TIMEOUT);
        self.fetch(request).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/api/v1{path}", self.settings.server));
        match &self.settings.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    async fn fetch<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let (path, body) = self.fetch_body(request).await?;
        serde_json::from_slice(&body).map_err(|source| Error::UnexpectedResponse { path, source })
    }

    /// Sends a request. Returns the path that answered and the body of a successful response.
    async fn fetch_body(&self, request: RequestBuilder) -> Result<(String, Vec<u8>), Error> {
        let network_error = |source| Error::from_network(self.server(), source);
        let response = request.send().await.map_err(network_error)?;
        let path = response.url().path().to_owned();
        let status = response.status();
        if !status.is_success() {
            return Err(Self::rejection(status, response).await);
        }
        let body = response.bytes().await.map_err(network_error)?;
        Ok((path, body.into()))
    }

    async fn rejection(status: StatusCode, response: Response) -> Error {
        let body = response.bytes().await.unwrap_or_default();
        Error::Rejected(ProblemResponse::read(status.as_u16(), &body))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.settings.server)
            .finish()
    }
}

/// The body of an upload, streamed from a file.
///
/// # Errors
/// Where the file cannot be opened.
pub async fn file_body(path: &Path) -> anyhow::Result<reqwest::Body> {
    let file = tokio::fs::File::open(path)
        .await
        .with_context(|| format!("cannot open {}", path.display()))?;
    Ok(reqwest::Body::wrap_stream(
        tokio_util::io::ReaderStream::new(file),
    ))
}
