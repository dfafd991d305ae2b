//! Terminating a deployment with a damaged journal survives a crash of the engine.

use std::sync::Arc;

use anyhow::Result;
use hotswap_core::{EventBody, Status};
use hotswap_store::Journal;
use hotswap_tests::{Cluster, CrashPoint, CrashTiming, CrashingJournal, EMAIL, wait_for_state};
use serde_json::json;

const PRODUCTION: &str = "production";

/// Rolls 2.0.0 out to the first of two nodes, stops the engine, and damages event 3.
async fn begin_damaged(cluster: &mut Cluster) -> Result<hotswap_core::DeploymentId> {
    let rolling = ("rolling", json!({ "batch": 1, "settle": "1h" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    wait_for_state(&cluster.engine, id, |state| state.waiting_until().is_some()).await?;
    cluster.engine.shutdown().await;
    let database = cluster.database()?;
    let sql = "UPDATE event SET body = CAST('{' AS BLOB) WHERE seq = 3 AND deployment =
        (SELECT number FROM deployment WHERE id = ?1)";
    assert_eq!(database.execute(sql, [id.as_bytes()])?, 1);
    Ok(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_termination_survives_a_crash_before_and_after_its_end() -> Result<()> {
    let mut cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    cluster.upload_samples().await?;
    let store: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
    for timing in [CrashTiming::BeforeAppend, CrashTiming::AfterAppend] {
        cluster
            .roll_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
            .await?;
        let id = begin_damaged(&mut cluster).await?;
        // The engine's only append is the end.
        let crash_point = CrashPoint { append: 0, timing };
        let crashing = CrashingJournal::at(Arc::clone(&store), Some(crash_point));
        cluster.restart_engine(crashing.clone()).await?;
        let damaged = cluster.engine.deployments.get(id).await?;
        assert_eq!(damaged.damage.map(|damage| damage.seq), Some(3));
        let reason = Some("the disk was torn".to_owned());
        cluster
            .engine
            .deployments
            .terminate(id, EMAIL, reason)
            .await?;
        crashing.wait_for_crash().await;
        cluster.restart_engine(Arc::clone(&store)).await?;

        let state = cluster.wait_for_end(id).await?;
        assert_eq!(state.status(), Status::RolledBack, "{:?}", state.failures);
        for (node, version) in cluster.active_versions(PRODUCTION, "hello").await? {
            assert_eq!(version.as_deref(), Some("1.0.0"), "{node} after {timing:?}");
        }
        let events = cluster.resources.store.readable_events(id, 0).await?;
        let ends = events
            .iter()
            .filter(|event| matches!(event.body, EventBody::Ended { .. }));
        assert_eq!(ends.count(), 1);
    }
    cluster.shutdown().await;
    Ok(())
}
