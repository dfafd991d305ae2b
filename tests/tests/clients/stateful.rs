//! Stateful reconnect of `@microsoft/signalr`, through a proxy that cuts the connection at
//! random; and what follows where even that cannot help.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use hotswap_tests::{Installation, Program};
use serde_json::{Value, json};

use crate::node::script;
use crate::proxy::{Proxy, Seed};
use crate::told;

/// Cuts that a rollout goes on through, at least.
const CUTS: u64 = 20;
/// So many pauses, of two events each, and the rollout itself stay within what is replayed.
const PAUSES: usize = 200;
/// Pauses in one piece, at most.
const AT_ONCE: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn in_json_nothing_is_missed_or_doubled_over_connections_that_are_cut() -> Result<()> {
    cut_at_random("json").await
}

#[tokio::test(flavor = "multi_thread")]
async fn in_messagepack_nothing_is_missed_or_doubled_over_connections_that_are_cut() -> Result<()> {
    cut_at_random("messagepack").await
}

async fn cut_at_random(protocol: &str) -> Result<()> {
    let seed = Seed::new()?;
    let run = rollout(protocol, seed).await;
    run.with_context(|| format!("run it again with {seed}"))
}

async fn rollout(protocol: &str, mut seed: Seed) -> Result<()> {
    let here = Installation::start("qa", 4, &[]).await?;
    let canary = json!({ "steps": [25, 50, 75], "soak": "2s" });
    let id = here.propose("1.0.0", "canary", canary).await?;
    let engine = here.url.trim_start_matches("http://");
    let mut proxy = Proxy::start(engine, seed).await?;
    let mut command = script(&here, "watch.mjs")?;
    command.args([&id, "websockets", protocol, "stateful"]);
    command.env("HOTSWAP_URL", proxy.url());
    let mut client = Program::start(command)?;
    let mut told = vec![client.object().await?];
    here.approve(&id).await?;

    let mut pauses = 0;
    'rollout: while pauses < PAUSES {
        // While the client is away, as often as not.
        proxy.cut().await;
        for _ in 0..=seed.below(AT_ONCE) {
            if here.pause(&id).await.is_err() {
                // It has ended.
                break 'rollout;
            }
            pauses += 1;
        }
        while told.iter().filter(|one| resumed(one)).count() != pauses {
            told.push(client.object().await?);
        }
    }
    let (calls, rest) = client.told("ended").await?;
    ensure!(client.ended().await?.code == Some(0));
    told.extend(rest);
    let (cuts, survived) = (proxy.cuts(), survived(&told));
    eprintln!("{protocol}: {cuts} cuts, {survived} survived, {pauses} pauses; calls: {calls}");

    let all = told::all(&here, &id).await?;
    let missed = told::after(&all, &told[0]["argument"]["offset"])?;
    told::ensure_whole(&told::events(&told)?, missed)?;
    let mut again = told[1..].iter().filter(|one| one["event"] == "Subscribed");
    ensure!(again.all(|one| one["argument"]["recovered"] == true));
    ensure!(calls["answered"].as_u64() > Some(0));
    ensure!(cuts >= CUTS, "only {cuts} cuts");
    ensure!(survived > 0, "no connection survived a cut: {told:#?}");
    Ok(())
}

fn resumed(told: &Value) -> bool {
    told["argument"]["previousStatus"] == "paused"
}

/// How many cuts a connection has survived: its events came over one socket more.
fn survived(told: &[Value]) -> usize {
    let mut sockets = HashMap::new();
    for one in told {
        let connection = one["connection"].as_str();
        let sockets: &mut Vec<_> = sockets.entry(connection).or_default();
        sockets.push(one["socket"].as_u64());
    }
    let more = sockets.into_values().map(|mut sockets| {
        sockets.dedup();
        sockets.len() - 1
    });
    more.sum()
}
