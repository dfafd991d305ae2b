//! Deployments and their events.

use std::collections::BTreeMap;
use std::time::Duration;

use hotswap_common::Backoff;
use hotswap_core::{DeploymentId, Environment, Event, ModuleName, Selector, Status, StrategyName};
use reqwest::Method;
use semver::Version;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use super::{Accepted, Client, DeploymentPlan, DeploymentRow, Error, Page, REQUEST_TIMEOUT};

/// How often a request for a deployment is repeated whose answer was lost.
const CREATE_RETRIES: u32 = 3;
/// Delays between these attempts.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(200);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);

/// An event with the JSON that it was read from.
#[derive(Debug, Clone)]
pub struct RecordedEvent {
    /// The JSON, including fields that this program does not know.
    pub json: Value,
    /// The part that this program knows.
    pub event: Event,
}

impl RecordedEvent {
    pub(super) fn read(json: Value) -> Result<Self, serde_json::Error> {
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
        let request = self.request(Method::GET, "/deployments").query(filter);
        self.fetch_page::<Value>(request, limit, cursor).await
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

    /// Posts a request for a deployment. Repeats it where the answer was lost: its idempotency
    /// key makes sure that one deployment is created.
    pub(super) async fn create(&self, path: &str, body: &impl Serialize) -> Result<Value, Error> {
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
}
