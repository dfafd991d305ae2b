//! Hostile strategies: each deployment fails or is rolled back with a cause that users
//! understand, and other deployments keep running.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use async_trait::async_trait;
use hotswap_core::{Append, CauseKind, Deployment, EventBody, Status, encode_event};
use hotswap_store::{AppendError, Head, Journal};
use hotswap_tests::{
    Cluster, CrashPoint, CrashTiming, CrashingJournal, EMAIL, InterceptedJournal, Interceptor,
};
use serde_json::json;

const PRODUCTION: &str = "production";

/// A cluster that runs `hello` 1.0.0 and has the strategy `hostile`.
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
        .roll_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    Ok(cluster)
}

/// Runs one attack while another deployment runs. Checks that the attack fails and that every
/// node runs 1.0.0 again.
async fn run_attack(cluster: &Cluster, attack: &str) -> Result<Deployment> {
    let hostile = ("hostile", json!({ "attack": attack }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, hostile)
        .await?;
    cluster
        .roll_out(("other", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    let state = cluster.wait_for_end(id).await?;
    println!("{attack}: {} {:?}", state.status().as_str(), state.cause);
    for (node, version) in cluster.active_versions(PRODUCTION, "hello").await? {
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
async fn each_attack_fails_with_its_cause_and_leaves_other_deployments_alone() -> Result<()> {
    let cluster = cluster().await?;
    for (name, kind, expected) in [
        ("endless-loop", CauseKind::Trap, "without a call"),
        ("endless-calls", CauseKind::Limit, "more than 10000 calls"),
        ("endless-lists", CauseKind::Limit, "bytes of the journal"),
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
        let state = run_attack(&cluster, name).await?;
        let status = state.status();
        let cause = state.cause.expect("a cause");
        assert_eq!(cause.kind, kind, "{name}: {}", cause.message);
        assert!(
            cause.message.contains(expected),
            "{name}: {}",
            cause.message
        );
        // Without a touched node there is nothing to roll back.
        let touched = name.starts_with("touch") || name == "percent-200";
        assert_eq!(status == Status::RolledBack, touched, "{name}: {status:?}");
    }
    cluster.shutdown().await;
    Ok(())
}

/// What the engine appended at once.
#[derive(Debug, Clone, Copy, Default)]
struct Largest {
    events: usize,
    bytes: usize,
}

/// Measures the engine's appends.
#[derive(Default)]
struct Measure(Mutex<Largest>);

#[async_trait]
impl Interceptor for Measure {
    async fn append(&self, journal: &dyn Journal, append: Append) -> Result<Head, AppendError> {
        let calls = append.bodies.iter();
        let calls = calls.filter(|body| matches!(body, EventBody::Called { .. }));
        let mut sizes = Vec::new();
        for call in calls {
            let mut json = Vec::new();
            encode_event(call, &mut json).expect("it is JSON");
            sizes.push(json.len());
        }
        {
            let mut largest = self.0.lock().expect("not poisoned");
            largest.events = largest.events.max(sizes.len());
            largest.bytes = largest.bytes.max(sizes.iter().sum());
        }
        journal.append(append).await
    }
}

/// A read needs not be durable before it is answered, and a note has no answer. Neither may wait
/// in memory for a write that never comes.
#[tokio::test(flavor = "multi_thread")]
async fn reads_and_notes_are_appended_before_they_pile_up() -> Result<()> {
    let mut cluster = cluster().await?;
    let store: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
    for (attack, most) in [("endless-lists", 64), ("log-flood-in-lines", 64)] {
        let measured = InterceptedJournal::new(Arc::clone(&store), Measure::default());
        cluster
            .restart_engine(Arc::clone(&measured) as Arc<dyn Journal>)
            .await?;
        let state = run_attack(&cluster, attack).await?;
        assert_eq!(state.cause.expect("a cause").kind, CauseKind::Limit);
        let largest = *measured.0.lock().expect("not poisoned");
        println!("{attack}: {largest:?}");
        assert!(largest.events <= most, "{attack}: {largest:?}");
        // The last event may be of any size.
        assert!(largest.bytes <= (256 + 16) << 10, "{attack}: {largest:?}");
        assert!(largest.bytes >= 8 << 10, "{attack}: {largest:?}");
    }
    cluster.shutdown().await;
    Ok(())
}

/// The sandbox leaves a strategy no source of non-determinism. So the test changes the journal
/// instead: the configuration differs between the first run and the replay.
#[tokio::test(flavor = "multi_thread")]
async fn a_mismatch_on_replay_is_explained_and_reverted() -> Result<()> {
    let mut cluster = cluster().await?;
    let store: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
    // Appends: 0 is the plan, 1 the intent to stage, 2 the intent to promote, which is lost.
    let crash_point = CrashPoint {
        append: 2,
        timing: CrashTiming::BeforeAppend,
    };
    let crashing_journal = CrashingJournal::at(Arc::clone(&store), Some(crash_point));
    cluster
        .restart_engine(Arc::clone(&crashing_journal) as Arc<dyn Journal>)
        .await?;
    let hostile = ("hostile", json!({ "attack": "replay-a" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, hostile)
        .await?;
    crashing_journal.wait_for_crash().await;
    cluster.engine.shutdown().await;
    let changed = cluster.replace_in_journals("replay-a", "replay-b")?;
    assert_eq!(changed, 1, "the journal holds the request once");
    cluster.restart_engine(store).await?;

    let state = cluster.wait_for_end(id).await?;
    let cause = state.cause.expect("a cause");
    println!("{}", cause.message);
    assert_eq!(cause.kind, CauseKind::Mismatch);
    for expected in [
        "call 0",
        "production-1",
        "production-2",
        "not deterministic",
    ] {
        assert!(
            cause.message.contains(expected),
            "{expected}: {}",
            cause.message
        );
    }
    for (node, version) in cluster.active_versions(PRODUCTION, "hello").await? {
        assert_eq!(version.as_deref(), Some("1.0.0"), "{node}");
    }
    cluster.shutdown().await;
    Ok(())
}

/// An upload that does not match the contract is rejected with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_not_a_strategy_is_rejected_at_upload() -> Result<()> {
    let cluster = cluster().await?;
    for (component, expected) in [
        (b"no component".to_vec(), "component"),
        (hotswap_guests::HELLO_V1.to_vec(), "wasi:"),
    ] {
        let error = cluster
            .engine
            .strategies
            .upload(component, EMAIL)
            .await
            .unwrap_err();
        let reason = format!("{:#}", anyhow::Error::from(error));
        println!("{reason}");
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
    cluster.shutdown().await;
    Ok(())
}
