//! What a bundle has of one deployment.

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use hotswap_core::{DeploymentId, Environment};
use serde_json::{Value, json};

use super::archive::Archive;
use crate::client::{Client, Error};

/// Events of the environment, at most: as many as the engine gives at once.
const MAX_EVENTS: u16 = 500;
/// Nodes that are asked at the same time.
const CONCURRENCY: usize = 16;

/// Adds the deployment, its events, the last events of its environment, and the metrics of the nodes
/// that it may change. Returns their ids.
///
/// # Errors
/// Only if a file is too large for the format.
pub async fn add(
    archive: &mut Archive,
    client: &Client,
    id: DeploymentId,
) -> anyhow::Result<Vec<String>> {
    let path = format!("/api/v1/deployments/{id}");
    let deployment = client.raw(&path).await;
    let shown: Value = deployment
        .as_ref()
        .ok()
        .and_then(|body| serde_json::from_slice(body).ok())
        .unwrap_or_default();
    archive.add("deployment.json", deployment)?;
    archive.add("journal.jsonl", journal(client, id).await)?;
    archive.add("environment-events.json", events(client, &shown).await)?;
    let nodes = shown["nodes"].as_array().into_iter().flatten();
    let nodes: Vec<_> = nodes.filter_map(|node| node["id"].as_str()).collect();
    let mut metrics = stream::iter(&nodes)
        .map(async |&node| (node, metrics(client, node).await))
        .buffered(CONCURRENCY);
    while let Some((node, metrics)) = metrics.next().await {
        archive.add(&format!("node-{node}.metrics.txt"), metrics)?;
    }
    drop(metrics);
    Ok(nodes.into_iter().map(str::to_owned).collect())
}

/// All events of a deployment, one a line. If the journal is damaged: the readable events, then the
/// damage.
async fn journal(client: &Client, id: DeploymentId) -> Result<Vec<u8>, Error> {
    let (mut lines, mut after) = (Vec::new(), None);
    loop {
        let events = match client.events(id, after).await {
            Err(Error::Damaged(damage)) => {
                lines.extend(format!("{}\n", json!({ "damage": damage.to_string() })).into_bytes());
                return Ok(lines);
            }
            events => events?,
        };
        let Some(last) = events.last() else {
            return Ok(lines);
        };
        after = Some(last.event.seq);
        for event in events {
            lines.extend(format!("{}\n", event.json).into_bytes());
        }
    }
}

/// The last events of the deployment's environment.
async fn events(client: &Client, deployment: &Value) -> anyhow::Result<Vec<u8>> {
    let environment = deployment["targetEnvironment"].as_str();
    let environment = environment.context("the deployment could not be read")?;
    let environment: Environment = environment.parse()?;
    let events = client.environment_events(&environment, MAX_EVENTS).await?;
    Ok(format!("{events:#}\n").into_bytes())
}

/// What a node shows as its metrics.
async fn metrics(client: &Client, node: &str) -> anyhow::Result<Vec<u8>> {
    let shown = client.raw(&format!("/api/v1/nodes/{node}")).await?;
    let shown: Value = serde_json::from_slice(&shown)?;
    let url = shown["controlUrl"]
        .as_str()
        .context("the node has no control URL")?;
    client.node_metrics(url).await
}
