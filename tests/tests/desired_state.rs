//! Every node comes to run what was decided, whenever it joins or comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::{
    Decision, Deployment, DeploymentId, Environment, EnvironmentEventBody, Health, ModuleName,
    NodeId, NodePhase, Policy, Status,
};
use hotswap_runner::reconciler::{NextStep, RetireError};
use hotswap_tests::Cluster;
use serde_json::json;
use tokio_util::sync::CancellationToken;

const PRODUCTION: &str = "production";
const DIRECT: &str = "direct";
/// Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

fn production() -> Environment {
    PRODUCTION.parse().expect("a valid name")
}

fn hello() -> ModuleName {
    "hello".parse().expect("a valid name")
}

fn node(number: u32) -> NodeId {
    format!("{PRODUCTION}-{number}")
        .parse()
        .expect("a valid name")
}

/// Two nodes that run 1.0.0 of `hello`.
async fn cluster() -> Result<Cluster> {
    let cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    cluster.upload_samples().await?;
    roll_out(&cluster, "1.0.0").await?;
    Ok(cluster)
}

async fn roll_out(cluster: &Cluster, version: &str) -> Result<()> {
    let direct = (DIRECT, json!({}));
    cluster
        .roll_out(("hello", version), PRODUCTION, direct)
        .await?;
    Ok(())
}

/// Waits until all these nodes run this version, and no other node is known.
async fn wait_for_versions(cluster: &Cluster, expected: &[(u32, Option<&str>)]) -> Result<()> {
    let expected = expected
        .iter()
        .map(|(number, version)| (node(*number), version.map(str::to_owned)))
        .collect();
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        let active = cluster.active_versions(PRODUCTION, "hello").await?;
        if active == expected {
            return Ok(());
        }
        ensure!(
            tokio::time::Instant::now() < deadline,
            "the nodes run {active:?}, not {expected:?}; {:?}",
            cluster.engine.reconciler.placements(&production()).await?
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn wait_until(
    cluster: &Cluster,
    id: DeploymentId,
    condition: impl Fn(&Deployment) -> bool,
) -> Result<()> {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        let state = cluster.engine.deployments.get(id).await?;
        if condition(&state) {
            return Ok(());
        }
        ensure!(tokio::time::Instant::now() < deadline, "{state:?}");
        let (from, wait) = (state.next_seq, Duration::from_secs(1));
        cluster.engine.deployments.events(id, from, 1, wait).await?;
    }
}

async fn wait_for_next(cluster: &Cluster, number: u32, expected: &NextStep) -> Result<()> {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        let placements = cluster.engine.reconciler.placements(&production()).await?;
        let next = &placements[&node(number)][&hello()].next;
        if next == expected {
            return Ok(());
        }
        ensure!(tokio::time::Instant::now() < deadline, "{next:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn wait_for(condition: impl Fn() -> bool) -> Result<()> {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while !condition() {
        ensure!(tokio::time::Instant::now() < deadline, "timed out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn wait_for_health(cluster: &Cluster, number: u32, health: Health) -> Result<()> {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        let member = cluster.resources.registry.member(&node(number));
        let member = member.context("the node is not registered")?;
        if member.health == health {
            return Ok(());
        }
        ensure!(tokio::time::Instant::now() < deadline, "{member:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn stop_node(cluster: &mut Cluster, number: u32) -> Result<()> {
    let stopped = cluster.nodes.remove(&node(number));
    stopped.context("the node does not run")?.shutdown().await;
    Ok(())
}

async fn start_node(cluster: &mut Cluster, number: u32) -> Result<()> {
    cluster.start_node(node(number), production()).await
}

/// The events of the environment about a node: name, version before, version after.
async fn repairs_of(cluster: &Cluster, number: u32) -> Result<Vec<String>> {
    let events = cluster
        .engine
        .reconciler
        .events_after(None, 0, 1000)
        .await?;
    let version = |version: Option<hotswap_core::ModuleVersion>| {
        version.map_or_else(|| "none".to_owned(), |module| module.version.to_string())
    };
    let mut repairs = Vec::new();
    for entry in events {
        let body = entry.event?.body;
        let name = body.name();
        let (EnvironmentEventBody::Repairing(repair)
        | EnvironmentEventBody::Repaired(repair)
        | EnvironmentEventBody::RepairFailed { repair, .. }) = body
        else {
            continue;
        };
        if repair.node == node(number) {
            repairs.push(format!(
                "{name} {} {}",
                version(repair.from),
                version(repair.to)
            ));
        }
    }
    Ok(repairs)
}

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
    wait_until(&cluster, id, |state| state.question.is_some()).await?;
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

/// Begins a canary of this version on the first node, stops that node and aborts: it cannot be
/// reverted in time.
async fn abort_without_the_changed_node(cluster: &mut Cluster, version: &str) -> Result<()> {
    let canary = ("canary", json!({ "steps": [50], "soak": "1h" }));
    let id = cluster
        .deploy(("hello", version), PRODUCTION, canary)
        .await?;
    wait_until(cluster, id, |state| {
        state
            .nodes
            .values()
            .any(|node| node.phase == NodePhase::Active)
    })
    .await?;
    stop_node(cluster, 1).await?;
    cluster.engine.deployments.abort(id, "ada", None).await?;
    let state = cluster.wait_for_end(id).await?;
    ensure!(state.status() == Status::Failed, "{:?}", state.status());
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
    abort_without_the_changed_node(&mut cluster, "2.0.0").await?;
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
    abort_without_the_changed_node(&mut cluster, "1.0.0").await?;
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

/// What the node answers to load balancers.
async fn readiness(client: &reqwest::Client, data_url: &str) -> Result<u16> {
    let ready = client.get(format!("{data_url}/.hotswap/ready")).send();
    Ok(ready.await?.status().as_u16())
}

fn data_url(cluster: &Cluster, number: u32) -> Result<String> {
    let running = cluster.nodes.get(&node(number));
    let running = running.context("the node does not run")?;
    Ok(format!("http://{}", running.data_addr()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_ready_only_once_it_runs_what_it_should() -> Result<()> {
    let mut cluster = cluster().await?;
    // An engine knows what is decided before it tells anyone.
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    start_node(&mut cluster, 3).await?;
    let (client, url) = (reqwest::Client::new(), data_url(&cluster, 3)?);
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    let mut was_unready = false;
    while readiness(&client, &url).await? != 200 {
        was_unready = true;
        ensure!(
            tokio::time::Instant::now() < deadline,
            "it does not become ready"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = client.get(format!("{url}/hello/")).send().await?;
    assert_eq!(answer.status(), 200, "what is ready serves");
    assert!(was_unready, "it was ready before it was told what to run");
    cluster.shutdown().await;
    Ok(())
}

/// Waits until each of the two nodes has been heard of three times more.
async fn wait_for_reports(cluster: &Cluster) -> Result<()> {
    let registry = &cluster.resources.registry;
    let last_seen = |number| registry.member(&node(number)).and_then(|it| it.last_seen);
    for _ in 0..3 {
        let before = [last_seen(1), last_seen(2)];
        wait_for(|| last_seen(1) > before[0] && last_seen(2) > before[1]).await?;
    }
    Ok(())
}

/// A node that a deployment has changed is ahead of what is decided, and one that it has not
/// changed yet may soon be behind it. Neither may lose its traffic for that.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_stay_ready_through_rollouts_and_rollbacks() -> Result<()> {
    let cluster = cluster().await?;
    let client = reqwest::Client::new();
    let urls = [data_url(&cluster, 1)?, data_url(&cluster, 2)?];
    for url in &urls {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        while readiness(&client, url).await? != 200 {
            ensure!(tokio::time::Instant::now() < deadline, "{url} is not ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let stop = CancellationToken::new();
    let (watched, stopped) = (client.clone(), stop.clone());
    let watch = tokio::spawn(async move {
        let mut looks = 0_u32;
        while !stopped.is_cancelled() {
            for url in &urls {
                let status = readiness(&watched, url).await?;
                ensure!(status == 200, "{url} became unready: {status}");
                looks += 1;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(looks)
    });
    let rolling = ("rolling", json!({ "batch": 1, "settle": "1500ms" }));
    cluster
        .roll_out(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    let canary = ("canary", json!({ "steps": [50], "soak": "1h" }));
    let id = cluster
        .deploy(("hello", "3.0.0"), PRODUCTION, canary)
        .await?;
    wait_until(&cluster, id, |state| {
        state
            .nodes
            .values()
            .any(|node| node.phase == NodePhase::Active)
    })
    .await?;
    wait_for_reports(&cluster).await?;
    cluster.engine.deployments.abort(id, "ada", None).await?;
    assert_eq!(cluster.wait_for_end(id).await?.status(), Status::RolledBack);
    wait_for_reports(&cluster).await?;
    stop.cancel();
    assert!(watch.await?? > 100);
    cluster.shutdown().await;
    Ok(())
}
