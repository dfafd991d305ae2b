//! Engine and nodes that Consul asks for their health, instead of their reporting in.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{Installation, RegistryKind, RegistryServer};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// Time limit of each wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Waits until all HTTP checks of the instances of this service have this status.
async fn until_all(
    consul: &RegistryServer,
    service: &str,
    count: usize,
    status: &str,
) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let path = format!("/v1/health/checks/{service}");
    loop {
        let checks: Value = serde_json::from_str(&consul.request("GET", &path, "").await?)?;
        let list = checks.as_array().context("no list")?;
        let is_right = |check: &Value| check["Type"] == "http" && check["Status"] == status;
        if list.len() == count && list.iter().all(is_right) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not all {status}: {checks:#}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn consul_asks_nodes_and_engine_where_the_operator_wants_that() -> Result<()> {
    let consul = RegistryServer::start(RegistryKind::Consul).await?;
    let url = consul.url();
    let table = format!(
        "[[discovery]]\nname = \"main\"\nbackend = \"consul\"\norigins = [\"{url}\"]\n\
         networks = [\"127.0.0.0/8\"]\ncheck = \"http\"\ncheckInterval = \"1s\"\n\
         [discovery.settings]\nagents = [\"{url}\"]\n"
    );
    let mut installation = Installation::start_found("production", 2, "", &table).await?;
    let (nodes, engine) = ("hotswap-node", "distributed-kernel-orchestrator");
    until_all(&consul, nodes, 2, "passing").await?;
    until_all(&consul, engine, 1, "passing").await?;
    // One that deregisters is not asked any more.
    installation.terminate_node("production-2").await?;
    until_all(&consul, nodes, 1, "passing").await?;
    // One that is killed does not answer.
    installation.kill_node("production-1").await?;
    until_all(&consul, nodes, 1, "critical").await
}
