//! A fleet that has lost its disks.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use hotswap_core::NodeId;
use hotswap_store::Journal;
use hotswap_tests::bench::{median, print_row};
use hotswap_tests::{Cluster, InterceptedFleet};
use serde_json::json;

use crate::bare;
use crate::request_counter::RequestCounter;

const NODES: usize = 1000;
const ROUNDS: usize = 3;
/// The same as the engine's limit of concurrent orders.
const CONCURRENCY: usize = 128;
const ENVIRONMENT: &str = "development";

pub async fn run() -> Result<()> {
    // One node suffices for a success, by which it is decided what all should run.
    let mut cluster = Cluster::start(&[(ENVIRONMENT, 1)]).await?;
    let hello = ("hello", "1.0.0");
    cluster
        .upload(hello.0, hello.1, hotswap_guests::HELLO_V1)
        .await?;
    cluster
        .roll_out(hello, ENVIRONMENT, ("direct", json!({})))
        .await?;
    let fleet = InterceptedFleet::new(
        Arc::clone(&cluster.resources.fleet),
        RequestCounter::default(),
    );
    cluster.resources.fleet = Arc::clone(&fleet) as Arc<_>;
    let store: Arc<dyn Journal> = Arc::new(cluster.resources.store.clone());
    let client = reqwest::Client::new();
    let (mut engine_times, mut bare_times) = (Vec::new(), Vec::new());
    let (mut engine_requests, mut bare_requests) = (0, 0);
    for _ in 0..ROUNDS {
        lose_disks(&mut cluster).await?;
        fleet.reset();
        let start = Instant::now();
        cluster.restart_engine(Arc::clone(&store)).await?;
        fleet.wait_for_settled(NODES).await;
        engine_times.push(start.elapsed().as_secs_f64());
        engine_requests += fleet.requests();

        lose_disks(&mut cluster).await?;
        let nodes = cluster.nodes.values();
        let urls: Vec<_> = nodes
            .map(|node| format!("http://{}", node.control_addr()))
            .collect();
        let start = Instant::now();
        let repairs = urls.iter().map(|url| bare::repair(&client, url));
        let sent: Vec<u64> = stream::iter(repairs)
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        bare_times.push(start.elapsed().as_secs_f64());
        bare_requests += sent.iter().sum::<u64>();
    }
    let (engine_time, bare_time) = (median(engine_times), median(bare_times));
    print_row(
        "1,000 nodes that lost their disks converge",
        &format!("{:.0} ms", engine_time * 1e3),
        &format!("bare client {:.0} ms", bare_time * 1e3),
        engine_time / bare_time,
        1.3,
    );
    let each = |requests: u64| requests as f64 / (NODES * ROUNDS) as f64;
    let (engine_requests, bare_requests) = (each(engine_requests), each(bare_requests));
    // A node that has not reported its repair yet is asked once more.
    print_row(
        "requests to each of them",
        &format!("{engine_requests:.2}"),
        &format!("bare client {bare_requests:.2}"),
        engine_requests / bare_requests,
        1.05,
    );
    cluster.shutdown().await;
    Ok(())
}

/// Stops the engine, stops all nodes, deletes their disks and starts them again. They register,
/// because the API goes on; nobody repairs them.
async fn lose_disks(cluster: &mut Cluster) -> Result<()> {
    cluster.engine.shutdown().await;
    let nodes = std::mem::take(&mut cluster.nodes);
    join_all(nodes.into_values().map(|node| node.shutdown())).await;
    for number in 1..=NODES {
        let id: NodeId = format!("{ENVIRONMENT}-{number}").parse()?;
        let dir = cluster.node_dir(&id);
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
        cluster.start_node(id, ENVIRONMENT.parse()?).await?;
    }
    cluster.wait_for_nodes().await
}
