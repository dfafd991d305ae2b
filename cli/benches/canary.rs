//! The duration of a canary without waits: what the engine and real nodes need.
//!
//! `cargo bench --bench canary` prints a table: four steps over six node processes that
//! have both versions on disk, from the HTTP request to the end. The limit is what the
//! fastest peer was measured to need on two cores.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hotswap_core::Health;
use hotswap_tests::bench::{check_goals, median, print_header, print_row};
use hotswap_tests::{Cluster, EMAIL, NODE_TOKEN};
use serde_json::{Value, json};

const NODES: usize = 6;
const ROUNDS: usize = 20;

/// A child process, killed when dropped.
struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let folder = tempfile::tempdir()?;
    let mut processes = Vec::new();
    for number in 1..=NODES {
        let id = format!("node-{number}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotswap"));
        command.args(["node", "run", "--environment", "production"]);
        command.arg("--with-parent");
        command.args(["--engine", &cluster.url, "--id", &id]);
        command.args(["--data", "127.0.0.1:0", "--control", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(folder.path().join(&id));
        command.env("HOTSWAP_NODE_TOKEN", NODE_TOKEN);
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        processes.push(KilledOnDrop(command.spawn()?));
    }
    let start = Instant::now();
    while cluster
        .resources
        .registry
        .members()
        .iter()
        .filter(|member| member.health == Health::Passing)
        .count()
        < NODES
    {
        ensure!(
            start.elapsed() < Duration::from_secs(60),
            "the nodes did not register within 60 s"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster
        .upload("hello", "1.0.0", hotswap_guests::HELLO_V1)
        .await?;
    cluster
        .upload("hello", "2.0.0", hotswap_guests::HELLO_V2)
        .await?;
    let client = reqwest::Client::new();
    // Warm up: both versions are then on every disk, and every connection is open.
    for version in ["1.0.0", "2.0.0", "1.0.0"] {
        canary(&cluster, &client, version).await?;
    }
    let mut measured = Vec::new();
    for round in 0..ROUNDS {
        let version = if round % 2 == 0 { "2.0.0" } else { "1.0.0" };
        let start = Instant::now();
        canary(&cluster, &client, version).await?;
        measured.push(start.elapsed().as_secs_f64());
    }
    let seconds = median(measured);
    print_header();
    let duration = format!("{:.0} ms", seconds * 1e3);
    print_row(
        "a canary of 4 steps, 6 node processes",
        &duration,
        "100 ms (peers: 600, 5,000)",
        seconds / 0.1,
        1.0,
    );
    cluster.shutdown().await;
    check_goals()
}

async fn canary(cluster: &Cluster, client: &reqwest::Client, version: &str) -> Result<()> {
    let request = json!({
        "moduleName": "hello",
        "version": version,
        "targetEnvironment": "production",
        "requesterEmail": EMAIL,
        "strategy": "canary",
        "config": { "soak": "0s" },
    });
    let request_builder = client.post(format!("{}/api/v1/deployments", cluster.url));
    let response = request_builder
        .bearer_auth(cluster.token)
        .json(&request)
        .send()
        .await?;
    let response: Value = response.error_for_status()?.json().await?;
    let id = response["executionId"]
        .as_str()
        .context("no execution id")?
        .parse()?;
    let state = cluster.wait_for_end(id).await?;
    ensure!(state.status().as_str() == "succeeded", "{:?}", state.cause);
    Ok(())
}
