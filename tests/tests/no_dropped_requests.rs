//! Each strategy swaps versions under constant load, and no request fails.

use anyhow::{Result, ensure};
use hotswap_core::{CauseKind, Status};
use hotswap_tests::{Cluster, LoadGenerator};
use serde_json::{Value, json};

const PRODUCTION: &str = "production";
/// Concurrent clients. Each sends one request at a time.
const CLIENTS: usize = 8;
/// How many requests each strategy must survive.
const MIN_REQUESTS: u64 = 25_000;

async fn ensure_no_request_fails(strategy: &str, config: Value) -> Result<()> {
    let cluster = Cluster::start_with_hello(PRODUCTION, 4).await?;

    let load = LoadGenerator::start(cluster.module_urls(PRODUCTION, "hello"), CLIENTS);
    let mut rollouts = 0;
    // Alternates between two versions: every rollout is a swap on every node.
    while load.report().requests < MIN_REQUESTS || rollouts < 2 {
        let version = if rollouts % 2 == 0 { "2.0.0" } else { "1.0.0" };
        cluster
            .roll_out(("hello", version), PRODUCTION, (strategy, config.clone()))
            .await?;
        rollouts += 1;
    }
    let report = load.stop().await;
    println!(
        "{strategy}: {} requests during {rollouts} rollouts: {report:?}",
        report.requests
    );
    ensure!(report.failed_requests() == 0, "{:?}", report.errors);
    ensure!(
        report.answers_by_version.len() == 2,
        "not both versions answered: {:?}",
        report.answers_by_version
    );
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_drops_no_request() -> Result<()> {
    ensure_no_request_fails("direct", json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_drops_no_request() -> Result<()> {
    ensure_no_request_fails("rolling", json!({ "batch": 1, "settle": "100ms" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_green_drops_no_request() -> Result<()> {
    ensure_no_request_fails("blue-green", json!({ "soak": "200ms" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn canary_drops_no_request() -> Result<()> {
    ensure_no_request_fails("canary", json!({ "soak": "300ms" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn canary_split_by_requests_drops_no_request() -> Result<()> {
    ensure_no_request_fails("canary", json!({ "by": "requests", "soak": "300ms" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_version_is_rolled_back_and_the_cause_names_the_figures() -> Result<()> {
    let cluster = Cluster::start_with_hello(PRODUCTION, 4).await?;

    let load = LoadGenerator::start(cluster.module_urls(PRODUCTION, "hello"), CLIENTS);
    let canary = ("canary", json!({ "soak": "20s" }));
    let id = cluster
        .deploy(("hello", "3.0.0"), PRODUCTION, canary)
        .await?;
    let state = cluster.wait_for_end(id).await?;
    let report = load.stop().await;

    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let cause = state.cause.expect("a rollback has a cause");
    println!("{}", cause.message);
    assert_eq!(cause.kind, CauseKind::Strategy);
    assert!(cause.message.contains("error-rate"), "{}", cause.message);
    assert!(cause.message.contains('%'), "{}", cause.message);
    assert!(
        report.errors.keys().all(|error| error.contains("3.0.0")),
        "{:?}",
        report.errors
    );
    let running = cluster.active_versions(PRODUCTION, "hello").await?;
    assert_eq!(running.len(), 4);
    for (node, version) in running {
        assert_eq!(version.as_deref(), Some("1.0.0"), "{node}");
    }
    cluster.shutdown().await;
    Ok(())
}
