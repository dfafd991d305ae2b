//! Several engines on one store: whichever is asked, it tells what the checks of a running soak
//! would come to, in the same words.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hotswap_tests::{HubClient, LoadGenerator, RedisKind, Replicas};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::{sleep, timeout};

const PRODUCTION: &str = "production";
/// How long a wait may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

async fn load(replicas: &Replicas) -> Result<LoadGenerator> {
    let nodes = replicas.get(0, "/api/v1/nodes").await?;
    let nodes = nodes["nodes"].as_array().context("no nodes")?;
    let urls = nodes.iter().filter_map(|node| node["dataUrl"].as_str());
    Ok(LoadGenerator::start(
        urls.map(|url| format!("{url}/hello/")).collect(),
        2,
    ))
}

/// Waits until both engines show the same of a running soak, after so many requests of the new
/// version, and returns it.
async fn same_findings(replicas: &Replicas, path: &str, requests: u64) -> Result<Value> {
    let deadline = Instant::now() + SOON;
    loop {
        let mut shown = Vec::new();
        for engine in 0..2 {
            let state = replicas.get(engine, path).await?;
            ensure!(state["endedAt"].is_null(), "it has ended: {state}");
            shown.push(state["liveFindings"].clone());
        }
        let counted = shown[0][0]["canarySamples"].as_u64().unwrap_or(0);
        if shown[0] == shown[1] && counted >= requests {
            return Ok(shown.remove(0));
        }
        ensure!(Instant::now() < deadline, "{shown:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// The next `soak` of the event stream of an engine.
async fn streamed(replicas: &Replicas, engine: usize, path: &str) -> Result<Value> {
    let url = format!("{}{path}/events", replicas.url(engine)?);
    let request = reqwest::Client::new()
        .get(url)
        .bearer_auth(replicas.token())
        .header("accept", "text/event-stream");
    let mut response = request.send().await?.error_for_status()?;
    let mut text = String::new();
    loop {
        let chunk = response.chunk().await?.context("the stream has ended")?;
        text += std::str::from_utf8(&chunk)?;
        if let Some((_, soak)) = text.split_once("event: soak\ndata: ")
            && let Some((data, _)) = soak.split_once("\n\n")
        {
            return Ok(serde_json::from_str(data)?);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_tells_of_a_soak_that_another_one_runs() -> Result<()> {
    let replicas = Replicas::start(RedisKind::Redis, 2, PRODUCTION, 2).await?;
    let id = replicas.deploy(0, "1.0.0", ("direct", json!({}))).await?;
    replicas.wait_for_end(0, &id).await?;
    let load = load(&replicas).await?;
    let config = json!({
        "steps": [50], "soak": "5m",
        "checks": [{ "metric": "error-rate", "maxIncrease": 5.0 }],
    });
    let id = replicas.deploy(0, "2.0.0", ("canary", config)).await?;
    let path = format!("/api/v1/deployments/{id}");
    same_findings(&replicas, &path, 10).await?;
    // Without requests nothing changes any more.
    load.stop().await;
    let driver = replicas.wait_for_driver(&id, None).await?;
    let other = 1 - driver;
    let findings = loop {
        let before = same_findings(&replicas, &path, 10).await?;
        let soak = timeout(SOON, streamed(&replicas, other, &path)).await??;
        ensure!(soak["executionId"] == *id, "{soak}");
        let findings = same_findings(&replicas, &path, 10).await?;
        if before == findings {
            ensure!(soak["findings"] == findings, "{soak}: {findings}");
            break findings;
        }
    };
    let reason = findings[0]["reason"].as_str().context("no reason")?;
    ensure!(reason.contains("requests"), "{reason}");
    // Once it is over, no engine shows it.
    replicas
        .post(other, &format!("{path}/abort"), json!({}))
        .await?;
    for engine in 0..2 {
        let state = replicas.wait_for_end(engine, &id).await?;
        ensure!(state["status"] == "rolledBack", "{state}");
        ensure!(state["liveFindings"].is_null(), "{state}");
    }
    Ok(())
}

/// The warnings in the next progress of a soak that has any, for a client of the hub.
async fn warned(hub: &mut HubClient) -> Result<Value> {
    loop {
        let (target, mut argument) = hub.next().await?;
        if target == "SoakProgress" && !argument["warnings"].is_null() {
            return Ok(argument["warnings"].take());
        }
    }
}

/// The first line of `hotswap watch` that says that a soak cannot decide.
async fn watched(replicas: &Replicas, engine: usize, id: &str) -> Result<String> {
    let mut watch = hotswap_tests::tools::hotswap()?;
    let watch = watch
        .args(["--server", &replicas.url(engine)?, "watch", id])
        .env("HOTSWAP_TOKEN", replicas.token())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true);
    let mut child = watch.spawn()?;
    let lines = child.stdout.take().context("no output")?;
    let mut lines = BufReader::new(lines).lines();
    while let Some(line) = lines.next_line().await? {
        if line.contains("cannot decide") {
            return Ok(line);
        }
    }
    bail!("it has ended")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soak_that_cannot_decide_is_named_by_every_engine() -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Valkey, 2, PRODUCTION, 2).await?;
    let id = replicas.deploy(0, "1.0.0", ("direct", json!({}))).await?;
    replicas.wait_for_end(0, &id).await?;
    let mut hubs = Vec::new();
    for engine in 0..2 {
        let mut hub = HubClient::connect(&replicas, engine).await?;
        hub.subscribe_to_all(&Value::Null).await?;
        hubs.push(hub);
    }
    let config = json!({
        "steps": [50], "soak": "10m",
        "checks": [{ "metric": "error-rate", "maxIncrease": 0.5 }],
    });
    let id = replicas.deploy(0, "2.0.0", ("canary", config)).await?;
    let path = format!("/api/v1/deployments/{id}");
    let mut told = Vec::new();
    for hub in &mut hubs {
        told.push(timeout(SOON, warned(hub)).await??);
    }
    let warning = told[0][0].as_str().context("no warning")?;
    ensure!(warning.contains("cannot decide: error-rate"), "{told:?}");
    ensure!(told[0] == told[1], "{told:?}");
    for engine in 0..2 {
        let state = replicas.get(engine, &path).await?;
        ensure!(state["warnings"] == told[0], "{state}");
        let soak = timeout(SOON, streamed(&replicas, engine, &path)).await??;
        ensure!(soak["warnings"] == told[0], "{soak}");
        let line = timeout(SOON, watched(&replicas, engine, &id)).await??;
        ensure!(line.contains(warning), "{line}: {warning}");
    }
    // Whoever takes the deployment over has heard of them.
    let driver = replicas.wait_for_driver(&id, None).await?;
    replicas.kill_engine(driver).await?;
    let other = replicas.wait_for_driver(&id, Some(driver)).await?;
    let state = replicas.get(other, &path).await?;
    ensure!(state["warnings"] == told[0], "{state}");
    replicas
        .post(other, &format!("{path}/abort"), json!({}))
        .await?;
    let state = replicas.wait_for_end(other, &id).await?;
    ensure!(state["warnings"].is_null(), "{state}");
    Ok(())
}
