//! The overhead of the engine over the requests that a rollout needs anyway.
//!
//! `cargo bench --bench fleet` prints a table: a rollout by `direct` to 1,000 nodes in this
//! process, each with its own port and disk, against a bare client that sends the same requests
//! with the same concurrency. The two take turns.

use std::time::Instant;

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use hotswap_core::{Amount, Digest, Fence, Policy};
use hotswap_store::Journal;
use hotswap_tests::Cluster;
use hotswap_tests::bench::{check_goals, median, print_header, print_row};
use serde_json::{Value, json};

const NODES: usize = 1000;
const ROUNDS: usize = 5;
/// The same as the engine's limit of concurrent orders.
const CONCURRENCY: usize = 128;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(compare_rollouts())
}

async fn compare_rollouts() -> Result<()> {
    let environment = "development".parse()?;
    let policy = Policy {
        max_unavailable: Amount::Percent(100),
        ..Policy::default_for(&environment)
    };
    let cluster =
        Cluster::start_with_policies(&[("development", NODES)], [(environment, policy)].into())
            .await?;
    for version in ["1.0.0", "2.0.0"] {
        cluster.upload("hello", version, component(version)).await?;
        // Every node has both versions on its disk before the measurement.
        cluster
            .roll_out(("hello", version), "development", ("direct", json!({})))
            .await?;
    }
    let control_urls: Vec<String> = cluster
        .nodes
        .values()
        .map(|node| format!("http://{}", node.control_addr()))
        .collect();
    let client = reqwest::Client::new();
    let (mut engine_times, mut bare_times) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let start = Instant::now();
        let direct = ("direct", json!({}));
        let rollout = cluster
            .roll_out(("hello", "1.0.0"), "development", direct)
            .await?;
        engine_times.push(start.elapsed().as_secs_f64());
        // Nodes reject a fence that is lower than the last one.
        let fence = cluster
            .resources
            .store
            .acquire_lease(rollout.header.id)
            .await?
            .fence;

        let start = Instant::now();
        bare_rollout(&client, &control_urls, round, fence).await?;
        bare_times.push(start.elapsed().as_secs_f64());
    }
    let (engine_time, bare_time) = (median(engine_times), median(bare_times));
    print_header();
    let (measured, limit) = (
        format!("{:.0} ms", engine_time * 1e3),
        format!("bare client {:.0} ms", bare_time * 1e3),
    );
    print_row(
        "direct to 1,000 nodes",
        &measured,
        &limit,
        engine_time / bare_time,
        1.3,
    );
    cluster.shutdown().await;
    check_goals()
}

fn component(version: &str) -> &'static [u8] {
    if version == "1.0.0" {
        hotswap_guests::HELLO_V1
    } else {
        hotswap_guests::HELLO_V2
    }
}

/// Sends the requests of a rollout to each node: read the active version, stage, promote,
/// settle.
async fn bare_rollout(
    client: &reqwest::Client,
    control_urls: &[String],
    round: usize,
    fence: Fence,
) -> Result<()> {
    let version = json!({ "version": "2.0.0", "digest": Digest::of(component("2.0.0")) });
    let send_to_all = |request: Option<(&'static str, Value)>| {
        let requests = control_urls.iter().map(move |control_url| {
            let url = format!("{control_url}/v1/modules/hello");
            let request = match &request {
                None => client.get(url),
                Some((name, action)) => {
                    let body = json!({ "fence": fence, "deployment": "bare", "action": action });
                    client
                        .put(format!("{url}/operations/bare-{round}-{name}"))
                        .json(&body)
                }
            };
            let request = request.bearer_auth(hotswap_tests::NODE_TOKEN);
            async move {
                let answer = request.send().await?;
                let status = answer.status();
                let body = answer.text().await?;
                ensure!(status.is_success(), "{status} {body}");
                Ok(())
            }
        });
        stream::iter(requests)
            .buffer_unordered(CONCURRENCY)
            .try_collect::<Vec<()>>()
    };
    send_to_all(None).await?;
    send_to_all(Some((
        "stage",
        json!({ "type": "stage", "version": version }),
    )))
    .await?;
    send_to_all(Some((
        "promote",
        json!({ "type": "promote", "version": version }),
    )))
    .await?;
    send_to_all(Some(("settle", json!({ "type": "settle" })))).await?;
    Ok(())
}
