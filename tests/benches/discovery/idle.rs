use std::time::Duration;

use anyhow::{Context as _, Result};
use hotswap_fleet::discovery::{Condition, Discovery as _, WatchedSource};
use hotswap_tests::bench::{cpu_time, print_row, resident_memory};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::{MEBIBYTE, SERVICE};

const WATCHES: usize = 5;
const IDLE: Duration = Duration::from_secs(20);
/// Time limit for the first answer of a registry.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The services that are watched.
pub fn services() -> Vec<String> {
    let numbers = 0..WATCHES;
    numbers
        .map(|number| format!("{SERVICE}-{number}"))
        .collect()
}

/// The CPU and the memory of five watches of a registry in which nothing changes. Memory is counted
/// from before they begin, so it includes the connections, and not the compiled component.
///
/// # Errors
/// If a watch has no answer in time.
pub async fn measure(
    registry: &str,
    watch: impl Fn(&str) -> (WatchedSource, AbortOnDropHandle<()>),
) -> Result<()> {
    let before = resident_memory()? as f64;
    let running: Vec<_> = services().iter().map(|service| watch(service)).collect();
    for (source, _) in &running {
        timeout(TIMEOUT, wait_until_healthy(source))
            .await
            .with_context(|| format!("{registry}: {:?}", source.state()))??;
    }
    // The first answers come at once.
    sleep(Duration::from_secs(2)).await;
    let memory = (resident_memory()? as f64 - before) / MEBIBYTE;
    let used = cpu_time();
    sleep(IDLE).await;
    let share = (cpu_time() - used).as_secs_f64() / IDLE.as_secs_f64();
    print_row(
        &format!("{registry}: CPU of five idle watches"),
        &format!("{:.3} % of a core", share * 100.0),
        "1 % of a core",
        share / 0.01,
        1.0,
    );
    print_row(
        &format!("{registry}: memory of five idle watches"),
        &format!("{memory:.1} MiB"),
        "50 MiB",
        memory / 50.0,
        1.0,
    );
    Ok(())
}

async fn wait_until_healthy(source: &WatchedSource) -> Result<()> {
    let mut changes = source.changes();
    while source.state().condition != Condition::Healthy {
        changes.changed().await?;
    }
    Ok(())
}
