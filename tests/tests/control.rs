//! What people can ask of a running deployment: pause, resume, abort, decide, roll back.

use std::time::Duration;

use anyhow::Result;
use hotswap_core::{CauseKind, Decision, Deployment, DeploymentId, Status};
use hotswap_runner::deployments::Error;
use hotswap_tests::{Cluster, EMAIL};
use serde_json::json;

const PRODUCTION: &str = "production";

async fn cluster() -> Result<Cluster> {
    let cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    cluster.upload_samples().await?;
    cluster
        .rolled_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    Ok(cluster)
}

/// Waits until the deployment has the status.
async fn reaches(cluster: &Cluster, id: DeploymentId, status: Status) -> Result<()> {
    loop {
        let state = cluster.engine.deployments.get(id).await?;
        if state.status() == status {
            return Ok(());
        }
        assert!(
            !state.status().is_final(),
            "{:?} {:?}",
            state.status(),
            state.cause
        );
        let wait = Duration::from_secs(30);
        cluster
            .engine
            .deployments
            .events(id, state.next_seq, 1, wait)
            .await?;
    }
}

fn decision(approved: bool) -> Decision {
    Decision {
        approved,
        by: EMAIL.to_owned(),
        comment: Some("seen it".to_owned()),
    }
}

async fn all_run(cluster: &Cluster, version: &str) -> Result<()> {
    for (node, running) in cluster.running(PRODUCTION, "hello").await? {
        assert_eq!(running.as_deref(), Some(version), "{node}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_in_a_long_soak_puts_the_nodes_back_at_once() -> Result<()> {
    let cluster = cluster().await?;
    let canary = ("canary", json!({ "soak": "1h" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, canary)
        .await?;
    loop {
        let state = cluster.engine.deployments.get(id).await?;
        if state.waiting_until.is_some() {
            break;
        }
        let wait = Duration::from_secs(30);
        cluster
            .engine
            .deployments
            .events(id, state.next_seq, 1, wait)
            .await?;
    }
    cluster
        .engine
        .deployments
        .abort(id, EMAIL, Some("wrong version".to_owned()))
        .await?;
    let state = cluster.ended(id).await?;
    assert_eq!(state.status(), Status::RolledBack);
    let cause = state.cause.expect("a cause");
    assert_eq!(cause.kind, CauseKind::Abort);
    assert!(cause.message.contains("wrong version") && cause.message.contains(EMAIL));
    all_run(&cluster, "1.0.0").await?;
    let again = cluster.engine.deployments.abort(id, EMAIL, None).await;
    assert!(
        matches!(again, Err(Error::IllegalTransition(_))),
        "{again:?}"
    );
    cluster.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_the_next_call_and_outlives_the_engine() -> Result<()> {
    let mut cluster = cluster().await?;
    let rolling = ("rolling", json!({ "batch": 1, "settle": "3s" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    cluster.engine.deployments.pause(id, EMAIL).await?;
    reaches(&cluster, id, Status::Paused).await?;
    let store = std::sync::Arc::new(cluster.core.store.clone());
    cluster.restart(store).await?;
    assert_eq!(
        cluster.engine.deployments.get(id).await?.status(),
        Status::Paused
    );
    cluster.engine.deployments.resume(id, EMAIL).await?;
    assert_eq!(cluster.ended(id).await?.status(), Status::Succeeded);
    all_run(&cluster, "2.0.0").await?;
    cluster.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_deployment_is_refused_and_names_the_first() -> Result<()> {
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
    cluster.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_waited_for_and_a_rejection_reverts() -> Result<()> {
    let cluster = cluster().await?;
    for (approved, version) in [(false, "1.0.0"), (true, "2.0.0")] {
        let asking = ("blue-green", json!({ "approval": true, "soak": "1ms" }));
        let id = cluster
            .deploy(("hello", "2.0.0"), PRODUCTION, asking)
            .await?;
        reaches(&cluster, id, Status::AwaitingApproval).await?;
        all_run(&cluster, "1.0.0").await?;
        cluster
            .engine
            .deployments
            .decide(id, decision(approved))
            .await?;
        let state = cluster.ended(id).await?;
        assert_eq!(
            state.status() == Status::Succeeded,
            approved,
            "{:?}",
            state.cause
        );
        all_run(&cluster, version).await?;
    }
    cluster.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_brings_the_version_before_back_directly() -> Result<()> {
    let cluster = cluster().await?;
    let canary = ("canary", json!({ "soak": "1ms" }));
    let done = cluster
        .rolled_out(("hello", "2.0.0"), PRODUCTION, canary)
        .await?;
    let requester = hotswap_core::Requester {
        email: EMAIL.to_owned(),
        subject: EMAIL.to_owned(),
    };
    let back = cluster
        .engine
        .deployments
        .rollback(done.header.id, requester, None, None)
        .await?;
    let state = cluster.ended(back).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    assert_eq!(state.header.strategy.name.as_str(), "direct");
    assert_eq!(state.header.rollback_of, Some(done.header.id));
    all_run(&cluster, "1.0.0").await?;
    cluster.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_in_mid_rollout_fails_it_and_the_others_go_back() -> Result<()> {
    let mut cluster = cluster().await?;
    let rolling = ("rolling", json!({ "batch": 1, "settle": "1s" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    loop {
        // The first batch is done, and the strategy waits before the second.
        let state = cluster.engine.deployments.get(id).await?;
        if state.waiting_until.is_some() {
            break;
        }
        let wait = Duration::from_secs(30);
        let deployments = &cluster.engine.deployments;
        deployments.events(id, state.next_seq, 1, wait).await?;
    }
    let second = "production-2".parse()?;
    // Dropped, not shut down: it ends at once, as if it had been killed.
    drop(cluster.nodes.remove(&second));
    let deployments = cluster.engine.deployments.clone();
    loop {
        let state = deployments.get(id).await?;
        if state.status() == Status::RollingBack || state.status().is_final() {
            break;
        }
        deployments
            .events(id, state.next_seq, 1, Duration::from_secs(30))
            .await?;
    }
    // It comes back while the engine tries to put it back.
    cluster.start_node(second, PRODUCTION.parse()?).await?;
    let state = cluster.ended(id).await?;
    let told = hotswap_tests::outline(&cluster.journal(id).await?);
    assert!(state.cause.is_some(), "{}", told.join("\n"));
    all_run(&cluster, "1.0.0").await?;
    cluster.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_of_a_deployment_can_be_read_again() -> Result<()> {
    let mut cluster = cluster().await?;
    let canary = ("canary", json!({ "soak": "1ms" }));
    let done = cluster
        .rolled_out(("hello", "2.0.0"), PRODUCTION, canary)
        .await?;
    let id = done.header.id;
    let events = cluster.journal(id).await?;
    let deployments = cluster.engine.deployments.clone();
    for next in 1..=events.len() {
        let then = deployments.at(id, next as u64).await?;
        assert_eq!(then, Deployment::fold(&events[..next])?, "{next}");
    }
    let beyond = deployments.at(id, done.next_seq + 1).await?;
    assert_eq!(beyond, deployments.get(id).await?);
    let nothing = deployments.at(id, 0).await;
    assert!(
        matches!(nothing, Err(Error::IllegalTransition(_))),
        "{nothing:?}"
    );
    let nobody = DeploymentId::generate();
    let unknown = deployments.at(nobody, 1).await;
    assert!(
        matches!(unknown, Err(Error::Unknown(id)) if id == nobody),
        "{unknown:?}"
    );

    // The tail of all has it, after the one before it.
    let position = deployments.position().await?;
    assert_eq!(Some(position), events.last().map(|event| event.position));
    let before = events[0].position - 1;
    let tail = deployments.tail(before, usize::MAX).await?;
    assert!(tail.iter().all(|entry| entry.deployment == id));
    assert!(tail.into_iter().map(|entry| entry.event).eq(events));
    assert_eq!(deployments.tail(position, 1).await?, []);
    let epoch = deployments.epoch().to_owned();
    let store = std::sync::Arc::new(cluster.core.store.clone());
    cluster.restart(store).await?;
    assert_eq!(cluster.engine.deployments.epoch(), epoch);
    cluster.stop().await;
    Ok(())
}
