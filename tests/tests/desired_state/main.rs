//! Every node comes to run what was decided, whenever it joins or comes back.

mod fleet;
mod local_faults;
mod planned_nodes;
mod probed_nodes;
mod readiness;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::{Decision, Deployment, Environment, Health, NodePhase, Policy, Status};
use hotswap_runner::reconciler::{NextStep, RetireError};
use hotswap_tests::{Cluster, InterceptedFleet, wait_for_state};
use serde_json::json;

use crate::fleet::*;
use crate::probed_nodes::ProbedNodes;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_later_gets_what_runs() -> Result<()> {
    let mut cluster = cluster().await?;
    start_node(&mut cluster, 3).await?;
    let one = Some("1.0.0");
    wait_for_versions(&cluster, &[(1, one), (2, one), (3, one)]).await?;
    let repairs = repairs_of(&cluster, 3).await?;
    assert_eq!(
        repairs.first().map(String::as_str),
        Some("repairing none 1.0.0")
    );
    assert_eq!(repairs_of(&cluster, 1).await?, Vec::<String>::new());
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_was_wiped_gets_what_runs() -> Result<()> {
    let mut cluster = cluster().await?;
    stop_node(&mut cluster, 2).await?;
    std::fs::remove_dir_all(cluster.node_dir(&node(2)))?;
    start_node(&mut cluster, 2).await?;
    let one = Some("1.0.0");
    wait_for_versions(&cluster, &[(1, one), (2, one)]).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_during_a_rollout_is_updated_when_it_comes_back() -> Result<()> {
    let mut cluster = cluster().await?;
    // Of three, the policy lets one be away and one change.
    start_node(&mut cluster, 3).await?;
    let one = Some("1.0.0");
    wait_for_versions(&cluster, &[(1, one), (2, one), (3, one)]).await?;
    stop_node(&mut cluster, 2).await?;
    wait_for_health(&cluster, 2, Health::Critical).await?;
    roll_out(&cluster, "2.0.0").await?;
    let placements = cluster.engine.reconciler.placements(&production()).await?;
    let away = &placements[&node(2)][&hello()];
    assert_eq!(away.next, NextStep::Unreachable);
    start_node(&mut cluster, 2).await?;
    let two = Some("2.0.0");
    wait_for_versions(&cluster, &[(1, two), (2, two), (3, two)]).await?;
    let repairs = repairs_of(&cluster, 2).await?;
    assert_eq!(repairs[0], "repairing 1.0.0 2.0.0");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_during_a_rollout_gets_the_version_before_and_then_the_new_one()
-> Result<()> {
    let mut cluster = cluster().await?;
    let blue_green = ("blue-green", json!({ "approval": true, "soak": "0s" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, blue_green)
        .await?;
    wait_for_state(&cluster.engine, id, |state| state.question.is_some()).await?;
    start_node(&mut cluster, 3).await?;
    let (one, two) = (Some("1.0.0"), Some("2.0.0"));
    wait_for_versions(&cluster, &[(1, one), (2, one), (3, one)]).await?;
    // It runs the version before its repair has ended, and before it has reported that.
    wait_for_next(&cluster, 3, &NextStep::None).await?;
    wait_for_next(&cluster, 1, &NextStep::Deployment(id)).await?;
    let approved = Decision {
        approved: true,
        by: "ada".to_owned(),
        comment: None,
    };
    cluster.engine.deployments.decide(id, approved).await?;
    wait_for_versions(&cluster, &[(1, two), (2, two), (3, two)]).await?;
    assert_eq!(cluster.wait_for_end(id).await?.status(), Status::Succeeded);
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_probes_as_the_deployment_did() -> Result<()> {
    let mut cluster = cluster().await?;
    let fleet = InterceptedFleet::new(Arc::clone(&cluster.resources.fleet), ProbedNodes::default());
    cluster.resources.fleet = Arc::clone(&fleet) as Arc<_>;
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    start_node(&mut cluster, 3).await?;
    let one = Some("1.0.0");
    wait_for_versions(&cluster, &[(1, one), (2, one), (3, one)]).await?;
    assert!(fleet.take().is_empty(), "`direct` did not probe");
    let probe = json!({ "probe": { "timeout": "30s" }, "soak": "1ms" });
    cluster
        .roll_out(("hello", "2.0.0"), PRODUCTION, ("blue-green", probe))
        .await?;
    fleet.take();
    start_node(&mut cluster, 4).await?;
    let two = Some("2.0.0");
    wait_for_versions(&cluster, &[(1, two), (2, two), (3, two), (4, two)]).await?;
    assert_eq!(fleet.take(), [node(4)]);
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_module_is_removed_from_every_node() -> Result<()> {
    let mut cluster = cluster().await?;
    let reconciler = cluster.engine.reconciler.clone();
    let (production, hello) = (production(), hello());
    let retire = || reconciler.retire(&production, &hello, "ada".to_owned(), None);
    retire().await?;
    wait_for_versions(&cluster, &[(1, None), (2, None)]).await?;
    let again = retire().await.unwrap_err();
    assert!(matches!(again, RetireError::NotDesired { .. }), "{again}");
    start_node(&mut cluster, 3).await?;
    cluster.wait_for_nodes().await?;
    assert!(
        cluster
            .engine
            .deployments
            .current(&production)
            .await?
            .is_empty()
    );

    roll_out(&cluster, "2.0.0").await?;
    let two = Some("2.0.0");
    wait_for_versions(&cluster, &[(1, two), (2, two), (3, two)]).await?;
    cluster.shutdown().await;
    Ok(())
}

/// How a node goes away.
#[derive(Clone, Copy)]
enum Leave {
    /// It says nothing.
    Crash,
    /// It says that it stops.
    Stop,
}

/// Begins a canary of this version on the first node, which then goes away, and aborts: it cannot
/// be reverted in time. That is a failure unless the node has said that it stops.
async fn abort_without_the_changed_node(
    cluster: &mut Cluster,
    version: &str,
    leave: Leave,
) -> Result<()> {
    let canary = ("canary", json!({ "steps": [50], "soak": "1h" }));
    let id = cluster
        .deploy(("hello", version), PRODUCTION, canary)
        .await?;
    wait_for_state(&cluster.engine, id, |state| {
        state
            .nodes
            .values()
            .any(|node| node.phase == NodePhase::Active)
    })
    .await?;
    let expected = match leave {
        Leave::Crash => {
            drop(cluster.nodes.remove(&node(1)));
            Status::Failed
        }
        Leave::Stop => {
            stop_node(cluster, 1).await?;
            Status::RolledBack
        }
    };
    cluster.engine.deployments.abort(id, "ada", None).await?;
    let state = cluster.wait_for_end(id).await?;
    ensure!(state.status() == expected, "{:?}", state.status());
    ensure!(state.failures[0].node == node(1), "{:?}", state.failures);
    Ok(())
}

/// A policy that gives up on reverts at once.
fn impatient() -> BTreeMap<Environment, Policy> {
    let policy = Policy {
        revert_patience: Duration::ZERO,
        ..Policy::default_for(&production())
    };
    BTreeMap::from([(production(), policy)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_version_does_not_stay_on_a_node_that_comes_back() -> Result<()> {
    let mut cluster = Cluster::start_with_policies(&[(PRODUCTION, 2)], impatient()).await?;
    cluster.upload_samples().await?;
    roll_out(&cluster, "1.0.0").await?;
    abort_without_the_changed_node(&mut cluster, "2.0.0", Leave::Crash).await?;
    start_node(&mut cluster, 1).await?;
    let one = Some("1.0.0");
    wait_for_versions(&cluster, &[(1, one), (2, one)]).await?;
    assert_eq!(repairs_of(&cluster, 1).await?[0], "repairing 2.0.0 1.0.0");
    cluster.shutdown().await;
    Ok(())
}

/// No deployment has ever succeeded, so what the nodes ran before is what should run.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_version_that_was_rejected_does_not_stay_either() -> Result<()> {
    let mut cluster = Cluster::start_with_policies(&[(PRODUCTION, 2)], impatient()).await?;
    cluster.upload_samples().await?;
    abort_without_the_changed_node(&mut cluster, "1.0.0", Leave::Stop).await?;
    start_node(&mut cluster, 1).await?;
    // Until then, what it runs is not known.
    wait_for_health(&cluster, 1, Health::Passing).await?;
    wait_for_versions(&cluster, &[(1, None), (2, None)]).await?;
    assert_eq!(repairs_of(&cluster, 1).await?[0], "repairing 1.0.0 none");
    start_node(&mut cluster, 3).await?;
    cluster.wait_for_nodes().await?;
    let placements = cluster.engine.reconciler.placements(&production()).await?;
    assert!(
        !placements.contains_key(&node(3)),
        "nothing is decided for it"
    );
    cluster.shutdown().await;
    Ok(())
}

/// What nobody has decided about is left as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_module_of_another_store_is_left_alone() -> Result<()> {
    let mut cluster = cluster().await?;
    let placements = cluster.engine.reconciler.placements(&production()).await?;
    assert_eq!(placements.len(), 2);
    let qa: Environment = "qa".parse()?;
    stop_node(&mut cluster, 2).await?;
    cluster.start_node(node(2), qa.clone()).await?;
    cluster.wait_for_nodes().await?;
    wait_for(|| cluster.resources.registry.environments().contains(&qa)).await?;
    let active = cluster.active_versions("qa", "hello").await?;
    assert_eq!(active[&node(2)].as_deref(), Some("1.0.0"));
    assert!(cluster.engine.reconciler.placements(&qa).await?.is_empty());
    cluster.shutdown().await;
    Ok(())
}
