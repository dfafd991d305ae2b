//! What users can do with a deployment: pause, resume, abort, decide, roll back.

use anyhow::Result;
use hotswap_core::{CauseKind, Decision, Deployment, DeploymentId, Status};
use hotswap_runner::deployments::Error;
use hotswap_tests::{Cluster, EMAIL, new_rollback, wait_for_state};
use serde_json::json;

const PRODUCTION: &str = "production";

async fn cluster() -> Result<Cluster> {
    Cluster::start_with_hello(PRODUCTION, 2).await
}

/// Waits until the deployment has this status.
///
/// # Errors
/// If it ends with another.
async fn wait_for_status(cluster: &Cluster, id: DeploymentId, status: Status) -> Result<()> {
    wait_for_state(&cluster.engine, id, |state| state.status() == status).await?;
    Ok(())
}

fn decision(approved: bool) -> Decision {
    Decision {
        approved,
        by: EMAIL.to_owned(),
        comment: Some("looks good".to_owned()),
    }
}

async fn ensure_all_nodes_run(cluster: &Cluster, version: &str) -> Result<()> {
    for (node, running) in cluster.active_versions(PRODUCTION, "hello").await? {
        assert_eq!(running.as_deref(), Some(version), "{node}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn abort_during_a_long_soak_reverts_the_nodes_at_once() -> Result<()> {
    let cluster = cluster().await?;
    let canary = ("canary", json!({ "soak": "1h" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, canary)
        .await?;
    wait_for_state(&cluster.engine, id, |state| state.waiting_until().is_some()).await?;
    cluster
        .engine
        .deployments
        .abort(id, EMAIL, Some("wrong version".to_owned()))
        .await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::RolledBack);
    let cause = state.cause.expect("an aborted deployment has a cause");
    assert_eq!(cause.kind, CauseKind::Abort);
    assert!(cause.message.contains("wrong version") && cause.message.contains(EMAIL));
    ensure_all_nodes_run(&cluster, "1.0.0").await?;
    let second_abort = cluster.engine.deployments.abort(id, EMAIL, None).await;
    assert!(
        matches!(second_abort, Err(Error::IllegalTransition(_))),
        "{second_abort:?}"
    );
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_deployment_stays_paused_after_an_engine_restart() -> Result<()> {
    let mut cluster = cluster().await?;
    let rolling = ("rolling", json!({ "batch": 1, "settle": "3s" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    cluster.engine.deployments.pause(id, EMAIL).await?;
    wait_for_status(&cluster, id, Status::Paused).await?;
    let store = std::sync::Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    assert_eq!(
        cluster.engine.deployments.get(id).await?.status(),
        Status::Paused
    );
    cluster.engine.deployments.resume(id, EMAIL).await?;
    assert_eq!(cluster.wait_for_end(id).await?.status(), Status::Succeeded);
    ensure_all_nodes_run(&cluster, "2.0.0").await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_deployment_of_the_module_is_rejected_and_the_error_names_the_first() -> Result<()>
{
    let cluster = cluster().await?;
    let canary = || ("canary", json!({ "soak": "1h" }));
    let first = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, canary())
        .await?;
    let second = cluster
        .deploy(("hello", "3.0.0"), PRODUCTION, canary())
        .await;
    let error = second.unwrap_err();
    assert!(
        format!("{error:#}").contains(&first.to_string()),
        "{error:#}"
    );
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_waits_for_approval_and_a_rejection_reverts_it() -> Result<()> {
    let cluster = cluster().await?;
    for (approved, version) in [(false, "1.0.0"), (true, "2.0.0")] {
        let blue_green = ("blue-green", json!({ "approval": true, "soak": "1ms" }));
        let id = cluster
            .deploy(("hello", "2.0.0"), PRODUCTION, blue_green)
            .await?;
        wait_for_status(&cluster, id, Status::AwaitingApproval).await?;
        ensure_all_nodes_run(&cluster, "1.0.0").await?;
        cluster
            .engine
            .deployments
            .decide(id, decision(approved))
            .await?;
        let state = cluster.wait_for_end(id).await?;
        assert_eq!(
            state.status() == Status::Succeeded,
            approved,
            "{:?}",
            state.cause
        );
        ensure_all_nodes_run(&cluster, version).await?;
    }
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_deploys_the_previous_version_by_direct() -> Result<()> {
    let cluster = cluster().await?;
    let canary = ("canary", json!({ "soak": "1ms" }));
    let first = cluster
        .roll_out(("hello", "2.0.0"), PRODUCTION, canary)
        .await?;
    let rollback = cluster
        .engine
        .deployments
        .rollback(first.header.id, new_rollback(None)?)
        .await?;
    assert_eq!(rollback.version.to_string(), "1.0.0");
    assert_eq!(rollback.reason, "which its nodes ran before");
    let state = cluster.wait_for_end(rollback.id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    assert_eq!(state.header.strategy.name.as_str(), "direct");
    assert_eq!(state.header.rollback_of, Some(first.header.id));
    ensure_all_nodes_run(&cluster, "1.0.0").await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_during_a_rollout_fails_it_and_all_nodes_are_reverted() -> Result<()> {
    let mut cluster = cluster().await?;
    let rolling = ("rolling", json!({ "batch": 1, "settle": "1s" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    // Until the first batch is updated and the strategy waits before the second.
    wait_for_state(&cluster.engine, id, |state| state.waiting_until().is_some()).await?;
    let second_node = "production-2".parse()?;
    // Dropped without a shutdown: the node ends at once, as if it was killed.
    drop(cluster.nodes.remove(&second_node));
    wait_for_state(&cluster.engine, id, |state| {
        state.status() == Status::RollingBack || state.status().is_final()
    })
    .await?;
    // The node starts again while the engine tries to revert it.
    cluster.start_node(second_node, PRODUCTION.parse()?).await?;
    let state = cluster.wait_for_end(id).await?;
    let outline = hotswap_tests::journal_outline(&cluster.events(id).await?);
    assert!(state.cause.is_some(), "{}", outline.join("\n"));
    ensure_all_nodes_run(&cluster, "1.0.0").await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_past_state_of_a_deployment_can_be_read() -> Result<()> {
    let mut cluster = cluster().await?;
    let canary = ("canary", json!({ "soak": "1ms" }));
    let first = cluster
        .roll_out(("hello", "2.0.0"), PRODUCTION, canary)
        .await?;
    let id = first.header.id;
    let events = cluster.events(id).await?;
    let deployments = cluster.engine.deployments.clone();
    for next_seq in 1..=events.len() {
        let state = deployments.at(id, next_seq as u64).await?;
        assert_eq!(state, Deployment::fold(&events[..next_seq])?, "{next_seq}");
    }
    let after_the_end = deployments.at(id, first.next_seq + 1).await?;
    assert_eq!(after_the_end, deployments.get(id).await?);
    let before_the_start = deployments.at(id, 0).await;
    assert!(
        matches!(before_the_start, Err(Error::IllegalTransition(_))),
        "{before_the_start:?}"
    );
    let unknown_id = DeploymentId::generate();
    let unknown = deployments.at(unknown_id, 1).await;
    assert!(
        matches!(unknown, Err(Error::Unknown(id)) if id == unknown_id),
        "{unknown:?}"
    );

    // The tail of all deployments has the same events.
    let position = deployments.position().await?;
    assert_eq!(Some(position), events.last().map(|event| event.position));
    let before = events[0].position - 1;
    let tail = deployments.tail(before, usize::MAX).await?;
    assert!(tail.iter().all(|entry| entry.deployment == id));
    assert!(
        tail.into_iter()
            .filter_map(|entry| entry.event.ok())
            .eq(events)
    );
    assert_eq!(deployments.tail(position, 1).await?, []);
    let epoch = deployments.epoch();
    let store = std::sync::Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    assert_eq!(cluster.engine.deployments.epoch(), epoch);
    cluster.shutdown().await;
    Ok(())
}
