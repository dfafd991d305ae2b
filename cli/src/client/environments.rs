//! Nodes and environments.

use hotswap_core::{Environment, ModuleName, NodeId};
use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde_json::Value;

use super::error::Interruption;
use super::event_stream::EventStream;
use super::{
    Client, EnvironmentEventRow, EnvironmentSettings, EnvironmentState, Error, NodeRow, Page,
    REQUEST_TIMEOUT,
};

impl Client {
    /// All nodes.
    pub async fn nodes(&self) -> Result<Value, Error> {
        self.get_checked::<Page<Value>>("/nodes").await
    }

    /// One node.
    pub async fn node(&self, id: &NodeId) -> Result<Value, Error> {
        self.get_checked::<NodeRow>(&format!("/nodes/{id}")).await
    }

    /// Posts to a node's sub-resource: `cordon`, `drain` or `uncordon`. The response is the state
    /// of the node.
    pub async fn post_to_node(
        &self,
        id: &NodeId,
        resource: &str,
        body: &Value,
    ) -> Result<Value, Error> {
        self.post::<NodeRow>(&format!("/nodes/{id}/{resource}"), body)
            .await
    }

    /// Deletes the registration of a node.
    pub async fn delete_node(&self, id: &NodeId, body: &Value) -> Result<(), Error> {
        self.delete_with(&format!("/nodes/{id}"), body).await
    }

    /// All environments.
    pub async fn environments(&self) -> Result<Value, Error> {
        self.get_checked::<Page<Value>>("/clusters").await
    }

    /// One environment, with its nodes and what runs on them.
    pub async fn environment(&self, name: &Environment) -> Result<Value, Error> {
        self.get_checked::<EnvironmentState>(&format!("/clusters/{name}"))
            .await
    }

    /// The last events of an environment, newest first.
    pub async fn environment_events(&self, name: &Environment, limit: u16) -> Result<Value, Error> {
        let path = format!("/clusters/{name}/events");
        let request = self.request(Method::GET, &path).query(&[("limit", limit)]);
        self.fetch_checked::<Page<EnvironmentEventRow>>(request.timeout(REQUEST_TIMEOUT))
            .await
    }

    /// Opens a stream of an environment's events: from its last `limit` events on, or after the
    /// one with the id `last_id`.
    ///
    /// Has no time-out, and neither has the stream. Cancel safe.
    pub async fn environment_stream(
        &self,
        name: &Environment,
        limit: u16,
        last_id: Option<&str>,
    ) -> Result<EventStream, Error> {
        let path = format!("/clusters/{name}/events");
        let request = self.request(Method::GET, &path).query(&[("limit", limit)]);
        let stream = self.open_stream(request, last_id).await?;
        stream.ok_or_else(|| self.stream_interrupted(Interruption::Closed))
    }

    /// The policy and the selector of an environment.
    pub async fn environment_settings(
        &self,
        name: &Environment,
    ) -> Result<EnvironmentSettings, Error> {
        self.get(&format!("/environments/{name}"), &()).await
    }

    /// Sets the policy and the selector of an environment, where it still has this version. Returns what counts then: the
    /// same version where it was so already.
    pub async fn set_environment(
        &self,
        name: &Environment,
        version: u64,
        body: &Value,
    ) -> Result<EnvironmentSettings, Error> {
        let request = self.request(Method::PUT, &format!("/environments/{name}"));
        let request = request
            .header(IF_MATCH, format!("\"{version}\""))
            .json(body);
        self.fetch(request.timeout(REQUEST_TIMEOUT)).await
    }

    /// Retires a module in an environment.
    pub async fn retire(
        &self,
        module: &ModuleName,
        environment: &Environment,
        body: &Value,
    ) -> Result<(), Error> {
        let path = format!("/clusters/{environment}/modules/{module}");
        self.delete_with(&path, body).await
    }

    async fn delete_with(&self, path: &str, body: &Value) -> Result<(), Error> {
        let request = self.request(Method::DELETE, path).json(body);
        self.fetch_body(request.timeout(REQUEST_TIMEOUT)).await?;
        Ok(())
    }
}
