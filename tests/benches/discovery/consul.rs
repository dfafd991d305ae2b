use anyhow::{Context as _, Result};
use hotswap_plugins::discovery::BackendSettings;
use hotswap_tests::{RegistryKind, RegistryServer};
use serde_json::json;
use tokio::sync::watch;

use crate::latency;
use crate::watching::Watching;
use crate::{SERVICE, idle};

async fn watching(server: &RegistryServer) -> Result<Watching> {
    let settings = BackendSettings {
        config: Some(json!({ "agents": [server.url()] })),
        origins: vec![server.url().parse()?],
        ..BackendSettings::new("bench")
    };
    Watching::new(hotswap_guests::CONSUL, settings).await
}

/// How soon the view has a change, beside a client of its own.
pub async fn measure_latency() -> Result<()> {
    let server = RegistryServer::start(RegistryKind::Consul).await?;
    let watching = watching(&server).await?;
    let follow = |seen| follow(server.url(), seen);
    latency::measure_registrations("Consul", &watching, follow).await
}

/// What watches cost while nothing changes.
pub async fn measure_idle() -> Result<()> {
    let server = RegistryServer::start(RegistryKind::Consul).await?;
    let watching = watching(&server).await?;
    idle::measure("Consul", |service| watching.watch_as_engine(service)).await
}

/// Waits by blocking queries, and counts the changes.
async fn follow(url: String, seen: watch::Sender<u64>) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut index = 0_u64;
    loop {
        let path = format!("{url}/v1/health/service/{SERVICE}?index={index}&wait=60s");
        let answer = client.get(path).send().await?;
        let latest = answer.headers().get("x-consul-index");
        let latest = latest.context("no index")?.to_str()?.parse()?;
        answer.bytes().await?;
        if latest != index {
            index = latest;
            seen.send_modify(|count| *count += 1);
        }
    }
}
