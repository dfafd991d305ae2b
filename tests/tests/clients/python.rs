//! SignalR clients of Python: `signalrcore` here, `pysignalr` in the tests of the examples.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use hotswap_tests::{ChildProcess, Installation, tools};
use serde_json::{Value, json};

use crate::notifications::{self, Notification};

#[tokio::test(flavor = "multi_thread")]
async fn signalrcore_receives_all_events() -> Result<()> {
    let installation = Installation::start("qa", 2, &[]).await?;
    let canary = json!({ "steps": [50, 100], "soak": "1s" });
    let id = installation.propose("1.0.0", "canary", canary).await?;
    let mut clients = Vec::new();
    for (transport, protocol) in [
        ("WebSockets", "Text"),
        ("WebSockets", "Binary"),
        ("ServerSentEvents", "Text"),
    ] {
        let folder = tools::repository_root().join("tests/clients");
        let mut command = tools::python(&folder)?;
        command.args(["signalrcore_watch.py", &id, transport, protocol]);
        command.env("HOTSWAP_URL", &installation.url);
        command.env("HOTSWAP_TOKEN", &installation.token);
        clients.push((
            format!("{transport} {protocol}"),
            ChildProcess::start(command)?,
        ));
    }
    let mut ready_clients = Vec::new();
    for (name, mut client) in clients {
        let (_, printed) = client
            .read_until_field("ready")
            .await
            .context(name.clone())?;
        ready_clients.push((name, client, printed));
    }
    installation.approve(&id).await?;
    let reports = ready_clients
        .into_iter()
        .map(|(name, mut client, mut printed)| async move {
            let (report, more) = client
                .read_until_field("report")
                .await
                .context(name.clone())?;
            printed.extend(more);
            ensure!(client.wait_for_exit().await?.code == Some(0), "{name}");
            anyhow::Ok((name, printed, report))
        });
    let reports = try_join_all(reports).await?;
    let expected = notifications::expected_notifications(&installation, &id).await?;
    for (name, printed, report) in reports {
        check(&printed, &report, &expected)
            .with_context(|| format!("{name}: {printed:#?} {report:#}"))?;
    }
    Ok(())
}

fn check(printed: &[Value], report: &Value, expected: &[Notification]) -> Result<()> {
    let subscription = printed.first().context("no subscription")?;
    let missed = notifications::after_offset(expected, &subscription["argument"]["offset"])?;
    notifications::ensure_complete(&notifications::parse_events(printed)?, missed)?;
    let streamed = report["streamed"].as_array().context("no stream")?;
    notifications::ensure_complete(&notifications::parse_events(streamed)?, expected)?;
    ensure!(report["failures"] == json!(["Unknown hub method 'NoSuchMethod'"]));
    Ok(())
}
