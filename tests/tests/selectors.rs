//! Deployments to a part of an environment, and environments that nodes belong to by their labels.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use hotswap_core::{Decision, Environment, Health, NodeId, Selector, Status};
use hotswap_runner::deployments::{Error, UndoTarget};
use hotswap_runner::{NewDeployment, NewRetry, NewUndo};
use hotswap_tests::{Cluster, EMAIL, new_deployment, new_rollback, requester, wait_for_state};
use serde_json::json;

const PRODUCTION: &str = "production";
/// Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

fn production() -> Environment {
    PRODUCTION.parse().expect("a valid name")
}

/// Starts a node whose zone is the start of its name: `eu-1`.
async fn start_node(cluster: &mut Cluster, id: &str) -> Result<()> {
    start_in_zone(cluster, id, &id[..2]).await
}

async fn start_in_zone(cluster: &mut Cluster, id: &str, zone: &str) -> Result<()> {
    let labels = BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
    cluster
        .start_node_with(id.parse()?, production(), |config| config.labels = labels)
        .await
}

async fn stop_node(cluster: &mut Cluster, id: &str) -> Result<()> {
    let id: NodeId = id.parse()?;
    let node = cluster.nodes.remove(&id);
    ensure!(node.is_some(), "{id} does not run");
    if let Some(node) = node {
        node.shutdown().await;
    }
    Ok(())
}

/// Nodes `eu-1`, `eu-2` and `us-1`, without a module.
async fn cluster() -> Result<Cluster> {
    let mut cluster = Cluster::start(&[]).await?;
    cluster.upload_samples().await?;
    for id in ["eu-1", "eu-2", "us-1"] {
        start_node(&mut cluster, id).await?;
    }
    cluster.wait_for_nodes().await?;
    Ok(cluster)
}

fn selected_deployment(version: &str, selector: Option<&str>) -> Result<NewDeployment> {
    Ok(NewDeployment {
        selector: selector.map(str::parse).transpose()?,
        ..new_deployment(("hello", version), PRODUCTION, ("direct", json!({})))?
    })
}

async fn roll_out(
    cluster: &Cluster,
    version: &str,
    selector: Option<&str>,
) -> Result<hotswap_core::Deployment> {
    let new = selected_deployment(version, selector)?;
    let id = cluster.engine.deployments.create(new).await?;
    let state = cluster.wait_for_end(id).await?;
    ensure!(state.status() == Status::Succeeded, "{:?}", state.cause);
    Ok(state)
}

/// Waits until the nodes run these versions, and no other node is known.
async fn wait_for_versions(cluster: &Cluster, expected: &[(&str, Option<&str>)]) -> Result<()> {
    let expected: BTreeMap<NodeId, Option<String>> = expected
        .iter()
        .map(|(id, version)| Ok((id.parse()?, version.map(str::to_owned))))
        .collect::<Result<_>>()?;
    cluster
        .wait_for_versions(PRODUCTION, "hello", &expected)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_selected_nodes_are_planned_and_newcomers_get_what_their_labels_say() -> Result<()> {
    let mut cluster = cluster().await?;
    roll_out(&cluster, "1.0.0", None).await?;
    let state = roll_out(&cluster, "2.0.0", Some("zone=eu")).await?;
    let planned: Vec<_> = state.nodes.keys().map(NodeId::as_str).collect();
    assert_eq!(planned, ["eu-1", "eu-2"]);
    assert!(
        state.missing.is_empty(),
        "what is not selected is not missing"
    );
    start_node(&mut cluster, "eu-3").await?;
    start_node(&mut cluster, "us-2").await?;
    let (one, two) = (Some("1.0.0"), Some("2.0.0"));
    let expected = [
        ("eu-1", two),
        ("eu-2", two),
        ("eu-3", two),
        ("us-1", one),
        ("us-2", one),
    ];
    wait_for_versions(&cluster, &expected).await?;

    // A success for all nodes ends what was decided for some.
    roll_out(&cluster, "3.0.0", None).await?;
    start_node(&mut cluster, "eu-4").await?;
    let three = Some("3.0.0");
    let expected = ["eu-1", "eu-2", "eu-3", "eu-4", "us-1", "us-2"].map(|id| (id, three));
    wait_for_versions(&cluster, &expected).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_labels_change_gets_what_they_say_now() -> Result<()> {
    let mut cluster = cluster().await?;
    roll_out(&cluster, "1.0.0", None).await?;
    roll_out(&cluster, "2.0.0", Some("zone=eu")).await?;
    stop_node(&mut cluster, "us-1").await?;
    start_in_zone(&mut cluster, "us-1", "eu").await?;
    stop_node(&mut cluster, "eu-2").await?;
    start_in_zone(&mut cluster, "eu-2", "us").await?;
    let (one, two) = (Some("1.0.0"), Some("2.0.0"));
    wait_for_versions(&cluster, &[("eu-1", two), ("eu-2", one), ("us-1", two)]).await?;

    // Retired means retired everywhere, until something is deployed again.
    let (production, hello) = (production(), "hello".parse()?);
    let reconciler = cluster.engine.reconciler.clone();
    reconciler
        .retire(&production, &hello, "ada".to_owned(), None)
        .await?;
    wait_for_versions(&cluster, &[("eu-1", None), ("eu-2", None), ("us-1", None)]).await?;
    roll_out(&cluster, "3.0.0", Some("zone=us")).await?;
    let three = Some("3.0.0");
    wait_for_versions(&cluster, &[("eu-1", None), ("eu-2", three), ("us-1", None)]).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_goes_back_on_the_selected_nodes_alone() -> Result<()> {
    let cluster = cluster().await?;
    roll_out(&cluster, "1.0.0", None).await?;
    roll_out(&cluster, "3.0.0", Some("zone=us")).await?;
    let europe = roll_out(&cluster, "2.0.0", Some("zone=eu")).await?;
    let deployments = &cluster.engine.deployments;
    let back = deployments
        .rollback(europe.header.id, new_rollback(None)?)
        .await?;
    assert_eq!(back.version.to_string(), "1.0.0");
    let state = cluster.wait_for_end(back.id).await?;
    assert_eq!(state.header.selector, europe.header.selector);
    let (one, three) = (Some("1.0.0"), Some("3.0.0"));
    wait_for_versions(&cluster, &[("eu-1", one), ("eu-2", one), ("us-1", three)]).await?;
    let forth = deployments
        .rollback(back.id, new_rollback(Some("3.0.0"))?)
        .await?;
    cluster.wait_for_end(forth.id).await?;
    let everywhere = ["eu-1", "eu-2", "us-1"].map(|id| (id, three));
    wait_for_versions(&cluster, &everywhere).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_of_the_policy_are_of_the_selected_nodes_dead_ones_included() -> Result<()> {
    let mut cluster = cluster().await?;
    stop_node(&mut cluster, "eu-2").await?;
    let id: NodeId = "eu-2".parse()?;
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while cluster.resources.registry.member(&id).map(|it| it.health) != Some(Health::Critical) {
        ensure!(tokio::time::Instant::now() < deadline, "eu-2 is not gone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // One of two is half of them, which is all that may be unavailable; of three it is not.
    let new = selected_deployment("1.0.0", Some("zone=eu"))?;
    let preview = cluster.engine.deployments.preview(new.clone()).await?;
    let expected = "1 of 2 nodes of production (zone=eu) do not serve (eu-2)";
    assert!(
        preview.problems[0].contains(expected),
        "{:?}",
        preview.problems
    );
    let failed = cluster.engine.deployments.create(new).await?;
    let failed = cluster.wait_for_end(failed).await?;
    let message = failed.cause.map(|cause| cause.message).unwrap_or_default();
    assert!(message.contains(expected), "{message}");
    let all = cluster
        .engine
        .deployments
        .preview(selected_deployment("1.0.0", None)?);
    assert_eq!(all.await?.problems, Vec::<String>::new());

    let nowhere = selected_deployment("1.0.0", Some("zone=asia"))?;
    let refused = cluster.engine.deployments.create(nowhere).await;
    let Err(Error::NoneSelected { labels, .. }) = refused else {
        anyhow::bail!("{refused:?}");
    };
    assert_eq!(labels, ["zone=eu", "zone=us"]);
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_goes_back_on_the_nodes_of_the_last_success_alone() -> Result<()> {
    let cluster = cluster().await?;
    roll_out(&cluster, "1.0.0", None).await?;
    roll_out(&cluster, "2.0.0", Some("zone=eu")).await?;
    let america = roll_out(&cluster, "3.0.0", Some("zone=us")).await?;
    let undo = |to: Option<UndoTarget>| NewUndo {
        module: "hello".parse().expect("a name"),
        environment: production(),
        requester: requester(),
        to,
        idempotency_key: None,
    };
    let deployments = &cluster.engine.deployments;
    let undone = deployments.undo(undo(None)).await?;
    assert_eq!(undone.version.to_string(), "1.0.0", "{}", undone.reason);
    let state = cluster.wait_for_end(undone.id).await?;
    assert_eq!(state.header.selector, america.header.selector);
    let (one, two) = (Some("1.0.0"), Some("2.0.0"));
    wait_for_versions(&cluster, &[("eu-1", two), ("eu-2", two), ("us-1", one)]).await?;
    // One that is named is for the nodes that it was for.
    let named = UndoTarget::Deployment(america.header.id);
    let redone = deployments.undo(undo(Some(named))).await?;
    let state = cluster.wait_for_end(redone.id).await?;
    assert_eq!(state.header.selector, america.header.selector);
    let three = Some("3.0.0");
    wait_for_versions(&cluster, &[("eu-1", two), ("eu-2", two), ("us-1", three)]).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_for_the_nodes_of_the_first_attempt() -> Result<()> {
    let cluster = cluster().await?;
    roll_out(&cluster, "1.0.0", None).await?;
    let rejected = NewDeployment {
        require_approval: true,
        ..selected_deployment("2.0.0", Some("zone=eu"))?
    };
    let deployments = &cluster.engine.deployments;
    let first = deployments.create(rejected).await?;
    deployments.abort(first, EMAIL, None).await?;
    let first = cluster.wait_for_end(first).await?;
    let new = NewRetry {
        requester: requester(),
        idempotency_key: None,
    };
    let retry = deployments.create_retry(first.header.id, new).await?;
    let approved = Decision {
        approved: true,
        by: EMAIL.to_owned(),
        comment: None,
    };
    wait_for_state(&cluster.engine, retry.id, |state| {
        state.status() == Status::AwaitingApproval
    })
    .await?;
    deployments.decide(retry.id, approved).await?;
    let state = cluster.wait_for_end(retry.id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    assert_eq!(state.header.selector, first.header.selector);
    let planned: Vec<_> = state.nodes.keys().map(NodeId::as_str).collect();
    assert_eq!(planned, ["eu-1", "eu-2"]);
    let (one, two) = (Some("1.0.0"), Some("2.0.0"));
    wait_for_versions(&cluster, &[("eu-1", two), ("eu-2", two), ("us-1", one)]).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_supersedes_one_to_other_nodes() -> Result<()> {
    let cluster = cluster().await?;
    roll_out(&cluster, "1.0.0", None).await?;
    let slow = NewDeployment {
        strategy: Some("rolling".parse()?),
        config: Some(json!({ "batch": 1, "settle": "1h" })),
        ..selected_deployment("2.0.0", Some("zone=eu"))?
    };
    let deployments = &cluster.engine.deployments;
    let europe = deployments.create(slow).await?;
    wait_for_state(&cluster.engine, europe, |state| state.lifecycle.waiting).await?;
    let urgent = NewDeployment {
        supersede: true,
        ..selected_deployment("3.0.0", Some("zone=us"))?
    };
    let america = deployments.create(urgent).await?;
    let europe = cluster.wait_for_end(europe).await?;
    assert_eq!(europe.status(), Status::RolledBack);
    let america = cluster.wait_for_end(america).await?;
    assert_eq!(america.status(), Status::Succeeded, "{:?}", america.cause);
    assert_eq!(america.header.supersedes, Some(europe.header.id));
    let planned: Vec<_> = america.nodes.keys().map(NodeId::as_str).collect();
    assert_eq!(planned, ["us-1"]);
    let (one, three) = (Some("1.0.0"), Some("3.0.0"));
    wait_for_versions(&cluster, &[("eu-1", one), ("eu-2", one), ("us-1", three)]).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_without_an_environment_join_the_one_that_selects_them() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    let selectors: [(&str, &str); 2] = [("edge", "tier=edge"), ("production", "zone in (eu,us)")];
    let selectors = selectors.map(|(name, selector)| -> Result<(Environment, Selector)> {
        Ok((name.parse()?, selector.parse()?))
    });
    let selectors = selectors.into_iter().collect::<Result<_>>()?;
    let environments = cluster.resources.environments.clone();
    cluster.resources.environments = environments.with_selectors(selectors);
    let store = std::sync::Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    cluster.upload_samples().await?;
    let start = async |cluster: &mut Cluster, id: &str, labels: &[(&str, &str)]| {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let labels = labels.iter().map(own).collect();
        let change = |config: &mut hotswap_node::Config| {
            config.environment = None;
            config.labels = labels;
        };
        cluster
            .start_node_with(id.parse()?, production(), change)
            .await
    };
    start(&mut cluster, "a", &[("zone", "eu")]).await?;
    start(&mut cluster, "b", &[("tier", "edge")]).await?;
    cluster.wait_for_nodes().await?;
    let registry = cluster.resources.registry.clone();
    let environment_of = |id: &str| -> Result<Option<String>> {
        let member = registry.member(&id.parse()?);
        Ok(member.map(|member| member.record.environment.to_string()))
    };
    assert_eq!(environment_of("a")?.as_deref(), Some("production"));
    assert_eq!(environment_of("b")?.as_deref(), Some("edge"));
    roll_out(&cluster, "1.0.0", None).await?;
    wait_for_versions(&cluster, &[("a", Some("1.0.0"))]).await?;

    // Two select it: it is refused until its labels or the selectors change.
    start(&mut cluster, "c", &[("zone", "us"), ("tier", "edge")]).await?;
    stop_node(&mut cluster, "b").await?;
    start(&mut cluster, "b", &[("zone", "us")]).await?;
    wait_for_versions(&cluster, &[("a", Some("1.0.0")), ("b", Some("1.0.0"))]).await?;
    assert_eq!(environment_of("c")?, None);
    cluster.shutdown().await;
    Ok(())
}
