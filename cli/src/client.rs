//! A client of the engine's REST API. Every path and query that this program uses is here.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use hotswap_common::Secret;
use hotswap_common::tls::ClientTls;
use hotswap_core::{ModuleName, StrategyName};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use semver::Version;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::secret_file;
use crate::settings::{self, Settings};

mod debug;
mod deployment_plan;
mod deployments;
mod discovery;
mod environments;
mod error;
mod event_decoder;
mod event_stream;
mod findings;
mod problem_response;
mod reruns;
mod response;
mod upload;

pub use deployment_plan::{DeploymentPlan, PlanStep};
pub use deployments::{DeploymentFilter, NewDeployment, RecordedEvent};
pub use error::{Error, Interruption};
pub use event_stream::{SoakReport, StreamItem};
pub use findings::read_findings;
pub use problem_response::ProblemResponse;
pub use response::{
    Accepted, BackendRow, Damage, DeploymentRow, EnvironmentEventRow, EnvironmentRow,
    EnvironmentSettings, EnvironmentState, HealthCounts, HistoryRow, Module, ModuleVersion,
    NodeCordon, NodeModule, NodeRow, Page, RequestDiff, RequestDifference, StrategyRow,
};
pub use upload::file_body;

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

    /// A page of at most `limit` items, as JSON. `cursor` continues a page before.
    async fn fetch_page<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Value, Error> {
        let request = request
            .query(&[("limit", limit.min(MAX_PAGE))])
            .query(&[("cursor", cursor)])
            .timeout(REQUEST_TIMEOUT);
        self.fetch_checked::<Page<T>>(request).await
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
