use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hotswap_tests::Replicas;
use serde_json::Value;

/// Requests under way at the same time.
const REQUESTS: usize = 32;

/// The environment of all deployments. Its deadline is a day.
pub const ENVIRONMENT: &str = "production";
const VERSION: &str = "1.0.0";

/// Uploads one version of so many modules, to all engines in turn.
pub async fn upload(replicas: &Replicas, count: usize) -> Result<()> {
    let engines = replicas.running().len();
    stream::iter(0..count)
        .map(|number| async move {
            let (engine, module) = (number % engines, name(number));
            let component = hotswap_guests::HELLO_V1;
            replicas.upload(engine, (&module, VERSION), component).await
        })
        .buffer_unordered(REQUESTS)
        .try_collect::<()>()
        .await
}

/// Deploys one of these modules.
pub async fn deploy(replicas: &Replicas, number: usize, strategy: (&str, Value)) -> Result<String> {
    let engine = number % replicas.running().len();
    let module = name(number);
    replicas
        .deploy_module(engine, (&module, VERSION), strategy)
        .await
}

/// Deploys so many of these modules at once, through all engines in turn. Returns the ids.
pub async fn deploy_all(
    replicas: &Replicas,
    count: usize,
    strategy: (&str, Value),
) -> Result<Vec<String>> {
    let strategy = &strategy;
    stream::iter(0..count)
        .map(|number| deploy(replicas, number, (strategy.0, strategy.1.clone())))
        .buffer_unordered(REQUESTS)
        .try_collect()
        .await
}

/// Lets the engines finish what they do beside what is measured.
pub async fn settle() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

fn name(number: usize) -> String {
    format!("m{number}")
}
