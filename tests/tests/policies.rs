//! What the policy of an environment says is kept, whatever a strategy does.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use hotswap_core::{
    Amount, CauseKind, Deployment, DeploymentId, NodeId, NodePhase, Policy, Status,
};
use hotswap_runner::deployments::Preview;
use hotswap_store::Query;
use hotswap_tests::{Cluster, EMAIL, new_deployment, wait_for_state};
use serde_json::json;

const PRODUCTION: &str = "production";

/// A cluster that runs `hello` 1.0.0, with this many nodes.
async fn cluster(nodes: usize, change: impl FnOnce(&mut Policy)) -> Result<Cluster> {
    let mut policy = Policy::default_for(&PRODUCTION.parse()?);
    change(&mut policy);
    let policies = BTreeMap::from([(PRODUCTION.parse()?, policy)]);
    let cluster = Cluster::start_with_policies(&[(PRODUCTION, nodes)], policies).await?;
    cluster.upload_samples().await?;
    let strategies = &cluster.engine.strategies;
    strategies
        .upload(hotswap_guests::HOSTILE.to_vec(), EMAIL)
        .await?;
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    Ok(cluster)
}

/// Ends a node at once, as if it was killed.
fn kill(cluster: &mut Cluster, number: u32) -> Result<NodeId> {
    let id: NodeId = format!("{PRODUCTION}-{number}").parse()?;
    drop(cluster.nodes.remove(&id).context("no such node")?);
    Ok(id)
}

async fn run(cluster: &Cluster, strategy: &str, config: serde_json::Value) -> Result<Deployment> {
    let strategy = (strategy, config);
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, strategy)
        .await?;
    cluster.wait_for_end(id).await
}

/// The version that should run, as the cluster's page says.
async fn claimed(cluster: &Cluster) -> Result<String> {
    let deployments = &cluster.engine.deployments;
    let current = deployments.current(&PRODUCTION.parse()?).await?;
    Ok(current[0].module.version.to_string())
}

async fn found(cluster: &Cluster, status: Status) -> Result<Vec<DeploymentId>> {
    let query = Query {
        status: Some(status),
        limit: 9,
        ..Query::default()
    };
    let (found, _) = cluster.engine.deployments.list(&query).await?;
    Ok(found.iter().map(|summary| summary.id).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strategy_that_does_nothing_does_not_succeed() -> Result<()> {
    let cluster = cluster(2, |_| {}).await?;
    let state = run(&cluster, "hostile", json!({ "attack": "nothing" })).await?;
    assert_eq!(state.status(), Status::Failed);
    let cause = state.cause.context("no cause")?;
    assert_eq!(cause.kind, CauseKind::Policy);
    assert_eq!(
        cause.message,
        "the strategy ended without an error, but 2 of 2 nodes do not run hello 2.0.0: \
         production-1 (it runs 1.0.0), production-2 (it runs 1.0.0); the policy of production \
         tolerates 0"
    );
    assert_eq!(claimed(&cluster).await?, "1.0.0");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_a_strategy_leaves_out_make_a_partial_success_or_none() -> Result<()> {
    for (tolerated, status, claims) in [
        (Amount::Count(1), Status::Partial, "2.0.0"),
        (Amount::Count(0), Status::RolledBack, "1.0.0"),
    ] {
        let cluster = cluster(2, |policy| policy.tolerated_failures = tolerated).await?;
        // Updates the first node alone.
        let state = run(&cluster, "hostile", json!({ "attack": "replay-a" })).await?;
        assert_eq!(state.status(), status, "{:?}", state.cause);
        assert_eq!(claimed(&cluster).await?, claims);
        let is_partial = status == Status::Partial;
        let not_updated = state
            .not_updated
            .iter()
            .map(|failure| failure.node.as_str());
        let expected = ["production-2"].into_iter().take(is_partial.into());
        assert!(not_updated.eq(expected), "{:?}", state.not_updated);
        let id = state.header.id;
        assert_eq!(
            found(&cluster, Status::Partial).await?.contains(&id),
            is_partial
        );
        assert!(!found(&cluster, Status::Succeeded).await?.contains(&id));
        // It says what should run, so it stays.
        assert_eq!(
            cluster.engine.deployments.delete(id).await.is_err(),
            is_partial
        );
        cluster.shutdown().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_is_left_behind_where_the_policy_tolerates_it() -> Result<()> {
    let mut cluster = cluster(4, |policy| policy.tolerated_failures = Amount::Percent(25)).await?;
    let rolling = ("rolling", json!({ "batch": 1, "settle": "1s" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    wait_for_state(&cluster.engine, id, |state| state.waiting_until().is_some()).await?;
    let dead = kill(&mut cluster, 3)?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::Partial, "{:?}", state.cause);
    assert_eq!(state.nodes[&dead].phase, NodePhase::Failed);
    let versions = cluster.active_versions(PRODUCTION, "hello").await?;
    let updated = versions
        .values()
        .flatten()
        .filter(|version| *version == "2.0.0");
    assert_eq!(updated.count(), 3, "{versions:?}");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_nodes_use_up_what_may_be_unavailable() -> Result<()> {
    let mut cluster = cluster(4, |policy| policy.max_unavailable = Amount::Percent(25)).await?;
    let dead = kill(&mut cluster, 2)?;
    let state = run(&cluster, "direct", json!({})).await?;
    assert_eq!(state.status(), Status::Failed);
    let cause = state.cause.context("no cause")?;
    assert_eq!(cause.kind, CauseKind::Policy);
    assert!(
        cause.message.starts_with(
            "1 of 4 nodes of production do not serve (production-2), and its policy allows 1"
        ),
        "{}",
        cause.message
    );
    // Once it is removed, the environment has three nodes, and all of them serve.
    cluster.resources.registry.deregister(&dead).await?;
    let state = run(&cluster, "direct", json!({})).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_left_out_is_named_and_the_policy_says_how_many_may_be() -> Result<()> {
    let mut cluster = cluster(4, |policy| policy.max_missing = Amount::Percent(25)).await?;
    let first = kill(&mut cluster, 2)?;
    let state = run(&cluster, "direct", json!({})).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    assert_eq!(state.missing.len(), 1);
    assert_eq!(state.missing[0].node, first);
    let reason = state.missing[0].error.to_string();
    assert!(reason.contains("it does not answer"), "{reason}");
    let second = kill(&mut cluster, 4)?;
    let state = run(&cluster, "direct", json!({})).await?;
    assert_eq!(state.status(), Status::Failed);
    let message = state.cause.context("no cause")?.message;
    assert!(
        message.contains("its policy allows 1 (maxMissing)"),
        "{message}"
    );
    assert!(message.contains(second.as_str()), "{message}");
    cluster.shutdown().await;
    Ok(())
}

async fn preview(cluster: &Cluster) -> Result<Preview> {
    let new = new_deployment(("hello", "2.0.0"), PRODUCTION, ("direct", json!({})))?;
    Ok(cluster.engine.deployments.preview(new).await?)
}

/// How many nodes each call of the strategy changes at once, and whether it would be refused.
fn changes(preview: &Preview) -> Vec<(&'static str, usize, bool)> {
    let steps = preview.steps.iter();
    let changes = steps.filter_map(|previewed| {
        let name = previewed.step.call.name();
        Some((name, previewed.at_once?, previewed.refused.is_some()))
    });
    changes.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_shows_what_the_policy_makes_of_each_call() -> Result<()> {
    let cluster = cluster(4, |policy| policy.max_unavailable = Amount::Count(2)).await?;
    let shown = preview(&cluster).await?;
    let two_at_once = [("fleet.stage", 2, false), ("fleet.promote", 2, false)];
    assert_eq!(changes(&shown), two_at_once);
    assert_eq!(shown.problems, Vec::<String>::new());

    let nodes = &cluster.engine.nodes;
    let drain = |number: u32| {
        let id: NodeId = format!("{PRODUCTION}-{number}").parse().expect("an id");
        async move { nodes.drain(&id, EMAIL.to_owned(), None, true).await }
    };
    drain(1).await?;
    let shown = preview(&cluster).await?;
    assert_eq!(
        changes(&shown),
        [("fleet.stage", 1, false), ("fleet.promote", 1, false)]
    );

    drain(2).await?;
    let shown = preview(&cluster).await?;
    assert_eq!(
        changes(&shown),
        [("fleet.stage", 0, true), ("fleet.promote", 0, true)]
    );
    let [problem] = &shown.problems[..] else {
        anyhow::bail!("{:?}", shown.problems);
    };
    // As it then happens.
    let state = run(&cluster, "direct", json!({})).await?;
    let cause = state.cause.context("no cause")?;
    assert_eq!((cause.kind, &cause.message), (CauseKind::Policy, problem));
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_shows_a_call_that_would_end_the_deployment() -> Result<()> {
    let cluster = cluster(2, |_| ()).await?;
    let attack = ("hostile", json!({ "attack": "foreign-node" }));
    let new = new_deployment(("hello", "2.0.0"), PRODUCTION, attack)?;
    let shown = cluster.engine.deployments.preview(new.clone()).await?;
    let refused = shown.steps.iter().find_map(|step| step.refused.clone());
    let refused = refused.context("no step is refused")?;
    assert!(shown.problems.contains(&refused), "{:?}", shown.problems);
    let id = cluster.engine.deployments.create(new).await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.cause.context("no cause")?.message, refused);
    cluster.shutdown().await;
    Ok(())
}
