use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::time::Instant;

use crate::Replicas;

/// How long an event may take to come. Generous, because the machine may be busy, and servers may
/// be replaced meanwhile.
const TIMEOUT: Duration = Duration::from_secs(120);

impl Replicas {
    /// Waits until a deployment has the event with a number, as an engine shows it.
    pub async fn wait_for_event(&self, engine: usize, deployment: &str, seq: u64) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        let path = format!("/api/v1/deployments/{deployment}");
        loop {
            let state = self.get(engine, &path).await?;
            let last = state["lastEvent"].as_u64().context("no last event")?;
            if last >= seq {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "no event {seq}: {state}");
            let wait = format!("{path}/events?after={last}&wait=5");
            self.get(engine, &wait).await?;
        }
    }

    /// The number of the last event of a deployment, as an engine shows it.
    pub async fn last_event(&self, engine: usize, deployment: &str) -> Result<u64> {
        let path = format!("/api/v1/deployments/{deployment}");
        let state = self.get(engine, &path).await?;
        state["lastEvent"].as_u64().context("no last event")
    }

    /// The events of a deployment, as an engine shows them.
    pub async fn events(&self, engine: usize, deployment: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/deployments/{deployment}/events?limit=1000");
        let page = self.get(engine, &path).await?;
        Ok(page["events"].as_array().context("no events")?.clone())
    }
}
