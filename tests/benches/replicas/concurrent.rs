use std::time::Instant;

use anyhow::{Result, ensure};
use hotswap_tests::{RedisKind, Replicas};
use serde_json::{Value, json};

use crate::modules::{self, ENVIRONMENT, settle};
use crate::report::Report;

const DEPLOYMENTS: usize = 256;
/// Enough to know what one costs that is alone.
const ALONE: usize = 8;
/// Durable steps of each deployment in the second round.
const STEPS: usize = 100;

/// Many deployments share the writes to the disk of Redis, so that one of many costs less than one
/// that is alone. Three engines take the requests, one of them drives.
pub async fn run(report: &mut Report) -> Result<()> {
    let replicas = Replicas::start(RedisKind::Redis, 3, ENVIRONMENT, 1).await?;
    replicas.upload_strategy(0, hotswap_guests::STEPS).await?;
    modules::upload(&replicas, DEPLOYMENTS).await?;
    settle().await;
    // The node does not run the modules yet: real rollouts.
    let direct = ("direct", json!({}));
    let many = at_once(&replicas, &direct).await?;
    let one = one_after_another(&replicas, &direct).await?;
    report.row(
        "a rollout by direct, one of 256 at once",
        many * 1e3,
        one * 1e3,
        "ms",
    );
    println!(
        "  (256 in {:.1} s; the limit is one that is alone)",
        many * DEPLOYMENTS as f64
    );

    // The nodes run the modules: nothing but durable steps.
    let steps = ("steps", json!({ "steps": STEPS }));
    let step = |deployment: f64| deployment / STEPS as f64 * 1e3;
    let one = one_after_another(&replicas, &steps).await?;
    let many = at_once(&replicas, &steps).await?;
    report.row(
        "a durable step, one of 256 at once",
        step(many),
        step(one),
        "ms",
    );
    println!(
        "  ({:.0} steps/s; the limit is one that is alone)",
        1e3 / step(many)
    );
    Ok(())
}

/// Seconds for each of many deployments at once, requests included.
async fn at_once(replicas: &Replicas, (name, config): &(&str, Value)) -> Result<f64> {
    let start = Instant::now();
    let strategy = (*name, config.clone());
    for id in modules::deploy_all(replicas, DEPLOYMENTS, strategy).await? {
        succeed(replicas, &id).await?;
    }
    Ok(start.elapsed().as_secs_f64() / DEPLOYMENTS as f64)
}

/// Seconds for each of some deployments, one after another.
async fn one_after_another(replicas: &Replicas, (name, config): &(&str, Value)) -> Result<f64> {
    let start = Instant::now();
    for number in 0..ALONE {
        let id = modules::deploy(replicas, number, (name, config.clone())).await?;
        succeed(replicas, &id).await?;
    }
    Ok(start.elapsed().as_secs_f64() / ALONE as f64)
}

async fn succeed(replicas: &Replicas, id: &str) -> Result<()> {
    let state = replicas.wait_for_end(0, id).await?;
    ensure!(state["status"] == "succeeded", "{state}");
    Ok(())
}
