//! What the engine adds to what nodes must be asked anyway.
//!
//! `cargo bench --bench fleet` prints a table: a rollout by `direct` to 1,000 nodes of
//! this process, each with its own port and disk, against a bare client that sends the
//! same requests with the same number side by side, taken in turns.

use std::time::Instant;

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use hotswap_core::{Amount, Digest, Fence, Policy};
use hotswap_store::Journal;
use hotswap_tests::Cluster;
use hotswap_tests::table::{head, median, row};
use serde_json::{Value, json};

const NODES: usize = 1000;
const ROUNDS: usize = 5;
/// As the engine's own limit of nodes ordered side by side.
const SIDE_BY_SIDE: usize = 128;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(rollouts())
}

async fn rollouts() -> Result<()> {
    let environment = "development".parse()?;
    let policy = Policy {
        max_unavailable: Amount::Percent(100),
        ..Policy::default_for(&environment)
    };
    let cluster = Cluster::with(&[("development", NODES)], [(environment, policy)].into()).await?;
    for version in ["1.0.0", "2.0.0"] {
        cluster.upload("hello", version, component(version)).await?;
        // Both are on every disk before anything is measured.
        cluster
            .rolled_out(("hello", version), "development", ("direct", json!({})))
            .await?;
    }
    let controls: Vec<String> = cluster
        .nodes
        .values()
        .map(|node| format!("http://{}", node.control_addr()))
        .collect();
    let client = reqwest::Client::new();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let direct = ("direct", json!({}));
        let done = cluster
            .rolled_out(("hello", "1.0.0"), "development", direct)
            .await?;
        ours.push(begun.elapsed().as_secs_f64());
        // The nodes refuse fences that do not rise.
        let fence = cluster
            .core
            .store
            .acquire_lease(done.header.id)
            .await?
            .fence;

        let begun = Instant::now();
        by_hand(&client, &controls, round, fence).await?;
        bare.push(begun.elapsed().as_secs_f64());
    }
    let (ours, bare) = (median(ours), median(bare));
    head();
    let (measured, limit) = (
        format!("{:.0} ms", ours * 1e3),
        format!("bare client {:.0} ms", bare * 1e3),
    );
    row("direct to 1,000 nodes", &measured, &limit, ours / bare, 1.3);
    cluster.stop().await;
    Ok(())
}

fn component(version: &str) -> &'static [u8] {
    if version == "1.0.0" {
        hotswap_guests::HELLO_V1
    } else {
        hotswap_guests::HELLO_V2
    }
}

/// What the engine asks of each node in such a rollout: what it runs, to stage, to promote,
/// to settle.
async fn by_hand(
    client: &reqwest::Client,
    controls: &[String],
    round: usize,
    fence: Fence,
) -> Result<()> {
    let version = json!({ "version": "2.0.0", "digest": Digest::of(component("2.0.0")) });
    let all = |request: Option<(&'static str, Value)>| {
        let asked = controls.iter().map(move |control| {
            let url = format!("{control}/v1/modules/hello");
            let request = match &request {
                None => client.get(url),
                Some((name, action)) => {
                    let body = json!({ "fence": fence, "deployment": "by-hand", "action": action });
                    client
                        .put(format!("{url}/operations/hand-{round}-{name}"))
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
        stream::iter(asked)
            .buffer_unordered(SIDE_BY_SIDE)
            .try_collect::<Vec<()>>()
    };
    all(None).await?;
    all(Some((
        "stage",
        json!({ "type": "stage", "version": version }),
    )))
    .await?;
    all(Some((
        "promote",
        json!({ "type": "promote", "version": version }),
    )))
    .await?;
    all(Some(("settle", json!({ "type": "settle" })))).await?;
    Ok(())
}
