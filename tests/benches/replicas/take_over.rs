use std::time::Instant;

use anyhow::{Context as _, Result};
use hotswap_tests::bench::median;
use hotswap_tests::{RedisKind, Replicas};
use serde_json::json;

use crate::modules::{ENVIRONMENT, settle};
use crate::report::Report;

const ROUNDS: usize = 8;
/// In seconds, with defaults: a lease of 3 s, and two looks a second.
const MEDIAN_LIMIT: f64 = 5.0;
/// In seconds.
const LIMIT: f64 = 6.0;

/// Kills the engine that drives, again and again.
pub async fn run(report: &mut Report) -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Redis, 3, ENVIRONMENT, 2).await?;
    let strategy = ("rolling", json!({ "batch": 1, "settle": "6h" }));
    let id = replicas.deploy(0, "1.0.0", strategy).await?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let driver = replicas.wait_for_driver(&id, None).await?;
        settle().await;
        replicas.kill_engine(driver).await?;
        let killed = Instant::now();
        replicas.wait_for_driver(&id, Some(driver)).await?;
        times.push(killed.elapsed().as_secs_f64());
        replicas.start_engine(driver).await?;
    }
    let longest = times
        .iter()
        .copied()
        .reduce(f64::max)
        .context("no rounds")?;
    let median = median(times);
    report.row("take-over after SIGKILL, median", median, MEDIAN_LIMIT, "s");
    report.row("take-over after SIGKILL, longest", longest, LIMIT, "s");
    Ok(())
}
