//! `@microsoft/signalr`, over every transport and in both protocols.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use hotswap_tests::{ChildProcess, Installation, tools};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::notifications::{self, Notification};

const SERVER_SENT_EVENTS: &str = "sse";

/// The command that runs a script of `tests/clients`.
pub fn script(installation: &Installation, name: &str) -> Result<Command> {
    let mut command = tools::nodejs(&tools::repository_root().join("tests/clients"))?;
    command.arg(name);
    command.env("HOTSWAP_URL", &installation.url);
    command.env("HOTSWAP_TOKEN", &installation.token);
    if installation.url.starts_with("https:") {
        command.env("NODE_EXTRA_CA_CERTS", installation.authority_file());
    }
    Ok(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transport_and_protocol_delivers_all_events() -> Result<()> {
    deliver_all_events(&Installation::start("qa", 2, &[]).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transport_and_protocol_delivers_all_events_over_https() -> Result<()> {
    deliver_all_events(&Installation::start_over_https("qa", 2).await?).await
}

async fn deliver_all_events(installation: &Installation) -> Result<()> {
    let viewer = installation.sign_token("viewer", "15m").await?;
    let canary = json!({ "steps": [50, 100], "soak": "1s" });
    let id = installation.propose("1.0.0", "canary", canary).await?;
    let mut clients = Vec::new();
    for (transport, protocol) in [
        ("websockets", "json"),
        ("websockets", "messagepack"),
        (SERVER_SENT_EVENTS, "json"),
        ("longpolling", "json"),
        ("longpolling", "messagepack"),
    ] {
        let mut command = script(installation, "transport.mjs")?;
        command.args([&id, installation.environment, transport, protocol]);
        command.env("HOTSWAP_VIEWER", &viewer);
        clients.push((
            format!("{transport} {protocol}"),
            ChildProcess::start(command)?,
        ));
    }
    for (name, client) in &mut clients {
        client
            .read_until_field("ready")
            .await
            .context(name.clone())?;
    }
    installation.approve(&id).await?;
    let reports = clients.into_iter().map(|(name, mut client)| async move {
        let (report, _) = client
            .read_until_field("report")
            .await
            .context(name.clone())?;
        ensure!(client.wait_for_exit().await?.code == Some(0), "{name}");
        anyhow::Ok((name, report))
    });
    let reports = try_join_all(reports).await?;
    let expected = notifications::expected_notifications(installation, &id).await?;
    for (name, report) in &reports {
        check_report(report, &id, &expected).with_context(|| format!("{name}: {report:#}"))?;
    }
    Ok(())
}

/// Checks that a client received every event, and the right error for each wrong call.
fn check_report(report: &Value, id: &str, expected: &[Notification]) -> Result<()> {
    let (snapshot, resumed) = (&report["snapshot"], &report["resumed"]);
    ensure!(snapshot["recovered"] == false && resumed["recovered"] == true);
    ensure!(snapshot["snapshot"]["status"] == "awaitingApproval");
    ensure!(resumed.get("snapshot").is_none() && resumed["offset"] == "0");
    let list = |name: &str| report[name].as_array().context("no list");
    notifications::ensure_complete(&notifications::parse_events(list("events")?)?, expected)?;

    let streamed = list("streamed")?;
    ensure!(streamed[0]["target"] == "Subscribed");
    notifications::ensure_complete(&notifications::parse_events(streamed)?, expected)?;
    ensure!(
        report["late"] == 0,
        "items came after a stream was cancelled"
    );

    let open = report["all"]["snapshot"]["deployments"].as_array();
    let open = open.context("no deployments")?;
    ensure!(open.iter().any(|one| one["executionId"] == id));
    let missed = notifications::after_offset(expected, &report["all"]["offset"])?;
    notifications::ensure_complete(&notifications::parse_events(list("overseen")?)?, missed)?;

    let measured = &report["measured"];
    ensure!(measured["environment"] == "qa" && measured["nodes"] == 2);
    ensure!(list("nulls")?.iter().all(Value::is_null));

    let failures = &report["failures"];
    for (call, message) in [
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
        ensure!(failures[call] == message, "{call}");
    }
    Ok(())
}
