//! A node that joins.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hotswap_core::{Health, NodeId};
use hotswap_tests::bench::{median, print_row, quantile};
use hotswap_tests::{Cluster, unreachable_registration};
use serde_json::json;

use crate::bare;

const ROUNDS: usize = 300;
/// Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Where `hello` should run.
const DECIDED: &str = "production";
/// Where nothing was decided, so that the bare client is the only one that sends orders.
const UNDECIDED: &str = "qa";

pub async fn run() -> Result<()> {
    let mut cluster = Cluster::start(&[(DECIDED, 1)]).await?;
    let hello = ("hello", "1.0.0");
    cluster
        .upload(hello.0, hello.1, hotswap_guests::HELLO_V1)
        .await?;
    cluster
        .roll_out(hello, DECIDED, ("direct", json!({})))
        .await?;
    let client = reqwest::Client::new();
    let registration = serde_json::to_value(unreachable_registration(UNDECIDED))?;
    let (mut joined, mut bare, mut registered) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let start = Instant::now();
        bare::register(&client, &cluster.url, &registration).await?;
        let registering = start.elapsed().as_secs_f64();
        registered.push(registering);

        let (id, at) = start_node(&mut cluster, DECIDED, round).await?;
        let node = cluster.nodes.get(&id).context("a node that was started")?;
        let url = format!("http://{}/.hotswap/ready", node.data_addr());
        while !client.get(&url).send().await?.status().is_success() {
            ensure!(at.elapsed() < TIMEOUT, "{id} does not become ready");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        joined.push(at.elapsed().as_secs_f64());
        remove_node(&mut cluster, &id).await?;

        let (id, _) = start_node(&mut cluster, UNDECIDED, round).await?;
        let node = cluster.nodes.get(&id).context("a node that was started")?;
        let url = format!("http://{}", node.control_addr());
        let start = Instant::now();
        bare::repair(&client, &url).await?;
        bare.push(registering + start.elapsed().as_secs_f64());
        remove_node(&mut cluster, &id).await?;
    }
    // The clock of a node that joins starts once the engine has registered it.
    let registering = median(registered);
    let joined: Vec<f64> = joined.iter().map(|time| registering + time).collect();
    for (what, share) in [("median", 0.5), ("p99", 0.99)] {
        let (joined, bare) = (quantile(&joined, share), quantile(&bare, share));
        print_row(
            &format!("registration to ready of one node, {what}"),
            &format!("{:.1} ms", joined * 1e3),
            &format!("bare client {:.1} ms", bare * 1e3),
            joined / bare,
            2.0,
        );
    }
    cluster.shutdown().await;
    Ok(())
}

/// Starts a node with an empty disk. Returns when the engine registered it.
async fn start_node(
    cluster: &mut Cluster,
    environment: &str,
    round: usize,
) -> Result<(NodeId, Instant)> {
    // What is still done to the node of the last round must not delay this one.
    let id: NodeId = format!("{environment}-joining-{round}").parse()?;
    let mut changes = cluster.resources.registry.subscribe();
    cluster.start_node(id.clone(), environment.parse()?).await?;
    loop {
        let change = tokio::time::timeout(TIMEOUT, changes.recv()).await??;
        if change.node == id && change.health == Some(Health::Passing) {
            return Ok((id, Instant::now()));
        }
    }
}

async fn remove_node(cluster: &mut Cluster, id: &NodeId) -> Result<()> {
    let node = cluster
        .nodes
        .remove(id)
        .context("a node that was started")?;
    node.shutdown().await;
    cluster.resources.registry.deregister(id).await?;
    std::fs::remove_dir_all(cluster.node_dir(id))?;
    Ok(())
}
