//! What a bundle has of nodes.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};

use super::archive::Archive;
use super::log_of;
use crate::client::{Client, Error};

/// Nodes that are asked at the same time.
const CONCURRENCY: usize = 16;

/// Adds the end of the log of each of these nodes. The engine asks them: it has the token, and a way
/// to their control ports.
///
/// # Errors
/// Only if a file is too large for the format. A node that does not answer is noted as missing.
pub async fn add_logs(
    archive: &mut Archive,
    client: &Client,
    nodes: BTreeSet<String>,
) -> anyhow::Result<()> {
    let mut logs = stream::iter(&nodes)
        .map(async |node| (node, log(client, node).await))
        .buffered(CONCURRENCY);
    while let Some((node, log)) = logs.next().await {
        archive.add(&format!("node-{node}.log"), log)?;
    }
    Ok(())
}

async fn log(client: &Client, node: &str) -> Result<Vec<u8>, Error> {
    Ok(log_of(&client.node_debug_report(node).await?))
}
