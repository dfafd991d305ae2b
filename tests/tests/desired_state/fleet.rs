//! A small fleet, and what its nodes come to run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::{Environment, EnvironmentEventBody, Health, ModuleName, NodeId};
use hotswap_runner::reconciler::NextStep;
use hotswap_tests::Cluster;
use serde_json::json;

pub const PRODUCTION: &str = "production";
pub const DIRECT: &str = "direct";
/// Generous, because the machine may be busy.
pub const TIMEOUT: Duration = Duration::from_secs(60);

pub fn production() -> Environment {
    PRODUCTION.parse().expect("a valid name")
}

pub fn hello() -> ModuleName {
    "hello".parse().expect("a valid name")
}

pub fn node(number: u32) -> NodeId {
    format!("{PRODUCTION}-{number}")
        .parse()
        .expect("a valid name")
}

/// Two nodes that run 1.0.0 of `hello`.
pub async fn cluster() -> Result<Cluster> {
    let cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    cluster.upload_samples().await?;
    roll_out(&cluster, "1.0.0").await?;
    Ok(cluster)
}

pub async fn roll_out(cluster: &Cluster, version: &str) -> Result<()> {
    let direct = (DIRECT, json!({}));
    cluster
        .roll_out(("hello", version), PRODUCTION, direct)
        .await?;
    Ok(())
}

/// Waits until all these nodes run this version, and no other node is known.
pub async fn wait_for_versions(cluster: &Cluster, expected: &[(u32, Option<&str>)]) -> Result<()> {
    let expected = expected
        .iter()
        .map(|(number, version)| (node(*number), version.map(str::to_owned)))
        .collect();
    cluster
        .wait_for_versions(PRODUCTION, "hello", &expected)
        .await
}

pub async fn wait_for_next(cluster: &Cluster, number: u32, expected: &NextStep) -> Result<()> {
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

pub async fn wait_for(condition: impl Fn() -> bool) -> Result<()> {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    while !condition() {
        ensure!(tokio::time::Instant::now() < deadline, "timed out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

pub async fn wait_for_health(cluster: &Cluster, number: u32, health: Health) -> Result<()> {
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

pub async fn stop_node(cluster: &mut Cluster, number: u32) -> Result<()> {
    let stopped = cluster.nodes.remove(&node(number));
    stopped.context("the node does not run")?.shutdown().await;
    Ok(())
}

pub async fn start_node(cluster: &mut Cluster, number: u32) -> Result<()> {
    cluster.start_node(node(number), production()).await
}

/// The events of the environment about a node: name, version before, version after.
pub async fn repairs_of(cluster: &Cluster, number: u32) -> Result<Vec<String>> {
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
