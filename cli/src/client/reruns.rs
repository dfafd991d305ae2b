//! Deployments that follow from earlier ones, and what was before.

use hotswap_core::{DeploymentId, Environment, ModuleName};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use super::{Client, Error, HistoryRow, REQUEST_TIMEOUT, RequestDiff};

impl Client {
    /// Requests a deployment of the version that ran before another one. The response is an
    /// [`Accepted`](super::Accepted).
    pub async fn roll_back(&self, id: DeploymentId, body: &Value) -> Result<Value, Error> {
        self.create(&format!("/deployments/{id}/rollback"), body)
            .await
    }

    /// Requests a deployment again that ended without success. The response is an
    /// [`Accepted`](super::Accepted).
    pub async fn retry(&self, id: DeploymentId, body: &Value) -> Result<Value, Error> {
        self.create(&format!("/deployments/{id}/retry"), body).await
    }

    /// Requests a deployment of an earlier success. The response is an
    /// [`Accepted`](super::Accepted).
    pub async fn undo(
        &self,
        module: &ModuleName,
        environment: &Environment,
        body: &Value,
    ) -> Result<Value, Error> {
        let path = format!("/clusters/{environment}/modules/{module}/undo");
        self.create(&path, body).await
    }

    /// A page of at most `limit` things that were decided for a module, newest first. `cursor`
    /// continues a page before.
    pub async fn history(
        &self,
        module: &ModuleName,
        environment: &Environment,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Value, Error> {
        let path = format!("/clusters/{environment}/modules/{module}/history");
        let request = self.request(Method::GET, &path);
        self.fetch_page::<HistoryRow>(request, limit, cursor).await
    }

    /// How the request for a deployment differs from another one.
    pub async fn diff(&self, id: DeploymentId, with: Option<DeploymentId>) -> Result<Value, Error> {
        #[derive(Serialize)]
        struct Query {
            with: Option<DeploymentId>,
        }
        let request = self.request(Method::GET, &format!("/deployments/{id}/diff"));
        let request = request.query(&Query { with });
        self.fetch_checked::<RequestDiff>(request.timeout(REQUEST_TIMEOUT))
            .await
    }
}
