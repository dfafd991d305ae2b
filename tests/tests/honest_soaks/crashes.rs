//! A version answers for its crashes, and for its silence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hotswap_core::{DeploymentId, Judgement, NodeId, Status};
use hotswap_tests::{Cluster, SteppedClock};
use serde_json::{Value, json};

use super::{
    PRODUCTION, TIMEOUT, answer, cluster, direct, finding, load, shown_nodes, soaking, verdicts,
};

/// Two nodes that run version 1.0.0, and a deployment of 2.0.0 that soaks on the first of them.
async fn canary_on_one_of_two(soak: &str) -> Result<(Cluster, DeploymentId, NodeId)> {
    canary_with(json!({ "steps": [50], "soak": soak })).await
}

async fn canary_with(config: Value) -> Result<(Cluster, DeploymentId, NodeId)> {
    let (old, new) = (hotswap_guests::HELLO_V1, hotswap_guests::HELLO_V2);
    let cluster = cluster(2, &[("1.0.0", old), ("2.0.0", new)]).await?;
    direct(&cluster, "1.0.0").await?;
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let nodes = soaking(&cluster, id).await?;
    assert_eq!(nodes.len(), 1);
    let node = nodes.into_iter().next().context("no node")?;
    Ok((cluster, id, node))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_node_that_is_killed_fails_the_check_of_restarts() -> Result<()> {
    let (mut cluster, id, node) = canary_on_one_of_two("1m").await?;
    let load = load(&cluster);
    // Nothing is known of the previous version: two crashes are allowed.
    for _ in 0..3 {
        // Dropped, not shut down: as if it were killed.
        drop(cluster.nodes.remove(&node));
        cluster
            .start_node(node.clone(), PRODUCTION.parse()?)
            .await?;
    }
    let state = cluster.wait_for_end(id).await?;
    load.stop().await;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let cause = state.cause.context("no cause")?.message;
    assert!(cause.contains("check restarts failed"), "{cause}");
    let verdicts = verdicts(&cluster, id).await?;
    let restarts = finding(&verdicts[0], "restarts")?;
    assert!(restarts.canary >= Some(1.0), "{restarts:?}");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_node_that_is_restarted_on_purpose_fails_nothing() -> Result<()> {
    let (mut cluster, id, node) = canary_on_one_of_two("5s").await?;
    let stopped = cluster.nodes.remove(&node).context("no such node")?;
    stopped.shutdown().await;
    cluster
        .start_node(node.clone(), PRODUCTION.parse()?)
        .await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let verdicts = verdicts(&cluster, id).await?;
    let restarts = finding(&verdicts[0], "restarts")?;
    assert_eq!(restarts.judgement, Judgement::Pass, "{restarts:?}");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_canary_node_ends_the_soak_once_it_is_critical() -> Result<()> {
    let (mut cluster, id, node) = canary_on_one_of_two("1h").await?;
    drop(cluster.nodes.remove(&node));
    let silent = Instant::now();
    let mut critical = None;
    let verdict = loop {
        if let Some(verdict) = verdicts(&cluster, id).await?.into_iter().next() {
            break verdict;
        }
        ensure!(
            silent.elapsed() < TIMEOUT,
            "the soak goes on without its node"
        );
        if critical.is_none() {
            critical = critical_since(&cluster, &node).await?;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    // Not later than the people who look at the nodes, and not sooner. The machine may be busy.
    let judged = Instant::now();
    let tolerance = Duration::from_secs(3);
    let critical = loop {
        if let Some(critical) = critical {
            break critical;
        }
        ensure!(
            judged.elapsed() < tolerance,
            "the verdict came while the node was not shown to be critical"
        );
        critical = critical_since(&cluster, &node).await?;
    };
    let late = judged.saturating_duration_since(critical);
    assert!(
        late < tolerance,
        "the node was shown to be critical {late:?} before the verdict"
    );
    assert_eq!(verdict.judgement, Judgement::Fail);
    let restarts = finding(&verdict, "restarts")?;
    let expected = format!("node {node} does not report in any more (it was last heard of");
    assert!(
        restarts.reason.starts_with(&expected),
        "{}",
        restarts.reason
    );
    // Its revert waits for it.
    cluster.start_node(node, PRODUCTION.parse()?).await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    cluster.shutdown().await;
    Ok(())
}

/// What an engine has heard of the nodes is lost with its process. The next one does not wait for a
/// node that died meanwhile to the end of the soak, nor does it take the others for dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_node_that_died_while_no_engine_ran_ends_the_soak() -> Result<()> {
    let (old, new) = (hotswap_guests::HELLO_V1, hotswap_guests::HELLO_V2);
    let mut cluster = cluster(4, &[("1.0.0", old), ("2.0.0", new)]).await?;
    direct(&cluster, "1.0.0").await?;
    let config = json!({ "steps": [50], "soak": "1h" });
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let dead = soaking(&cluster, id).await?.remove(0);
    cluster.engine.shutdown().await;
    // Dropped, not shut down: as if it were killed.
    drop(cluster.nodes.remove(&dead));
    let mut others = Vec::new();
    for (id, node) in std::mem::take(&mut cluster.nodes) {
        node.shutdown().await;
        others.push(id);
    }
    let journal = Arc::new(cluster.resources.store.clone());
    cluster.resources.forget_reports().await?;
    cluster.engine = cluster.resources.start_engine(journal).await?;
    cluster.restart_api().await?;
    for node in others {
        cluster.start_node(node, PRODUCTION.parse()?).await?;
    }
    let began = Instant::now();
    let verdict = loop {
        if let Some(verdict) = verdicts(&cluster, id).await?.into_iter().next() {
            break verdict;
        }
        ensure!(
            began.elapsed() < TIMEOUT,
            "the soak goes on without its node"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(verdict.judgement, Judgement::Fail);
    let restarts = finding(&verdict, "restarts")?;
    let expected = format!(
        "node {dead} does not report in any more (no heartbeat since this engine started), so"
    );
    assert!(
        restarts.reason.starts_with(&expected),
        "{}",
        restarts.reason
    );
    // Its revert waits for it.
    cluster.start_node(dead, PRODUCTION.parse()?).await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    cluster.shutdown().await;
    Ok(())
}

/// All that happened in the whole soak is one reading of the engine that comes back after it. That
/// is too little to fail a version, so it reads on.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_version_fails_also_where_no_engine_ran_until_the_soak_was_over() -> Result<()> {
    let clock = Arc::new(SteppedClock::default());
    let mut cluster =
        Cluster::start_with_clock(&[(PRODUCTION, 2)], BTreeMap::new(), Arc::clone(&clock) as _)
            .await?;
    let (old, bad) = (hotswap_guests::HELLO_V1, hotswap_guests::HELLO_V3);
    for (version, component) in [("1.0.0", old), ("3.0.0", bad)] {
        cluster.upload("hello", version, component).await?;
    }
    direct(&cluster, "1.0.0").await?;
    let config = json!({ "steps": [50], "soak": "1m" });
    let id = cluster
        .deploy(("hello", "3.0.0"), PRODUCTION, ("canary", config))
        .await?;
    soaking(&cluster, id).await?;
    cluster.engine.shutdown().await;
    answer(&cluster, 2000).await?;
    clock.step(120);
    let load = load(&cluster);
    let journal = Arc::new(cluster.resources.store.clone());
    cluster.engine = cluster.resources.start_engine(journal).await?;
    let state = cluster.wait_for_end(id).await?;
    load.stop().await;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let verdicts = verdicts(&cluster, id).await?;
    assert_eq!(verdicts.len(), 1, "the first soak decides: {verdicts:?}");
    let errors = finding(&verdicts[0], "error-rate")?;
    assert_eq!(errors.judgement, Judgement::Fail, "{errors:?}");
    cluster.shutdown().await;
    Ok(())
}

/// Now, where the node is shown to be critical.
async fn critical_since(cluster: &Cluster, node: &NodeId) -> Result<Option<Instant>> {
    let nodes = shown_nodes(cluster).await?;
    let mut shown = nodes.iter().filter(|shown| shown["id"] == node.as_str());
    let is_critical = shown.any(|shown| shown["health"] == "critical");
    Ok(is_critical.then(Instant::now))
}

/// A person may allow some restarts, and then reads how many there were.
#[tokio::test(flavor = "multi_thread")]
async fn three_kills_of_a_canary_node_are_told_as_three_restarts() -> Result<()> {
    let checks = json!([{ "metric": "restarts", "max": 3.0 }]);
    let config = json!({ "steps": [50], "soak": "20s", "checks": checks });
    let (mut cluster, id, node) = canary_with(config).await?;
    for _ in 0..3 {
        // Dropped, not shut down: as if it were killed.
        drop(cluster.nodes.remove(&node));
        cluster
            .start_node(node.clone(), PRODUCTION.parse()?)
            .await?;
    }
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let verdicts = verdicts(&cluster, id).await?;
    let restarts = finding(&verdicts[0], "restarts")?;
    assert_eq!(restarts.canary, Some(3.0), "{restarts:?}");
    assert!(
        restarts
            .reason
            .contains("nodes of the new version restarted 3 times"),
        "{}",
        restarts.reason
    );
    cluster.shutdown().await;
    Ok(())
}

/// A node tells how its process fared while it served the previous version, also before it crashed
/// and before the deployment.
#[tokio::test(flavor = "multi_thread")]
async fn crashes_before_the_deployment_are_compared_with() -> Result<()> {
    let (old, new) = (hotswap_guests::HELLO_V1, hotswap_guests::HELLO_V2);
    let mut cluster = cluster(2, &[("1.0.0", old), ("2.0.0", new)]).await?;
    direct(&cluster, "1.0.0").await?;
    for node in cluster.nodes.keys().cloned().collect::<Vec<_>>() {
        // Dropped, not shut down: as if it were killed.
        drop(cluster.nodes.remove(&node));
        cluster.start_node(node, PRODUCTION.parse()?).await?;
    }
    let began = Instant::now();
    let config = json!({ "steps": [50], "soak": "2s" });
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let verdicts = verdicts(&cluster, id).await?;
    assert_eq!(verdicts.len(), 2, "the last one has no baseline");
    for verdict in verdicts {
        let restarts = finding(&verdict, "restarts")?;
        assert_eq!(restarts.judgement, Judgement::Pass, "{restarts:?}");
        assert_eq!((restarts.canary, restarts.baseline), (Some(0.0), Some(2.0)));
        let lifetimes = restarts.conditions[0].lifetimes.context("no lifetimes")?;
        let soaked = Duration::from_millis(lifetimes.canary.millis);
        assert!(
            !soaked.is_zero() && soaked <= 3 * began.elapsed(),
            "{lifetimes:?}"
        );
        assert!(lifetimes.baseline.millis > 0, "{lifetimes:?}");
    }
    cluster.shutdown().await;
    Ok(())
}
