use anyhow::{Result, bail};
use futures_util::StreamExt as _;
use hotswap_plugins::discovery::BackendSettings;
use hotswap_tests::{RegistryKind, RegistryServer};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::idle;
use crate::latency;
use crate::watching::Watching;

/// # Errors
/// If the component cannot be loaded.
pub async fn watching(server: &RegistryServer) -> Result<Watching> {
    let settings = BackendSettings {
        config: Some(json!({ "endpoints": [server.url()] })),
        origins: vec![server.url().parse()?],
        ..BackendSettings::new("bench")
    };
    Watching::new(hotswap_guests::ETCD, settings).await
}

/// How soon the view has a change, beside a client of its own.
pub async fn measure_latency() -> Result<()> {
    let server = RegistryServer::start(RegistryKind::Etcd).await?;
    let watching = watching(&server).await?;
    let follow = |seen| follow(server.url(), seen);
    latency::measure_registrations("Etcd", &watching, follow).await
}

/// What watches cost while nothing changes.
pub async fn measure_idle() -> Result<()> {
    let server = RegistryServer::start(RegistryKind::Etcd).await?;
    let watching = watching(&server).await?;
    idle::measure("Etcd", |service| watching.watch_as_engine(service)).await
}

/// Watches everything, and counts the changes.
async fn follow(url: String, seen: watch::Sender<u64>) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    // Everything.
    let body = json!({ "create_request": { "key": "AA==", "range_end": "AA==" } });
    let answer = client.post(format!("{url}/v3/watch")).json(&body).send();
    let mut lines = answer.await?.bytes_stream();
    while let Some(chunk) = lines.next().await {
        let text = String::from_utf8(chunk?.to_vec())?;
        let has_events = text.lines().any(|line| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            line["result"]["events"].is_array()
        });
        if has_events {
            seen.send_modify(|count| *count += 1);
        }
    }
    bail!("etcd has ended the watch")
}
