//! What goes into a report of a fault, as the engine writes it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::Method;
use serde_json::Value;

use super::{Client, Error, REQUEST_TIMEOUT};

/// How long a node may take to answer. It may be the one that is at fault.
const NODE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a node's metrics, at most.
const MAX_METRICS: usize = 16 << 20;

impl Client {
    /// The engine's report on itself.
    pub async fn debug_report(&self) -> Result<Value, Error> {
        self.get("/debug", &()).await
    }

    /// The report of a node on itself. The engine waits for the node for five seconds.
    pub async fn node_debug_report(&self, node: &str) -> Result<Value, Error> {
        self.get(&format!("/nodes/{node}/debug"), &()).await
    }

    /// The body of any resource, by its path on the server.
    pub async fn raw(&self, path: &str) -> Result<Vec<u8>, Error> {
        let url = format!("{}{path}", self.server());
        let request = self.http.request(Method::GET, url).timeout(REQUEST_TIMEOUT);
        let (_, body) = self.fetch_body(request).await?;
        Ok(body)
    }

    /// Fetches the metrics of the node with this control URL. Sends no token: it is for the engine
    /// alone.
    ///
    /// # Errors
    /// If this machine cannot reach the node, or the answer is not a success or is too large.
    pub async fn node_metrics(&self, control_url: &str) -> anyhow::Result<Vec<u8>> {
        let url = format!("{}/metrics", control_url.trim_end_matches('/'));
        let request = self.http.get(url).timeout(NODE_TIMEOUT);
        let mut response = request.send().await.context("cannot reach the node")?;
        let status = response.status();
        ensure!(status.is_success(), "the node answers {status}");
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            ensure!(
                body.len() + chunk.len() <= MAX_METRICS,
                "the node's metrics have more than {MAX_METRICS} bytes"
            );
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
