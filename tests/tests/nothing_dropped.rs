//! Under steady load, versions are swapped by each strategy, and no request fails.

use anyhow::{Result, ensure};
use hotswap_core::{CauseKind, Status};
use hotswap_tests::{Cluster, Load};
use serde_json::{Value, json};

const PRODUCTION: &str = "production";
/// Clients that ask at the same time, each waiting for its answer.
const CLIENTS: usize = 8;
/// Requests that each strategy must have been under; four of them make 100,000.
const REQUESTS: u64 = 25_000;

async fn keeps_every_request(strategy: &str, config: Value) -> Result<()> {
    let cluster = Cluster::start(&[(PRODUCTION, 4)]).await?;
    cluster.upload_samples().await?;
    cluster
        .rolled_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;

    let load = Load::start(cluster.urls(PRODUCTION, "hello"), CLIENTS);
    let mut rollouts = 0;
    // There and back again until enough was asked: every round is a swap on every node.
    while load.score().requests < REQUESTS || rollouts < 2 {
        let version = if rollouts % 2 == 0 { "2.0.0" } else { "1.0.0" };
        cluster
            .rolled_out(("hello", version), PRODUCTION, (strategy, config.clone()))
            .await?;
        rollouts += 1;
    }
    let score = load.stop().await;
    println!(
        "{strategy}: {} requests during {rollouts} rollouts: {score:?}",
        score.requests
    );
    ensure!(score.failed() == 0, "{:?}", score.errors);
    ensure!(
        score.versions.len() == 2,
        "both versions answered: {:?}",
        score.versions
    );
    cluster.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn by_direct() -> Result<()> {
    keeps_every_request("direct", json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn by_rolling() -> Result<()> {
    keeps_every_request("rolling", json!({ "batch": 1, "settle": "100ms" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn by_blue_green() -> Result<()> {
    keeps_every_request("blue-green", json!({ "soak": "200ms" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn by_canary() -> Result<()> {
    keeps_every_request("canary", json!({ "soak": "300ms" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn by_canary_by_requests() -> Result<()> {
    keeps_every_request("canary", json!({ "by": "requests", "soak": "300ms" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_version_is_rolled_back_and_the_reason_names_the_figures() -> Result<()> {
    let cluster = Cluster::start(&[(PRODUCTION, 4)]).await?;
    cluster.upload_samples().await?;
    cluster
        .rolled_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;

    let load = Load::start(cluster.urls(PRODUCTION, "hello"), CLIENTS);
    let canary = ("canary", json!({ "soak": "20s" }));
    let id = cluster
        .deploy(("hello", "3.0.0"), PRODUCTION, canary)
        .await?;
    let state = cluster.ended(id).await?;
    let score = load.stop().await;

    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let cause = state.cause.expect("a rollback has a cause");
    println!("{}", cause.message);
    assert_eq!(cause.kind, CauseKind::Strategy);
    assert!(cause.message.contains("error-rate"), "{}", cause.message);
    assert!(cause.message.contains('%'), "{}", cause.message);
    assert!(
        score.errors.keys().all(|error| error.contains("3.0.0")),
        "{:?}",
        score.errors
    );
    let running = cluster.running(PRODUCTION, "hello").await?;
    assert_eq!(running.len(), 4);
    for (node, version) in running {
        assert_eq!(version.as_deref(), Some("1.0.0"), "{node}");
    }
    cluster.stop().await;
    Ok(())
}
