//! The engine's REST API, as this program uses it. Every path and query of it that
//! clients need stands here and nowhere else.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use hotswap_core::{DeploymentId, Event, ModuleName, StrategyName};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use semver::Version;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::args::List;
use crate::settings::Settings;

mod error;
mod reply;
mod sse;
mod stream;

pub use error::{Break, Error, Problem};
pub use reply::{Accepted, DeploymentRow, ModuleRow, ModuleRows, NodeRow, Page, StrategyRow};
pub use stream::Told;

/// A connection that is not made by then will not be.
const CONNECT: Duration = Duration::from_secs(5);
/// For answers that nothing has to be waited for.
const ANSWER: Duration = Duration::from_secs(30);
/// For uploads: an artifact of some hundred megabytes over a slow line.
const UPLOAD: Duration = Duration::from_secs(900);

/// Speaks to one engine. Every method is safe to cancel and, but for [`Self::stream`],
/// bounded in time; a change that was cancelled may have been made.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    settings: Settings,
}

/// An event, and the JSON that it came as.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// As it came: with fields that this program does not know.
    pub json: Value,
    /// What this program knows of it.
    pub event: Event,
}

impl Recorded {
    fn read(json: Value) -> Result<Self, serde_json::Error> {
        let event = Event::deserialize(&json)?;
        Ok(Self { json, event })
    }
}

/// A deployment that is asked for.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewDeployment {
    /// What to roll out.
    pub module_name: ModuleName,
    /// Which version.
    pub version: Version,
    /// Where.
    pub target_environment: hotswap_core::Environment,
    /// Where to reach who asks.
    pub requester_email: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Anything that was attached.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub metadata: std::collections::BTreeMap<String, String>,
    /// Whether a person must approve it first.
    pub require_approval: bool,
    /// By which strategy; the environment's where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<StrategyName>,
    /// The strategy's settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
}

impl Client {
    /// Speaks to the engine of the settings. No connection is made yet.
    ///
    /// # Errors
    /// Where the machine cannot make HTTP clients.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .user_agent(concat!("hotswap/", env!("CARGO_PKG_VERSION")))
            // The token goes to the engine that was named and nowhere else.
            .redirect(reqwest::redirect::Policy::none());
        if settings.is_loopback() {
            // A proxy would look for the engine on its own machine.
            http = http.no_proxy();
        }
        let http = http.build().context("cannot make an HTTP client")?;
        let settings = settings.clone();
        Ok(Self { http, settings })
    }

    /// The engine's address.
    pub fn server(&self) -> &str {
        &self.settings.server
    }

    /// One deployment, as the engine tells it.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Value, Error> {
        self.get(&format!("/deployments/{id}"), &()).await
    }

    /// Some deployments, newest first.
    pub async fn deployments(&self, list: &List, cursor: Option<&str>) -> Result<Value, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Query<'a> {
            module: Option<&'a ModuleName>,
            environment: Option<&'a hotswap_core::Environment>,
            status: Option<&'static str>,
            limit: u32,
            cursor: Option<&'a str>,
        }
        let query = Query {
            module: list.module.as_ref(),
            environment: list.environment.as_ref(),
            status: list.status.map(hotswap_core::Status::as_str),
            limit: list.limit.min(200),
            cursor,
        };
        self.get("/deployments", &query).await
    }

    /// Asks for a deployment; the answer is an [`Accepted`].
    pub async fn deploy(&self, new: &NewDeployment) -> Result<Value, Error> {
        self.send(Method::POST, "/deployments", Some(new)).await
    }

    /// The events after number `after`, as many as one answer has room for.
    pub async fn events(
        &self,
        id: DeploymentId,
        after: Option<u64>,
    ) -> Result<Vec<Recorded>, Error> {
        #[derive(Serialize)]
        struct Query {
            after: Option<u64>,
        }
        let path = format!("/deployments/{id}/events");
        let page: Page<Value> = self.get(&path, &Query { after }).await?;
        let items = page.items.into_iter().map(Recorded::read);
        let read = items.collect::<Result<_, _>>();
        read.map_err(|source| Error::Odd { path, source })
    }

    /// Tells a deployment something: to pause, to resume, to abort, a decision, to be rolled back.
    pub async fn tell(&self, id: DeploymentId, verb: &str, body: &Value) -> Result<Value, Error> {
        let path = format!("/deployments/{id}/{verb}");
        self.send(Method::POST, &path, Some(body)).await
    }

    /// All modules with their versions.
    pub async fn modules(&self) -> Result<Value, Error> {
        self.get("/modules", &()).await
    }

    /// One module with its versions.
    pub async fn module(&self, module: &ModuleName) -> Result<Value, Error> {
        self.get(&format!("/modules/{module}"), &()).await
    }

    /// Uploads a version of a module.
    pub async fn push_module(
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

    /// One strategy, with its schema.
    pub async fn strategy(&self, name: &StrategyName) -> Result<Value, Error> {
        self.get(&format!("/strategies/{name}"), &()).await
    }

    /// Uploads a strategy.
    pub async fn push_strategy(&self, component: reqwest::Body) -> Result<Value, Error> {
        self.upload(Method::POST, "/strategies", component).await
    }

    /// Deletes a strategy.
    pub async fn delete_strategy(&self, name: &StrategyName) -> Result<(), Error> {
        let path = format!("/strategies/{name}");
        self.whole(self.request(Method::DELETE, &path).timeout(ANSWER))
            .await
            .map(drop)
    }

    /// All nodes.
    pub async fn nodes(&self) -> Result<Value, Error> {
        self.get("/nodes", &()).await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, Error> {
        let request = self.request(Method::GET, path).query(query);
        self.answer(request.timeout(ANSWER)).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Value, Error> {
        let mut request = self.request(method, path).timeout(ANSWER);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request).await
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
            .timeout(UPLOAD);
        self.answer(request).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/api/v1{path}", self.settings.server));
        match &self.settings.token {
            Some(token) => request.bearer_auth(token.secret()),
            None => request,
        }
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let (path, body) = self.whole(request).await?;
        serde_json::from_slice(&body).map_err(|source| Error::Odd { path, source })
    }

    /// The whole body of a good answer, with the path that it came from.
    async fn whole(&self, request: RequestBuilder) -> Result<(String, Vec<u8>), Error> {
        let lost = |source: reqwest::Error| Error::lost(self.server(), source);
        let response = request.send().await.map_err(lost)?;
        let path = response.url().path().to_owned();
        let status = response.status();
        if !status.is_success() {
            return Err(Self::refusal(status, response).await);
        }
        let body = response.bytes().await.map_err(lost)?;
        Ok((path, body.into()))
    }

    async fn refusal(status: StatusCode, response: Response) -> Error {
        let body = response.bytes().await.unwrap_or_default();
        Error::Refused(Problem::read(status.as_u16(), &body))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.settings.server)
            .finish()
    }
}

/// A file as the body of an upload, piece by piece.
///
/// # Errors
/// Where it cannot be opened.
pub async fn file(path: &Path) -> anyhow::Result<reqwest::Body> {
    let file = tokio::fs::File::open(path)
        .await
        .with_context(|| format!("cannot open {}", path.display()))?;
    Ok(reqwest::Body::wrap_stream(
        tokio_util::io::ReaderStream::new(file),
    ))
}
