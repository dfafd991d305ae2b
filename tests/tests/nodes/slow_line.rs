//! A large artifact over a slow line that breaks again and again.

use anyhow::{Context, Result};
use hotswap_tests::Cluster;
use serde_json::json;

use super::PRODUCTION;
use super::bad_line::BadLine;

const ARTIFACT_BYTES: usize = 6_000_000;
/// Less than the artifact: nobody fetches it over one connection.
const CONNECTION_BYTES: u64 = 900_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_artifact_arrives_over_a_slow_line_that_is_cut_again_and_again() -> Result<()> {
    let mut cluster = Cluster::start(&[]).await?;
    let engine = cluster.url.trim_start_matches("http://").to_owned();
    let line = BadLine::start(&engine, 2_000_000, CONNECTION_BYTES).await?;
    cluster
        .start_node_with("production-1".parse()?, PRODUCTION.parse()?, |config| {
            config.engine_url = Some(line.url());
        })
        .await?;
    cluster.wait_for_nodes().await?;
    let mut component = hotswap_guests::HELLO_V2.to_vec();
    // A custom section of this size, in LEB128: 0x5b8d80 is 6,000,000.
    component.extend_from_slice(&[0, 0x80, 0x9b, 0xee, 0x02, 3]);
    component.extend_from_slice(b"big");
    component.resize(component.len() + ARTIFACT_BYTES - 4, 7);
    cluster.upload("hello", "2.0.0", &component).await?;
    let deployed = cluster
        .roll_out(("hello", "2.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    assert_eq!(deployed.nodes.len(), 1);
    assert!(line.cuts() >= 6, "{} cuts", line.cuts());
    // The rest are heads, heartbeats, and what was under way when the line was cut.
    let sent = line.sent();
    assert!(sent < ARTIFACT_BYTES as u64 * 3 / 2, "{sent} bytes");
    let urls = cluster.module_urls(PRODUCTION, "hello");
    let url = urls.first().context("a node")?;
    let body = reqwest::get(url).await?.text().await?;
    assert_eq!(body, "hello from v2: /\n");
    cluster.shutdown().await;
    Ok(())
}
