//! The example page in a real browser.

use anyhow::{Context, Result, ensure};
use hotswap_tests::{ChildProcess, Installation, tools};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::nodejs::script;
use crate::notifications;

const PAGE: &str = "examples/javascript-websocket-client";

/// A screenshot of the page at the end of the test.
const SCREENSHOT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/page.png");

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_a_rollout_live_while_the_engine_is_killed_and_restarted() -> Result<()> {
    let mut server = build_and_serve_page().await?;
    let address = server.read_line().await?;
    let origin = address.trim_end_matches('/');
    let mut installation = Installation::start("qa", 4, &["--cors-origin", origin]).await?;
    let canary = json!({ "steps": [25, 50, 75, 100], "soak": "1s" });
    let id = installation.propose("1.0.0", "canary", canary).await?;
    let mut page = open_page(&installation, &address, &id)?;

    let (focus, _) = page.read_until_field("focus").await?;
    let tab_order = ["url", "token", "id", "connect", "disconnect", "scroll"];
    ensure!(
        focus == json!(tab_order),
        "Tab moves the focus through {focus}"
    );
    // The script presses Enter on the connect button.
    wait_until_page_shows(&mut page, "connection", "live").await?;
    installation.approve(&id).await?;
    wait_until_page_shows(&mut page, "stage", "canary 2 of 4 nodes, 50 %").await?;
    installation.kill_engine().await?;
    wait_until_page_shows(&mut page, "connection", "reconnecting").await?;
    installation.restart_engine().await?;
    // Usually before the page has reconnected, so that it misses these events.
    installation.pause_and_resume(&id).await?;
    wait_until_page_shows(&mut page, "connection", "live").await?;
    wait_until_page_shows(&mut page, "status", "✔ succeeded").await?;
    installation.start_node("qa-5")?;
    let five = "built-in● healthy5 instances, 5 passing";
    wait_until_page_shows(&mut page, "sources", five).await?;

    page.write_line("report").await?;
    let (report, _) = page.read_until_field("report").await?;
    ensure!(page.wait_for_exit().await?.code == Some(0));
    check_report(&report, &installation, &id)
        .await
        .with_context(|| format!("{report:#}"))
}

/// Builds the page and serves it. The server prints its address on the first line.
async fn build_and_serve_page() -> Result<ChildProcess> {
    let npm = |arguments: &[&str]| -> Result<Command> {
        let mut command = tools::npm(&tools::repository_root().join(PAGE))?;
        command.args(arguments).env("PORT", "0");
        Ok(command)
    };
    let build = ChildProcess::start(npm(&["run", "build"])?)?
        .wait_for_exit()
        .await?;
    ensure!(build.code == Some(0), "{build:?}");
    ChildProcess::start(npm(&["start", "--silent"])?)
}

fn open_page(installation: &Installation, address: &str, id: &str) -> Result<ChildProcess> {
    let mut command = script(installation, "page.mjs")?;
    command.args([address, id, SCREENSHOT]);
    command.env("CHROMIUM", tools::chromium()?);
    // The browser's profile is removed with the installation.
    command.env("TMPDIR", installation.folder());
    ChildProcess::start(command)
}

/// Waits until the page shows `text` in the field `what`.
async fn wait_until_page_shows(page: &mut ChildProcess, what: &str, text: &str) -> Result<()> {
    loop {
        let (shown, _) = page.read_until_field("shows").await?;
        if shown[what] == text {
            return Ok(());
        }
    }
}

async fn check_report(report: &Value, installation: &Installation, id: &str) -> Result<()> {
    let expected = notifications::expected_notifications(installation, id).await?;
    let events = report["events"].as_array().context("no events")?;
    let subscribed = events.first().context("no events")?;
    let missed = notifications::after_offset(&expected, &subscribed["argument"]["offset"])?;
    notifications::ensure_complete(&notifications::parse_events(events)?, missed)?;
    let subscriptions = events.iter().filter(|one| one["event"] == "Subscribed");
    let subscriptions: Vec<_> = subscriptions.map(|one| one["text"].as_str()).collect();
    ensure!(
        subscriptions.len() > 1
            && subscriptions[1..]
                .iter()
                .all(|text| text.is_some_and(is_resumed))
    );
    ensure!(report["title"] == "hello 1.0.0 → qa");
    ensure!(report["progress"] == "100");
    ensure!(report["nodes"] == json!(["active", "active", "active", "active"]));
    ensure!(report["token"] == false && report["errors"] == json!([]));
    Ok(())
}

fn is_resumed(text: &str) -> bool {
    text.starts_with("resumed")
}
