//! A client of the engine's REST API. Every path and query that this program uses is here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use hotswap_common::tls::ClientTls;
use hotswap_common::{Backoff, Secret};
use hotswap_core::{DeploymentId, Environment, Event, ModuleName, Selector, Status, StrategyName};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use semver::Version;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::secret_file;
use crate::settings::{self, Settings};

mod deployment_plan;
mod discovery;
mod environments;
mod error;
mod event_decoder;
mod event_stream;
mod problem_response;
mod reruns;
mod response;
mod upload;

pub use deployment_plan::{DeploymentPlan, PlanStep};
pub use error::{Error, Interruption};
pub use event_stream::StreamItem;
pub use problem_response::ProblemResponse;
pub use response::{
    Accepted, BackendRow, Damage, DeploymentRow, EnvironmentEventRow, EnvironmentRow,
    EnvironmentSettings, EnvironmentState, HealthCounts, HistoryRow, Module, ModuleVersion,
    NodeCordon, NodeModule, NodeRow, Page, RequestDiff, RequestDifference, StrategyRow,
};
pub use upload::file_body;

/// How often a request for a deployment is repeated whose answer was lost.
const CREATE_RETRIES: u32 = 3;
/// Delays between these attempts.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(200);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);
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
///
/// A token that the engine refuses is read again from its file, and a fresh one is tried once.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    settings: Settings,
    /// The token that was accepted last. Clones share it.
    token: Arc<RwLock<Option<Secret>>>,
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
    /// The nodes of the environment to deploy to; all of them where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
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
    /// Whether to abort an open deployment of the module in the environment.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub supersede: bool,
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
    /// Where a file for TLS cannot be used, or the system cannot provide an HTTP client.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("hotswap/", env!("CARGO_PKG_VERSION")))
            // A redirect must not send the token elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(ClientTls::open(settings.tls.clone())?.config()?);
        if settings.is_loopback() {
            // A proxy would resolve loopback to its own machine.
            http = http.no_proxy();
        }
        let http = http.build().context("cannot set up an HTTP client")?;
        Ok(Self {
            http,
            settings: settings.clone(),
            token: Arc::new(RwLock::new(settings.token.clone())),
        })
    }

    /// The file that holds the token, if it comes from one.
    pub fn token_file(&self) -> Option<&Path> {
        self.settings.token_file.as_deref()
    }

    /// The engine's address.
    pub fn server(&self) -> &str {
        &self.settings.server
    }

    /// The state of one deployment.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Value, Error> {
        self.get_checked::<DeploymentRow>(&format!("/deployments/{id}"))
            .await
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
        self.fetch_checked::<Page<Value>>(request.timeout(REQUEST_TIMEOUT))
            .await
    }

    /// Requests a deployment. The response is an [`Accepted`].
    pub async fn create_deployment(&self, new: &NewDeployment) -> Result<Value, Error> {
        self.create("/deployments", new).await
    }

    /// What a deployment would do. The response is a [`DeploymentPlan`].
    pub async fn plan_deployment(&self, new: &NewDeployment) -> Result<Value, Error> {
        self.post::<DeploymentPlan>("/deployments/plan", new).await
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

    /// Posts to a deployment's sub-resource: `pause`, `resume`, `promote`, `abort`, `terminate`
    /// or `approval`. The response is the state of the deployment.
    pub async fn post_to_deployment(
        &self,
        id: DeploymentId,
        resource: &str,
        body: &Value,
    ) -> Result<Value, Error> {
        self.post::<DeploymentRow>(&format!("/deployments/{id}/{resource}"), body)
            .await
    }

    /// All modules with their versions.
    pub async fn modules(&self) -> Result<Value, Error> {
        self.get_checked::<Page<Value>>("/modules").await
    }

    /// One module with its versions.
    pub async fn module(&self, module: &ModuleName) -> Result<Value, Error> {
        self.get_checked::<Module>(&format!("/modules/{module}"))
            .await
    }

    /// One version of a module.
    pub async fn module_version(
        &self,
        module: &ModuleName,
        version: &Version,
    ) -> Result<Value, Error> {
        let path = format!("/modules/{module}/versions/{version}");
        self.get_checked::<ModuleVersion>(&path).await
    }

    /// All strategies.
    pub async fn strategies(&self) -> Result<Value, Error> {
        self.get_checked::<Page<Value>>("/strategies").await
    }

    /// One strategy, with the schema of its settings.
    pub async fn strategy(&self, name: &StrategyName) -> Result<Value, Error> {
        self.get_checked::<StrategyRow>(&format!("/strategies/{name}"))
            .await
    }

    /// Deletes a strategy.
    pub async fn delete_strategy(&self, name: &StrategyName) -> Result<(), Error> {
        self.delete(&format!("/strategies/{name}")).await
    }

    async fn delete(&self, path: &str) -> Result<(), Error> {
        let request = self.request(Method::DELETE, path);
        let response = self.send(request.timeout(REQUEST_TIMEOUT)).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(());
        }
        Err(Error::WrongServer {
            server: self.server().to_owned(),
            found: format!("it answers {} to a deletion", response.status()),
        })
    }

    /// What takes room on the engine's disk.
    pub async fn store_usage(&self) -> Result<Value, Error> {
        self.get("/store/usage", &()).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, Error> {
        let request = self.request(Method::GET, path).query(query);
        self.fetch(request.timeout(REQUEST_TIMEOUT)).await
    }

    async fn get_checked<T: DeserializeOwned>(&self, path: &str) -> Result<Value, Error> {
        let request = self.request(Method::GET, path);
        self.fetch_checked::<T>(request.timeout(REQUEST_TIMEOUT))
            .await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Value, Error> {
        let request = self.request(Method::POST, path).json(body);
        self.fetch_checked::<T>(request.timeout(REQUEST_TIMEOUT))
            .await
    }

    /// Posts a request for a deployment. Repeats it where the answer was lost: its idempotency
    /// key makes sure that one deployment is created.
    async fn create(&self, path: &str, body: &impl Serialize) -> Result<Value, Error> {
        // A random UUID, as good as any.
        let key = DeploymentId::generate().to_string();
        let mut backoff = Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY);
        let mut retries = CREATE_RETRIES;
        loop {
            let request = self.request(Method::POST, path).json(body);
            let request = request.header("idempotency-key", &key);
            let request = request.timeout(REQUEST_TIMEOUT);
            match self.fetch_checked::<Accepted>(request).await {
                Err(Error::ConnectionLost { .. }) if retries > 0 => retries -= 1,
                result => return result,
            }
            backoff.wait().await;
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/api/v1{path}", self.settings.server))
    }

    /// The response as JSON, with all its fields, once those that this program reads are
    /// checked: another server's JSON must not pass for an engine's.
    async fn fetch_checked<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Value, Error> {
        let (path, body) = self.fetch_body(request).await?;
        let value: Result<Value, _> = serde_json::from_slice(&body);
        value
            .and_then(|value| T::deserialize(&value).map(|_| value))
            .map_err(|source| Error::UnexpectedResponse { path, source })
    }

    async fn fetch<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let (path, body) = self.fetch_body(request).await?;
        serde_json::from_slice(&body).map_err(|source| Error::UnexpectedResponse { path, source })
    }

    /// Sends a request. Returns the path that answered and the body of a successful response.
    async fn fetch_body(&self, request: RequestBuilder) -> Result<(String, Vec<u8>), Error> {
        let response = self.send(request).await?;
        let path = response.url().path().to_owned();
        let body = response.bytes().await;
        let body = body.map_err(|source| Error::from_network(self.server(), source))?;
        Ok((path, body.into()))
    }

    /// Sends a request with the token. Where the engine refuses the token and its file holds
    /// another one by now, sends the request again with that one. Returns a successful
    /// response.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        // An upload, which is streamed, cannot be sent twice.
        let again = request.try_clone();
        match (self.send_once(request).await, again) {
            (Err(Error::Rejected(problem)), Some(again)) if problem.status == 401 => {
                if self.refresh_token().await {
                    self.send_once(again).await
                } else {
                    Err(Error::Rejected(problem))
                }
            }
            (result, _) => result,
        }
    }

    async fn send_once(&self, request: RequestBuilder) -> Result<Response, Error> {
        let token = self.token();
        let request = match &token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        };
        let response = request.send().await;
        let response = response.map_err(|source| Error::from_network(self.server(), source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(self.rejection(status, &body))
    }

    /// Why a request failed to which a server responded like this.
    fn rejection(&self, status: StatusCode, body: &[u8]) -> Error {
        let problem = ProblemResponse::read(status.as_u16(), body);
        if problem.is_of_another_server() {
            let server = self.server().to_owned();
            return Error::WrongServer {
                server,
                found: format!("it answers {status} without saying why, as an engine would"),
            };
        }
        Error::Rejected(problem)
    }

    fn token(&self) -> Option<Secret> {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        token.clone()
    }

    /// Reads the token from its file again. Returns whether it is another one.
    async fn refresh_token(&self) -> bool {
        let Some(file) = self.settings.token_file.clone() else {
            return false;
        };
        let read = tokio::task::spawn_blocking(move || secret_file::read_again(&file)).await;
        let Ok(Ok(fresh)) = read else {
            return false;
        };
        if settings::check_token(&fresh).is_err() {
            return false;
        }
        let mut token = self.token.write().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = token.as_ref() != Some(&fresh);
        *token = Some(fresh);
        is_fresh
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.settings.server)
            .finish()
    }
}
