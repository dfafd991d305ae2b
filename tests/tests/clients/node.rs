//! `@microsoft/signalr`, over every transport and in both protocols.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use hotswap_tests::{Installation, Program, tools};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::told;

const SERVER_SENT_EVENTS: &str = "sse";

/// A script of `tests/clients`.
pub fn script(here: &Installation, name: &str) -> Result<Command> {
    let mut command = tools::node(&tools::root().join("tests/clients"))?;
    command.arg(name);
    command.env("HOTSWAP_URL", &here.url);
    command.env("HOTSWAP_TOKEN", &here.token);
    Ok(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transport_and_protocol_tells_it_all() -> Result<()> {
    let here = Installation::start("qa", 2, &[]).await?;
    let viewer = here.sign("viewer", "15m").await?;
    let canary = json!({ "steps": [50, 100], "soak": "1s" });
    let id = here.propose("1.0.0", "canary", canary).await?;
    let mut clients = Vec::new();
    for (transport, protocol) in [
        ("websockets", "json"),
        ("websockets", "messagepack"),
        (SERVER_SENT_EVENTS, "json"),
        ("longpolling", "json"),
        ("longpolling", "messagepack"),
    ] {
        let mut command = script(&here, "transport.mjs")?;
        command.args([&id, here.environment, transport, protocol]);
        command.env("HOTSWAP_VIEWER", &viewer);
        clients.push((format!("{transport} {protocol}"), Program::start(command)?));
    }
    for (name, client) in &mut clients {
        client.told("ready").await.context(name.clone())?;
    }
    here.approve(&id).await?;
    let reports = clients.into_iter().map(|(name, mut client)| async move {
        let (report, _) = client.told("report").await.context(name.clone())?;
        ensure!(client.ended().await?.code == Some(0), "{name}");
        anyhow::Ok((name, report))
    });
    let reports = try_join_all(reports).await?;
    let all = told::all(&here, &id).await?;
    for (name, report) in &reports {
        check(report, &id, &all).with_context(|| format!("{name}: {report:#}"))?;
    }
    Ok(())
}

/// That a client was told everything, and of each mistake what is wrong.
fn check(report: &Value, id: &str, all: &[told::Told]) -> Result<()> {
    let (snapshot, resumed) = (&report["snapshot"], &report["resumed"]);
    ensure!(snapshot["recovered"] == false && resumed["recovered"] == true);
    ensure!(snapshot["snapshot"]["status"] == "awaitingApproval");
    ensure!(resumed.get("snapshot").is_none() && resumed["offset"] == "0");
    let list = |name: &str| report[name].as_array().context("no list");
    told::ensure_whole(&told::events(list("events")?)?, all)?;

    let streamed = list("streamed")?;
    ensure!(streamed[0]["target"] == "Subscribed");
    told::ensure_whole(&told::events(streamed)?, all)?;
    ensure!(
        report["late"] == 0,
        "items came after a stream was cancelled"
    );

    let open = report["all"]["snapshot"]["deployments"].as_array();
    let open = open.context("no deployments")?;
    ensure!(open.iter().any(|one| one["executionId"] == id));
    let rest = told::after(all, &report["all"]["offset"])?;
    told::ensure_whole(&told::events(list("overseen")?)?, rest)?;

    let measured = &report["measured"];
    ensure!(measured["environment"] == "qa" && measured["nodes"] == 2);
    ensure!(list("nulls")?.iter().all(Value::is_null));

    let failures = &report["failures"];
    for (mistake, text) in [
        ("unknown", "Unknown hub method 'NoSuchMethod'"),
        ("case", "Unknown hub method 'subscribeToDeployment'"),
        (
            "stream",
            "An unexpected error occurred invoking 'StreamDeployment' on the server. \
             HubException: argument 1 is not an execution id: use the executionId that the \
             deployment was accepted with",
        ),
        (
            "unauthorized",
            "Failed to invoke 'SubscribeToAllDeployments' because user is unauthorized",
        ),
        (
            "missing",
            "An unexpected error occurred invoking 'SubscribeToDeployment' on the server. \
             HubException: no deployment 00000000-0000-7000-8000-000000000000",
        ),
        (
            "environment",
            "An unexpected error occurred invoking 'SubscribeToMetrics' on the server. \
             HubException: no environment 'nowhere'",
        ),
    ] {
        ensure!(failures[mistake] == text, "{mistake}");
    }
    Ok(())
}
