//! A node that moves to another environment runs what that one decided, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::{Environment, EnvironmentEventBody, EventBody, NodeId, Status};
use hotswap_store::EnvironmentJournal;
use hotswap_tests::{Cluster, EMAIL, wait_for_state};
use serde_json::json;

/// Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A cluster with the node `qa-1`, which runs `hello` and `web` 1.0.0.
async fn cluster(environments: &[(&str, usize)]) -> Result<Cluster> {
    let cluster = Cluster::start(environments).await?;
    cluster.upload_samples().await?;
    cluster
        .upload("web", "1.0.0", hotswap_guests::HELLO_V1)
        .await?;
    for module in ["hello", "web"] {
        roll_out(&cluster, (module, "1.0.0"), "qa").await?;
    }
    Ok(cluster)
}

async fn roll_out(cluster: &Cluster, version: (&str, &str), environment: &str) -> Result<()> {
    let direct = ("direct", json!({}));
    cluster.roll_out(version, environment, direct).await?;
    Ok(())
}

/// Starts the node `qa-1` again, for another environment. Returns once it has registered.
async fn move_to(cluster: &mut Cluster, environment: &str) -> Result<()> {
    let (id, environment): (NodeId, Environment) = ("qa-1".parse()?, environment.parse()?);
    let node = cluster.nodes.remove(&id).context("the node has stopped")?;
    node.shutdown().await;
    cluster.start_node(id, environment.clone()).await?;
    let mut reports = cluster.resources.registry.watch_reports();
    let registered = reports.wait_for(|_| {
        let members = cluster.resources.registry.members_of(&environment);
        members
            .iter()
            .any(|member| member.record.id.as_str() == "qa-1")
    });
    tokio::time::timeout(TIMEOUT, registered).await??;
    Ok(())
}

/// What the node reports that it runs, such as `hello 1.0.0`.
fn runs(cluster: &Cluster) -> Vec<String> {
    let id = "qa-1".parse().expect("an id");
    let member = cluster.resources.registry.member(&id);
    let modules = member.and_then(|member| member.modules);
    let running = modules.iter().flat_map(|modules| modules.iter());
    let running = running.filter_map(|(name, module)| {
        let active = module.active.as_ref()?;
        Some(format!("{name} {}", active.version))
    });
    running.collect()
}

async fn wait_until_it_runs(cluster: &Cluster, expected: &[&str]) -> Result<()> {
    let mut reports = cluster.resources.registry.watch_reports();
    let as_expected = reports.wait_for(|_| runs(cluster) == expected);
    let waited = tokio::time::timeout(TIMEOUT, as_expected).await;
    ensure!(waited.is_ok(), "it runs {:?}", runs(cluster));
    Ok(())
}

/// What happened in an environment, such as `moved qa-1`.
async fn events(cluster: &Cluster, environment: &str) -> Result<Vec<EnvironmentEventBody>> {
    let environment: Environment = environment.parse()?;
    let store = &cluster.resources.store;
    let entries = store
        .environment_events_after(Some(&environment), 0, usize::MAX)
        .await?;
    let bodies = entries.into_iter().map(|entry| Ok(entry.event?.body));
    bodies.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_new_environment_has_replaces_what_it_brought() -> Result<()> {
    let mut cluster = cluster(&[("qa", 1), ("production", 1)]).await?;
    roll_out(&cluster, ("hello", "2.0.0"), "production").await?;
    move_to(&mut cluster, "production").await?;
    wait_until_it_runs(&cluster, &["hello 2.0.0"]).await?;
    let events = events(&cluster, "production").await?;
    let moved = EnvironmentEventBody::Moved {
        node: "qa-1".parse()?,
        from: "qa".parse()?,
        modules: vec!["hello".parse()?, "web".parse()?],
    };
    assert_eq!(events.first(), Some(&moved));
    let removed = events.iter().any(|event| match event {
        EnvironmentEventBody::Repaired(repair) => {
            repair.module.as_str() == "web" && repair.to.is_none()
        }
        _ => false,
    });
    assert!(removed, "{events:?}");
    // And back again.
    move_to(&mut cluster, "qa").await?;
    wait_until_it_runs(&cluster, &["hello 1.0.0", "web 1.0.0"]).await?;
    cluster.shutdown().await;
    Ok(())
}

/// It may have been renamed.
#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_has_decided_nothing_leaves_what_nodes_bring() -> Result<()> {
    let mut cluster = cluster(&[("qa", 1)]).await?;
    move_to(&mut cluster, "staging").await?;
    let staging: Environment = "staging".parse()?;
    let placements = cluster.engine.reconciler.placements(&staging).await?;
    assert!(placements.is_empty(), "{placements:?}");
    // What it brought is known to a later engine too.
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    roll_out(&cluster, ("hello", "2.0.0"), "staging").await?;
    wait_until_it_runs(&cluster, &["hello 2.0.0"]).await?;
    cluster.shutdown().await;
    Ok(())
}

/// The rollout neither reverts nor settles a node that another environment decides about.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_rollout_gives_no_orders_to_a_node_that_has_moved() -> Result<()> {
    let mut cluster = cluster(&[("qa", 2), ("production", 1)]).await?;
    roll_out(&cluster, ("hello", "3.0.0"), "production").await?;
    let rolling = ("rolling", json!({ "batch": 1, "settle": "1h" }));
    let id = cluster.deploy(("hello", "2.0.0"), "qa", rolling).await?;
    let deployments = cluster.engine.deployments.clone();
    wait_for_state(&cluster.engine, id, |state| state.waiting_until().is_some()).await?;
    // The first of the plan runs the new version.
    move_to(&mut cluster, "production").await?;
    wait_until_it_runs(&cluster, &["hello 3.0.0"]).await?;
    deployments.abort(id, EMAIL, None).await?;
    let ended = cluster.wait_for_end(id).await?;
    assert_eq!(ended.status(), Status::RolledBack, "{ended:?}");
    let failures = cluster.events(id).await?.into_iter().find_map(|event| {
        let EventBody::Ended { failures, .. } = event.body else {
            return None;
        };
        Some(failures)
    });
    let failures = failures.context("it has ended")?;
    let named: Vec<_> = failures
        .iter()
        .map(|failure| format!("{}: {}", failure.node, failure.error))
        .collect();
    let left = "qa-1: unreachable: it belongs to environment production now";
    assert_eq!(named, [left]);
    assert_eq!(runs(&cluster), ["hello 3.0.0"]);
    cluster.shutdown().await;
    Ok(())
}
