//! What people are told of times: when a wait ends, when a deadline falls, and whether a rollout
//! fits into it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use hotswap_core::{Amount, CauseKind, Deployment, DeploymentId, EventBody, Policy, Status};
use hotswap_runner::deployments::Error;
use hotswap_tests::{Cluster, EMAIL, wait_for_state};
use serde_json::json;
use tokio::time::{sleep, timeout};

const PRODUCTION: &str = "production";
const MINUTE: Duration = Duration::from_secs(60);

/// A cluster of two nodes that run version 1.0.0.
async fn cluster(deadline: Duration, pause_stops_deadline: bool) -> Result<Cluster> {
    let policy = Policy {
        deadline,
        pause_stops_deadline,
        // A node that is gone must not hold the other one up.
        max_unavailable: Amount::Percent(100),
        ..Policy::default_for(&PRODUCTION.parse()?)
    };
    let policies = BTreeMap::from([(PRODUCTION.parse()?, policy)]);
    let cluster = Cluster::start_with_policies(&[(PRODUCTION, 2)], policies).await?;
    cluster.upload_samples().await?;
    let direct = ("direct", json!({}));
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, direct)
        .await?;
    Ok(cluster)
}

/// Starts a rollout in two batches, and pauses it while it waits after the first.
async fn pause_between_batches(cluster: &Cluster) -> Result<(DeploymentId, Deployment)> {
    let rolling = ("rolling", json!({ "batch": 1, "settle": "1s" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    wait_for_state(&cluster.engine, id, |state| state.waiting_until().is_some()).await?;
    let paused = cluster.engine.deployments.pause(id, EMAIL).await?;
    Ok((id, paused))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_is_due_after_the_deadline_is_told_to_end_with_it() -> Result<()> {
    let cluster = cluster(Duration::from_secs(3), true).await?;
    let blue_green = ("blue-green", json!({ "approval": true, "soak": "1ms" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, blue_green)
        .await?;
    let state = wait_for_state(&cluster.engine, id, |state| {
        state.status() == Status::AwaitingApproval
    })
    .await?;
    let planned = cluster.events(id).await?.into_iter();
    let planned = planned.filter(|event| matches!(event.body, EventBody::Planned { .. }));
    let planned_at = planned.map(|event| event.at).next().expect("a plan");
    assert_eq!(
        state.waiting_until(),
        Some(planned_at + Duration::from_secs(3))
    );
    assert_eq!(state.waiting_until(), state.deadline.falls_at());
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::RolledBack);
    let cause = state.cause.expect("a cause");
    assert_eq!(cause.kind, CauseKind::Deadline);
    assert_eq!(
        cause.message,
        "not done within 3s, the deadline of the environment's policy; it waited for a person's \
         decision on 'switch 2 nodes to hello 2.0.0?'"
    );
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_tells_when_the_deadline_falls_where_the_policy_lets_it_run() -> Result<()> {
    let cluster = cluster(Duration::from_secs(3), false).await?;
    let (id, paused) = pause_between_batches(&cluster).await?;
    assert_eq!(paused.status(), Status::Paused);
    let falls = paused.deadline.falls_at().expect("a deadline");
    assert_eq!(paused.deadline.stopped_with(), None);
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::RolledBack);
    let cause = state.cause.expect("a cause");
    assert_eq!(cause.kind, CauseKind::Deadline);
    assert!(cause.message.contains("a person to resume it"), "{cause}");
    assert!(state.ended_at >= Some(falls));
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_stops_the_deadline_may_last_longer_than_the_deadline() -> Result<()> {
    let deadline = Duration::from_secs(3);
    let mut cluster = cluster(deadline, true).await?;
    let (id, paused) = pause_between_batches(&cluster).await?;
    assert_eq!(paused.deadline.falls_at(), None);
    let left = paused.deadline.stopped_with().expect("it is stopped");
    assert!(left <= deadline, "{left:?}");
    // Also across a restart of the engine.
    let store = std::sync::Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    let ended = timeout(deadline + deadline / 3, cluster.wait_for_end(id)).await;
    assert!(ended.is_err(), "it ended in the pause: {ended:?}");
    let resumed = cluster.engine.deployments.resume(id, EMAIL).await?;
    assert!(resumed.deadline.falls_at().is_some());
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    cluster.shutdown().await;
    Ok(())
}

fn exceeds_deadline(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<Error>();
    matches!(error, Some(Error::ExceedsDeadline { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_cannot_fit_into_the_deadline_is_refused_with_both_figures() -> Result<()> {
    let deadline = 9 * MINUTE;
    let mut cluster = cluster(deadline, true).await?;
    let deploy = async |cluster: &Cluster, batch: u32| {
        let rolling = ("rolling", json!({ "batch": batch, "settle": "10m" }));
        cluster
            .deploy(("hello", "2.0.0"), PRODUCTION, rolling)
            .await
    };
    let refused = deploy(&cluster, 1).await.unwrap_err();
    let refused = refused.downcast::<Error>()?;
    assert!(
        matches!(refused, Error::ExceedsDeadline { nodes: 2, shortest, deadline: allowed, .. }
            if shortest == 10 * MINUTE && allowed == deadline),
        "{refused:?}"
    );
    assert_eq!(
        refused.to_string(),
        "with 2 nodes, strategy 'rolling' takes at least 10m, and the deadline of environment \
         'production' is 9m"
    );
    assert_eq!(cluster.engine.deployments.open().await?, []);
    // Both nodes at once: there is nothing to wait for.
    let fits = deploy(&cluster, 2).await?;
    assert_eq!(
        cluster.wait_for_end(fits).await?.status(),
        Status::Succeeded
    );
    // One of the registered nodes is gone, so there is only one batch.
    let gone: hotswap_core::NodeId = "production-2".parse()?;
    drop(cluster.nodes.remove(&gone));
    let fits = timeout(MINUTE, async {
        loop {
            let rolling = ("rolling", json!({ "batch": 1, "settle": "10m" }));
            let deployed = cluster.deploy(("hello", "3.0.0"), PRODUCTION, rolling);
            match deployed.await {
                // Its port may answer for a moment yet.
                Err(error) if exceeds_deadline(&error) => sleep(Duration::from_millis(20)).await,
                deployed => break deployed,
            }
        }
    });
    let fits = fits.await??;
    assert_eq!(
        cluster.wait_for_end(fits).await?.status(),
        Status::Succeeded
    );
    cluster.shutdown().await;
    Ok(())
}
