//! The SignalR clients of Python: `signalrcore` here, `pysignalr` by way of the example.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use hotswap_tests::{Installation, Program, tools};
use serde_json::{Value, json};

use crate::told;

#[tokio::test(flavor = "multi_thread")]
async fn signalrcore_is_told_it_all() -> Result<()> {
    let here = Installation::start("qa", 2, &[]).await?;
    let canary = json!({ "steps": [50, 100], "soak": "1s" });
    let id = here.propose("1.0.0", "canary", canary).await?;
    let mut clients = Vec::new();
    for (transport, protocol) in [
        ("WebSockets", "Text"),
        ("WebSockets", "Binary"),
        ("ServerSentEvents", "Text"),
    ] {
        let folder = tools::root().join("tests/clients");
        let mut command = tools::python(&folder)?;
        command.args(["signalrcore_watch.py", &id, transport, protocol]);
        command.env("HOTSWAP_URL", &here.url);
        command.env("HOTSWAP_TOKEN", &here.token);
        clients.push((format!("{transport} {protocol}"), Program::start(command)?));
    }
    let mut ready = Vec::new();
    for (name, mut client) in clients {
        let (_, told) = client.told("ready").await.context(name.clone())?;
        ready.push((name, client, told));
    }
    here.approve(&id).await?;
    let done = ready
        .into_iter()
        .map(|(name, mut client, mut told)| async move {
            let (report, more) = client.told("report").await.context(name.clone())?;
            told.extend(more);
            ensure!(client.ended().await?.code == Some(0), "{name}");
            anyhow::Ok((name, told, report))
        });
    let done = try_join_all(done).await?;
    let all = told::all(&here, &id).await?;
    for (name, told, report) in done {
        check(&told, &report, &all).with_context(|| format!("{name}: {told:#?} {report:#}"))?;
    }
    Ok(())
}

fn check(told: &[Value], report: &Value, all: &[told::Told]) -> Result<()> {
    let subscription = told.first().context("no subscription")?;
    let rest = told::after(all, &subscription["argument"]["offset"])?;
    told::ensure_whole(&told::events(told)?, rest)?;
    let streamed = report["streamed"].as_array().context("no stream")?;
    told::ensure_whole(&told::events(streamed)?, all)?;
    ensure!(report["failures"] == json!(["Unknown hub method 'NoSuchMethod'"]));
    Ok(())
}
