//! Strategies that mean harm: each ends as failed and reverted, with a reason that a person
//! understands, and other deployments go on meanwhile.

use std::sync::Arc;

use anyhow::Result;
use hotswap_core::{CauseKind, Deployment, Status};
use hotswap_store::Journal;
use hotswap_tests::{Cluster, Crash, Crashing, EMAIL, Moment};
use serde_json::json;

const PRODUCTION: &str = "production";

/// A cluster on which `hello` 1.0.0 runs and the hostile strategy can be named.
async fn cluster() -> Result<Cluster> {
    let cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    cluster.upload_samples().await?;
    cluster
        .upload("other", "1.0.0", hotswap_guests::HELLO_V1)
        .await?;
    cluster
        .engine
        .strategies
        .upload(hotswap_guests::HOSTILE.to_vec(), EMAIL)
        .await?;
    cluster
        .rolled_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    Ok(cluster)
}

/// Lets the strategy attack, while another deployment runs; every node is as before.
async fn attack(cluster: &Cluster, attack: &str) -> Result<Deployment> {
    let hostile = ("hostile", json!({ "attack": attack }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, hostile)
        .await?;
    cluster
        .rolled_out(("other", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    let state = cluster.ended(id).await?;
    println!("{attack}: {} {:?}", state.status().as_str(), state.cause);
    for (node, version) in cluster.running(PRODUCTION, "hello").await? {
        assert_eq!(version.as_deref(), Some("1.0.0"), "{node} after {attack}");
    }
    assert!(matches!(
        state.status(),
        Status::Failed | Status::RolledBack
    ));
    assert!(state.failures.is_empty(), "{:?}", state.failures);
    Ok(state)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attack_ends_with_its_reason_and_harms_nobody() -> Result<()> {
    let cluster = cluster().await?;
    for (name, kind, words) in [
        ("endless-loop", CauseKind::Trap, "without a call"),
        ("endless-calls", CauseKind::Limit, "more than 10000 calls"),
        ("memory-bomb", CauseKind::Limit, "memory"),
        ("stack-overflow", CauseKind::Trap, "stack"),
        ("panic", CauseKind::Trap, "crashed"),
        ("foreign-node", CauseKind::Violation, "not in its plan"),
        (
            "percent-200",
            CauseKind::Violation,
            "a percentage is at most 100",
        ),
        ("log-flood-at-once", CauseKind::Limit, "1 MiB in one call"),
        ("log-flood-in-lines", CauseKind::Limit, "bytes"),
        ("touch-then-loop", CauseKind::Trap, "without a call"),
        ("touch-then-panic", CauseKind::Trap, "crashed"),
    ] {
        let state = attack(&cluster, name).await?;
        let status = state.status();
        let cause = state.cause.expect("a cause");
        assert_eq!(cause.kind, kind, "{name}: {}", cause.message);
        assert!(cause.message.contains(words), "{name}: {}", cause.message);
        // Where nothing was touched there is nothing to roll back.
        let touched = name.starts_with("touch") || name == "percent-200";
        assert_eq!(status == Status::RolledBack, touched, "{name}: {status:?}");
    }
    cluster.stop().await;
    Ok(())
}

/// The sandbox leaves a strategy nothing by which two runs could differ, so the journal is
/// altered in its place: the run that is replayed had another configuration.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_differs_on_replay_is_explained_and_reverted() -> Result<()> {
    let mut cluster = cluster().await?;
    let store: Arc<dyn Journal> = Arc::new(cluster.core.store.clone());
    // The plan, the intent to stage; the intent to promote is lost.
    let crash = Crash {
        append: 2,
        moment: Moment::Before,
    };
    let crashing = Crashing::new(Arc::clone(&store), Some(crash));
    cluster
        .restart(Arc::clone(&crashing) as Arc<dyn Journal>)
        .await?;
    let hostile = ("hostile", json!({ "attack": "replay-a" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, hostile)
        .await?;
    crashing.stopped().await;
    cluster.engine.shutdown().await;
    let altered = cluster.alter("replay-a", "replay-b")?;
    assert_eq!(altered, 1, "the request is in the journal once");
    cluster.restart(store).await?;

    let state = cluster.ended(id).await?;
    let cause = state.cause.expect("a cause");
    println!("{}", cause.message);
    assert_eq!(cause.kind, CauseKind::Mismatch);
    for words in [
        "call 0",
        "production-1",
        "production-2",
        "not deterministic",
    ] {
        assert!(cause.message.contains(words), "{words}: {}", cause.message);
    }
    for (node, version) in cluster.running(PRODUCTION, "hello").await? {
        assert_eq!(version.as_deref(), Some("1.0.0"), "{node}");
    }
    cluster.stop().await;
    Ok(())
}

/// What does not fit the world is refused when it is uploaded, with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_strategy_is_refused_at_upload() -> Result<()> {
    let cluster = cluster().await?;
    for (component, words) in [
        (b"no component".to_vec(), "component"),
        (hotswap_guests::HELLO_V1.to_vec(), "wasi:"),
    ] {
        let refused = cluster
            .engine
            .strategies
            .upload(component, EMAIL)
            .await
            .unwrap_err();
        let reason = format!("{:#}", anyhow::Error::from(refused));
        println!("{reason}");
        assert!(reason.contains(words), "{words}: {reason}");
    }
    cluster.stop().await;
    Ok(())
}
