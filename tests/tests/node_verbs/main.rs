//! Nodes that people cordon and drain, and nodes that are gone, with real nodes.

mod just_started;
mod several_engines;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::{
    Decision, DeploymentId, Environment, EnvironmentEventBody, ModuleName, NodeId, Policy, Status,
};
use hotswap_runner::nodes::Error;
use hotswap_runner::reconciler::NextStep;
use hotswap_runner::{ExpiryLimits, Nodes};
use hotswap_tests::{Cluster, Installation};
use serde_json::json;

const PRODUCTION: &str = "production";
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

fn ada() -> String {
    "ada".to_owned()
}

/// This many nodes that run 1.0.0 of `hello`.
async fn cluster(nodes: usize) -> Result<Cluster> {
    let cluster = Cluster::start(&[(PRODUCTION, nodes)]).await?;
    cluster.upload_samples().await?;
    roll_out(&cluster, "1.0.0").await?;
    Ok(cluster)
}

async fn roll_out(cluster: &Cluster, version: &str) -> Result<hotswap_core::Deployment> {
    let direct = ("direct", json!({}));
    cluster
        .roll_out(("hello", version), PRODUCTION, direct)
        .await
}

/// Waits until the condition holds.
async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while !condition().await? {
        ensure!(tokio::time::Instant::now() < deadline, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn wait_for_versions(cluster: &Cluster, expected: &[(u32, &str)]) -> Result<()> {
    let expected: BTreeMap<_, _> = expected
        .iter()
        .map(|(number, version)| (node(*number), Some((*version).to_owned())))
        .collect();
    cluster
        .wait_for_versions(PRODUCTION, "hello", &expected)
        .await
}

async fn next_step(cluster: &Cluster, number: u32) -> Result<NextStep> {
    let placements = cluster.engine.reconciler.placements(&production()).await?;
    Ok(placements[&node(number)][&hello()].next.clone())
}

/// What a node answers to load balancers.
async fn readiness(cluster: &Cluster, number: u32) -> Result<u16> {
    let running = cluster.nodes.get(&node(number));
    let running = running.context("the node does not run")?;
    let url = format!("http://{}/.hotswap/ready", running.data_addr());
    Ok(reqwest::get(url).await?.status().as_u16())
}

async fn wait_for_readiness(cluster: &Cluster, number: u32, status: u16) -> Result<()> {
    wait_until(&format!("node {number} answers {status}"), async || {
        Ok(readiness(cluster, number).await? == status)
    })
    .await
}

/// Why a node says that it is not ready.
fn unready_reason(cluster: &Cluster, number: u32) -> Option<String> {
    let member = cluster.resources.registry.member(&node(number))?;
    member.readiness?.reason
}

async fn events(cluster: &Cluster) -> Result<Vec<EnvironmentEventBody>> {
    let events = cluster
        .engine
        .reconciler
        .events_after(None, 0, 1000)
        .await?;
    events.into_iter().map(|it| Ok(it.event?.body)).collect()
}

async fn start_node(cluster: &mut Cluster, number: u32) -> Result<()> {
    cluster.start_node(node(number), production()).await
}

async fn stop_node(cluster: &mut Cluster, number: u32) -> Result<()> {
    let stopped = cluster.nodes.remove(&node(number));
    stopped.context("the node does not run")?.shutdown().await;
    Ok(())
}

/// A rollout of 2.0.0 that has changed nothing that serves, and waits for an approval.
async fn begin_rollout(cluster: &Cluster) -> Result<DeploymentId> {
    let blue_green = ("blue-green", json!({ "approval": true, "soak": "0s" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, blue_green)
        .await?;
    wait_until("the rollout asks", async || {
        Ok(cluster.engine.deployments.get(id).await?.question.is_some())
    })
    .await?;
    Ok(id)
}

async fn decide(cluster: &Cluster, id: DeploymentId, approved: bool) -> Result<Status> {
    let decision = Decision {
        approved,
        by: ada(),
        comment: None,
    };
    cluster.engine.deployments.decide(id, decision).await?;
    Ok(cluster.wait_for_end(id).await?.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordoned_node_is_left_as_it_is_and_serves_until_it_is_uncordoned() -> Result<()> {
    let cluster = cluster(3).await?;
    let nodes = &cluster.engine.nodes;
    wait_for_readiness(&cluster, 2, 200).await?;
    let why = Some("its disk is replaced".to_owned());
    nodes.cordon(&node(2), ada(), why).await?;
    let state = roll_out(&cluster, "2.0.0").await?;
    assert!(state.missing.is_empty(), "{:?}", state.missing);
    assert_eq!(state.cordoned.len(), 1);
    assert_eq!(state.cordoned[0].node, node(2));
    assert_eq!(
        state.cordoned[0].cordon.to_string(),
        "cordoned by ada: its disk is replaced"
    );
    wait_for_versions(&cluster, &[(1, "2.0.0"), (2, "1.0.0"), (3, "2.0.0")]).await?;
    // The reconciler has looked at it, and left it.
    wait_until("it is seen as cordoned", async || {
        Ok(matches!(
            next_step(&cluster, 2).await?,
            NextStep::Cordoned(_)
        ))
    })
    .await?;
    let registry = &cluster.resources.registry;
    let last_seen = || {
        registry
            .member(&node(2))
            .and_then(|member| member.last_seen)
    };
    for _ in 0..3 {
        let before = last_seen();
        wait_until("it reports again", async || Ok(last_seen() > before)).await?;
        assert_eq!(readiness(&cluster, 2).await?, 200, "it serves what it runs");
    }
    assert!(matches!(
        next_step(&cluster, 2).await?,
        NextStep::Cordoned(_)
    ));

    nodes.uncordon(&node(2), ada(), None).await?;
    wait_for_versions(&cluster, &[(1, "2.0.0"), (2, "2.0.0"), (3, "2.0.0")]).await?;
    wait_for_readiness(&cluster, 2, 200).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_is_not_ready_until_it_is_uncordoned_whatever_is_restarted() -> Result<()> {
    let mut cluster = cluster(3).await?;
    wait_for_readiness(&cluster, 2, 200).await?;
    let nodes = cluster.engine.nodes.clone();
    nodes.drain(&node(2), ada(), None, false).await?;
    wait_for_readiness(&cluster, 2, 503).await?;
    let drained = Some("the node was drained by ada".to_owned());
    wait_until("it says why", async || {
        Ok(unready_reason(&cluster, 2) == drained)
    })
    .await?;
    assert_eq!(readiness(&cluster, 1).await?, 200);

    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    stop_node(&mut cluster, 2).await?;
    start_node(&mut cluster, 2).await?;
    wait_until("the restarted node says why", async || {
        assert_eq!(readiness(&cluster, 2).await?, 503);
        Ok(unready_reason(&cluster, 2) == drained)
    })
    .await?;
    let cordon = cluster.engine.nodes.cordon_of(&production(), &node(2));
    assert!(cordon.is_some_and(|cordon| cordon.drained));

    let nodes = cluster.engine.nodes.clone();
    nodes.uncordon(&node(2), ada(), None).await?;
    wait_for_readiness(&cluster, 2, 200).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_the_policy_does_not_allow_is_refused_unless_it_is_forced() -> Result<()> {
    let cluster = cluster(2).await?;
    let nodes = &cluster.engine.nodes;
    let drain =
        async |nodes: &Nodes, number, force| nodes.drain(&node(number), ada(), None, force).await;
    drain(nodes, 1, false).await?;
    // Of two, half is one.
    let error = drain(nodes, 2, false).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 2 nodes of production are unavailable (production-1), and its policy allows 1 \
         (maxUnavailable)"
    );
    assert!(matches!(error, Error::TooManyUnavailable { .. }));
    // It uses up what deployments may change.
    let direct = ("direct", json!({}));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, direct)
        .await?;
    let state = cluster.wait_for_end(id).await?;
    let cause = state.cause.context("it has no cause")?;
    assert!(cause.message.contains("production-1"), "{}", cause.message);
    drain(nodes, 2, true).await?;
    drain(nodes, 2, false).await?;
    nodes.uncordon(&node(2), ada(), None).await?;
    nodes.uncordon(&node(1), ada(), None).await?;
    drain(nodes, 2, false).await?;
    let unknown = nodes.cordon(&node(9), ada(), None).await;
    assert!(matches!(unknown, Err(Error::Unknown(_))), "{unknown:?}");
    let told: Vec<_> = events(&cluster)
        .await?
        .iter()
        .map(|body| body.name())
        .collect();
    let expected = ["drained", "drained", "uncordoned", "uncordoned", "drained"];
    assert_eq!(told, expected, "what changes nothing is no event");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_goes_on_with_a_node_that_is_cordoned_meanwhile() -> Result<()> {
    let cluster = cluster(3).await?;
    let id = begin_rollout(&cluster).await?;
    cluster.engine.nodes.cordon(&node(1), ada(), None).await?;
    assert_eq!(decide(&cluster, id, true).await?, Status::Succeeded);
    wait_for_versions(&cluster, &[(1, "2.0.0"), (2, "2.0.0"), (3, "2.0.0")]).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_gone_expire_but_not_out_of_an_open_plan() -> Result<()> {
    // Reverts give up on a node that is gone at once.
    let policy = Policy {
        revert_patience: Duration::ZERO,
        ..Policy::default_for(&production())
    };
    let policies = BTreeMap::from([(production(), policy)]);
    let mut cluster = Cluster::start_with_policies(&[(PRODUCTION, 4)], policies).await?;
    cluster.upload_samples().await?;
    roll_out(&cluster, "1.0.0").await?;
    cluster.resources.limits.expiry = ExpiryLimits {
        silent: Duration::from_secs(1),
        stopped: Duration::from_secs(1),
    };
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    cluster.engine.nodes.cordon(&node(2), ada(), None).await?;
    let id = begin_rollout(&cluster).await?;
    // One says goodbye, one falls silent; a third is in the plan.
    stop_node(&mut cluster, 2).await?;
    stop_node(&mut cluster, 3).await?;
    let known = async |cluster: &Cluster| {
        cluster.engine.nodes.expire_once().await?;
        let members = cluster.resources.registry.members().into_iter();
        let ids = members.map(|member| member.record.id.to_string());
        anyhow::Ok(ids.collect::<Vec<_>>())
    };
    let of = |numbers: &[u32]| {
        let ids = numbers.iter().map(|number| node(*number).to_string());
        ids.collect::<Vec<_>>()
    };
    wait_until("the node outside of the plan has expired", async || {
        Ok(known(&cluster).await? == of(&[1, 3, 4]))
    })
    .await?;
    decide(&cluster, id, false).await?;
    drop(cluster.nodes.remove(&node(4)));
    wait_until("the others have expired", async || {
        Ok(known(&cluster).await? == of(&[1]))
    })
    .await?;
    let gone = events(&cluster)
        .await?
        .into_iter()
        .filter_map(|body| match body {
            EnvironmentEventBody::Expired { node, stopped, .. } => Some((node, stopped)),
            _ => None,
        });
    let mut gone: Vec<_> = gone.collect();
    gone.sort();
    assert_eq!(gone, [(node(2), true), (node(3), true), (node(4), false)]);
    // Nodes that are gone count no more.
    let state = roll_out(&cluster, "2.0.0").await?;
    assert_eq!((state.missing.len(), state.cordoned.len()), (0, 0));

    start_node(&mut cluster, 3).await?;
    wait_for_versions(&cluster, &[(1, "2.0.0"), (3, "2.0.0")]).await?;
    // The one that was cordoned is so again.
    start_node(&mut cluster, 2).await?;
    cluster.wait_for_nodes().await?;
    wait_until("it is left as it is", async || {
        Ok(matches!(
            next_step(&cluster, 2).await?,
            NextStep::Cordoned(_)
        ))
    })
    .await?;
    cluster.engine.nodes.forget(&node(2), ada(), None).await?;
    let versions = [(1, "2.0.0"), (2, "2.0.0"), (3, "2.0.0")];
    wait_for_versions(&cluster, &versions).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_survives_that_the_engine_is_killed() -> Result<()> {
    let mut installation = Installation::start("qa", 4, &[]).await?;
    let path = "/api/v1/nodes/qa-2";
    let reason = json!({ "reason": "its disk is replaced" });
    installation.post(&format!("{path}/drain"), reason).await?;
    installation.kill_engine().await?;
    installation.restart_engine().await?;
    let node = installation.get(path).await?;
    assert_eq!(node["cordon"]["drained"], true);
    assert_eq!(node["cordon"]["reason"], "its disk is replaced");
    wait_until("the node reports that it is not ready", async || {
        let node = installation.get(path).await?;
        Ok(node["ready"] == false && node["inFlight"] == 0)
    })
    .await?;
    installation.wait_for_nodes(4).await?;
    let roll_out = async || {
        let id = installation.propose("1.0.0", "direct", json!({})).await?;
        installation.approve(&id).await?;
        installation.wait_for_end(&id).await
    };
    let state = roll_out().await?;
    assert_eq!(state["status"], "succeeded", "{state}");
    assert_eq!(state["cordoned"][0]["node"], "qa-2", "{state}");
    assert_eq!(state["cordoned"][0]["drained"], true, "{state}");
    installation
        .post(&format!("{path}/uncordon"), json!({}))
        .await?;
    wait_until("the node is brought along, and ready", async || {
        let node = installation.get(path).await?;
        Ok(node["ready"] == true && node["modules"][0]["actual"] == "1.0.0")
    })
    .await?;
    Ok(())
}
