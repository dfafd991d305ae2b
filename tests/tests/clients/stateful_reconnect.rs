//! Stateful reconnect of `@microsoft/signalr` through a proxy that cuts connections at random.
//! Where stateful reconnect fails, the client subscribes again from its last offset.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use hotswap_tests::{ChildProcess, Installation};
use serde_json::{Value, json};

use crate::flaky_proxy::{FlakyProxy, SeededRandom};
use crate::nodejs::script;
use crate::notifications;

/// How many cuts each test must see.
const MIN_CUTS: u64 = 20;
/// The engine can replay the events of this many pauses, two each, and of the rollout.
const MAX_PAUSES: usize = 200;
/// Pauses in direct succession.
const MAX_PAUSES_AT_ONCE: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn json_client_gets_each_event_once_over_a_flaky_connection() -> Result<()> {
    survives_random_cuts("json").await
}

#[tokio::test(flavor = "multi_thread")]
async fn messagepack_client_gets_each_event_once_over_a_flaky_connection() -> Result<()> {
    survives_random_cuts("messagepack").await
}

async fn survives_random_cuts(protocol: &str) -> Result<()> {
    let seed = SeededRandom::from_environment()?;
    let result = run_rollout(protocol, seed).await;
    result.with_context(|| format!("to reproduce, set {seed}"))
}

async fn run_rollout(protocol: &str, mut seed: SeededRandom) -> Result<()> {
    let installation = Installation::start("qa", 4, &[]).await?;
    let canary = json!({ "steps": [25, 50, 75], "soak": "2s" });
    let id = installation.propose("1.0.0", "canary", canary).await?;
    let engine = installation.url.trim_start_matches("http://");
    let mut proxy = FlakyProxy::start(engine, seed).await?;
    let mut command = script(&installation, "watch.mjs")?;
    command.args([&id, "websockets", protocol, "stateful"]);
    command.env("HOTSWAP_URL", proxy.url());
    let mut client = ChildProcess::start(command)?;
    let mut printed = vec![client.read_json().await?];
    installation.approve(&id).await?;

    let mut pauses = 0;
    'rollout: while pauses < MAX_PAUSES {
        // Right after a cut, so that the client is often disconnected.
        proxy.wait_for_cut().await;
        for _ in 0..=seed.below(MAX_PAUSES_AT_ONCE) {
            if installation.pause_and_resume(&id).await.is_err() {
                // The deployment has ended.
                break 'rollout;
            }
            pauses += 1;
        }
        while printed.iter().filter(|object| is_resume(object)).count() != pauses {
            printed.push(client.read_json().await?);
        }
    }
    let (calls, before) = client.read_until_field("ended").await?;
    ensure!(client.wait_for_exit().await?.code == Some(0));
    printed.extend(before);
    let (cuts, survived) = (proxy.cut_count(), count_survived_cuts(&printed));
    eprintln!("{protocol}: {cuts} cuts, {survived} survived, {pauses} pauses; calls: {calls}");

    let expected = notifications::expected_notifications(&installation, &id).await?;
    let missed = notifications::after_offset(&expected, &printed[0]["argument"]["offset"])?;
    notifications::ensure_complete(&notifications::parse_events(&printed)?, missed)?;
    let mut subscriptions = printed[1..]
        .iter()
        .filter(|object| object["event"] == "Subscribed");
    ensure!(subscriptions.all(|object| object["argument"]["recovered"] == true));
    ensure!(calls["answered"].as_u64() > Some(0));
    ensure!(cuts >= MIN_CUTS, "only {cuts} cuts");
    ensure!(survived > 0, "no connection survived a cut: {printed:#?}");
    Ok(())
}

fn is_resume(printed: &Value) -> bool {
    printed["argument"]["previousStatus"] == "paused"
}

/// How many cuts the connections survived. For each survived cut, the events of one connection
/// came over one more socket.
fn count_survived_cuts(printed: &[Value]) -> usize {
    let mut sockets = HashMap::new();
    for object in printed {
        let connection = object["connection"].as_str();
        let sockets: &mut Vec<_> = sockets.entry(connection).or_default();
        sockets.push(object["socket"].as_u64());
    }
    let survived = sockets.into_values().map(|mut sockets| {
        sockets.dedup();
        sockets.len() - 1
    });
    survived.sum()
}
