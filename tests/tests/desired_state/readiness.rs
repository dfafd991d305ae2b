//! Nodes are ready while they run what was decided, or what a deployment brings.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::{NodePhase, Status};
use hotswap_tests::{Cluster, wait_for_state};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::fleet::*;

/// What the node answers to load balancers.
async fn readiness(client: &reqwest::Client, data_url: &str) -> Result<u16> {
    let ready = client.get(format!("{data_url}/.hotswap/ready")).send();
    Ok(ready.await?.status().as_u16())
}

fn data_url(cluster: &Cluster, number: u32) -> Result<String> {
    let running = cluster.nodes.get(&node(number));
    let running = running.context("the node does not run")?;
    Ok(format!("http://{}", running.data_addr()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_ready_only_once_it_runs_what_it_should() -> Result<()> {
    let mut cluster = cluster().await?;
    // An engine knows what is decided before it tells anyone.
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    // Without its artifact the version cannot be loaded.
    let (artifacts, away) = (
        cluster.blobs_dir(),
        cluster.blobs_dir().with_extension("away"),
    );
    std::fs::rename(&artifacts, &away)?;
    start_node(&mut cluster, 3).await?;
    let (client, url) = (reqwest::Client::new(), data_url(&cluster, 3)?);
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        let repairs = repairs_of(&cluster, 3).await?;
        let status = readiness(&client, &url).await?;
        ensure!(status == 503, "it is ready without a version: {status}");
        if repairs
            .iter()
            .any(|repair| repair.starts_with("repairFailed "))
        {
            break;
        }
        ensure!(tokio::time::Instant::now() < deadline, "{repairs:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if artifacts.exists() {
        std::fs::remove_dir_all(&artifacts)?;
    }
    std::fs::rename(&away, &artifacts)?;
    while readiness(&client, &url).await? != 200 {
        ensure!(
            tokio::time::Instant::now() < deadline,
            "it does not become ready"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = client.get(format!("{url}/hello/")).send().await?;
    assert_eq!(answer.status(), 200, "what is ready serves");
    cluster.shutdown().await;
    Ok(())
}

/// Waits until each of the two nodes has been heard of three times more.
async fn wait_for_reports(cluster: &Cluster) -> Result<()> {
    let registry = &cluster.resources.registry;
    let last_seen = |number| registry.member(&node(number)).and_then(|it| it.last_seen);
    for _ in 0..3 {
        let before = [last_seen(1), last_seen(2)];
        wait_for(|| last_seen(1) > before[0] && last_seen(2) > before[1]).await?;
    }
    Ok(())
}

/// A node that a deployment has changed is ahead of what is decided, and one that it has not
/// changed yet may soon be behind it. Neither may lose its traffic for that.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_stay_ready_through_rollouts_and_rollbacks() -> Result<()> {
    let cluster = cluster().await?;
    let client = reqwest::Client::new();
    let urls = [data_url(&cluster, 1)?, data_url(&cluster, 2)?];
    for url in &urls {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        while readiness(&client, url).await? != 200 {
            ensure!(tokio::time::Instant::now() < deadline, "{url} is not ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let stop = CancellationToken::new();
    let (watched, stopped) = (client.clone(), stop.clone());
    let watch = tokio::spawn(async move {
        let mut looks = 0_u32;
        while !stopped.is_cancelled() {
            for url in &urls {
                let status = readiness(&watched, url).await?;
                ensure!(status == 200, "{url} became unready: {status}");
                looks += 1;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(looks)
    });
    let rolling = ("rolling", json!({ "batch": 1, "settle": "1500ms" }));
    cluster
        .roll_out(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    let canary = ("canary", json!({ "steps": [50], "soak": "1h" }));
    let id = cluster
        .deploy(("hello", "3.0.0"), PRODUCTION, canary)
        .await?;
    wait_for_state(&cluster.engine, id, |state| {
        state
            .nodes
            .values()
            .any(|node| node.phase == NodePhase::Active)
    })
    .await?;
    wait_for_reports(&cluster).await?;
    cluster.engine.deployments.abort(id, "ada", None).await?;
    assert_eq!(cluster.wait_for_end(id).await?.status(), Status::RolledBack);
    wait_for_reports(&cluster).await?;
    stop.cancel();
    assert!(watch.await?? > 100);
    cluster.shutdown().await;
    Ok(())
}
