//! Sources of nodes, and discovery backends.

use hotswap_core::StrategyName;
use reqwest::Method;
use serde_json::Value;

use super::{BackendRow, Client, Error, Page, REQUEST_TIMEOUT};

impl Client {
    /// The sources that know of nodes.
    pub async fn discovery_sources(&self) -> Result<Value, Error> {
        self.get("/discovery", &()).await
    }

    /// A source with its instances.
    pub async fn discovery_source(&self, name: &StrategyName) -> Result<Value, Error> {
        self.get(&format!("/discovery/{name}"), &()).await
    }

    /// Has a source ask its registry again.
    pub async fn refresh_discovery_source(&self, name: &StrategyName) -> Result<Value, Error> {
        let path = format!("/discovery/{name}/refresh");
        let request = self.request(Method::POST, &path);
        self.fetch(request.timeout(REQUEST_TIMEOUT)).await
    }

    /// The discovery backends that were uploaded.
    pub async fn discovery_backends(&self) -> Result<Value, Error> {
        self.get_checked::<Page<Value>>("/backends").await
    }

    /// Uploads a discovery backend.
    pub async fn upload_discovery_backend(&self, component: reqwest::Body) -> Result<Value, Error> {
        self.upload::<BackendRow>(Method::POST, "/backends", component)
            .await
    }

    /// Deletes a discovery backend.
    pub async fn delete_discovery_backend(&self, name: &StrategyName) -> Result<(), Error> {
        self.delete(&format!("/backends/{name}")).await
    }
}
