//! The example page in a real browser.

use anyhow::{Context, Result, ensure};
use hotswap_tests::{Installation, Program, tools};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::node::script;
use crate::told;

const PAGE: &str = "examples/javascript-websocket-client";

/// What the page looked like in the end, for people.
const PICTURE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/page.png");

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_a_rollout_live_though_the_engine_is_killed_in_the_middle() -> Result<()> {
    let mut server = serve().await?;
    let address = server.line().await?;
    let origin = address.trim_end_matches('/');
    let mut here = Installation::start("qa", 4, &["--cors-origin", origin]).await?;
    let canary = json!({ "steps": [25, 50, 75, 100], "soak": "1s" });
    let id = here.propose("1.0.0", "canary", canary).await?;
    let mut page = open(&here, &address, &id)?;

    let (focus, _) = page.told("focus").await?;
    let order = ["url", "token", "id", "connect", "disconnect", "scroll"];
    ensure!(focus == json!(order), "Tab leads to {focus}");
    // Enter has been pressed on the button.
    shows(&mut page, "connection", "live").await?;
    here.approve(&id).await?;
    shows(&mut page, "stage", "canary 50 %").await?;
    here.kill_engine().await?;
    shows(&mut page, "connection", "reconnecting").await?;
    here.restart_engine().await?;
    // Before anybody is back, as a rule.
    here.pause(&id).await?;
    shows(&mut page, "connection", "live").await?;
    shows(&mut page, "status", "✔ succeeded").await?;

    page.tell("enough").await?;
    let (report, _) = page.told("report").await?;
    ensure!(page.ended().await?.code == Some(0));
    check(&report, &here, &id)
        .await
        .with_context(|| format!("{report:#}"))
}

/// Builds the page and serves it; the first line is its address.
async fn serve() -> Result<Program> {
    let npm = |arguments: &[&str]| -> Result<Command> {
        let mut command = tools::npm(&tools::root().join(PAGE))?;
        command.args(arguments).env("PORT", "0");
        Ok(command)
    };
    let built = Program::start(npm(&["run", "build"])?)?.ended().await?;
    ensure!(built.code == Some(0), "{built:?}");
    Program::start(npm(&["start", "--silent"])?)
}

fn open(here: &Installation, address: &str, id: &str) -> Result<Program> {
    let mut command = script(here, "page.mjs")?;
    command.args([address, id, PICTURE]);
    command.env("CHROMIUM", tools::chromium()?);
    // Its profile goes with the rest.
    command.env("TMPDIR", here.folder());
    Program::start(command)
}

/// Waits until the page shows this.
async fn shows(page: &mut Program, what: &str, text: &str) -> Result<()> {
    loop {
        let (shown, _) = page.told("shows").await?;
        if shown[what] == text {
            return Ok(());
        }
    }
}

async fn check(report: &Value, here: &Installation, id: &str) -> Result<()> {
    let all = told::all(here, id).await?;
    let events = report["events"].as_array().context("no events")?;
    let subscribed = events.first().context("no events")?;
    let rest = told::after(&all, &subscribed["argument"]["offset"])?;
    told::ensure_whole(&told::events(events)?, rest)?;
    let again = events.iter().filter(|one| one["event"] == "Subscribed");
    let again: Vec<_> = again.map(|one| one["text"].as_str()).collect();
    ensure!(again.len() > 1 && again[1..].iter().all(|text| text.is_some_and(resumed)));
    ensure!(report["title"] == "hello 1.0.0 → qa");
    ensure!(report["progress"] == "100");
    ensure!(report["nodes"] == json!(["active", "active", "active", "active"]));
    ensure!(report["token"] == false && report["errors"] == json!([]));
    Ok(())
}

fn resumed(text: &str) -> bool {
    text.starts_with("resumed")
}
