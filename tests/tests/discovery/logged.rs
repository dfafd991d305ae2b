//! What a discovery component does and says reaches the engine's log, as an operator reads it.

use std::cell::Cell;

use anyhow::{Result, ensure};
use hotswap_tests::{ChildProcess, ListedEvents, tools};
use serde_json::Value;

/// An engine with a component that obeys the name of the service.
async fn engine(folder: &std::path::Path, service: &str) -> Result<ChildProcess> {
    std::fs::write(folder.join("probe.wasm"), hotswap_guests::DISCOVERY_PROBE)?;
    std::fs::write(
        folder.join("hotswap.toml"),
        format!(
            "[[discovery]]\nname = \"probe\"\nbackend = \"probe.wasm\"\nservice = \"{service}\"\n\
             origins = [\"http://registry.invalid:80\"]\n"
        ),
    )?;
    let mut serve = tools::hotswap()?;
    serve
        .current_dir(folder)
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "engine"])
        .args(["--log-format", "json"]);
    ChildProcess::start(serve)
}

/// Waits for a line of the log of this source that holds the text, anywhere in it, and that the
/// documentation lists. Returns it.
async fn check_logged(service: &str, text: &str) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let mut engine = engine(folder.path(), service).await?;
    let logged = engine.find_in_stderr(|line| {
        let parsed: Value = serde_json::from_str(line).ok()?;
        let of_source = parsed["backend"] == "probe" || parsed["source"] == "probe";
        (of_source && line.contains(text)).then_some(parsed)
    });
    let logged = logged.await?;
    ensure!(ListedEvents::read()?.check(&logged.to_string())? == 1);
    engine.kill().await?;
    Ok(logged)
}

#[tokio::test]
async fn the_lines_of_a_backend_reach_the_log_of_the_engine() -> Result<()> {
    check_logged("log", "line 7").await.map(drop)
}

#[tokio::test]
async fn the_text_of_a_panic_reaches_the_log_of_the_engine() -> Result<()> {
    check_logged("panic for-a-reason", "asked for")
        .await
        .map(drop)
}

#[tokio::test]
async fn a_request_to_a_host_that_is_not_configured_is_in_the_log() -> Result<()> {
    let text = "refused a request to a host that its configuration does not name";
    let logged = check_logged("get http://other.invalid:1/", text).await?;
    assert_eq!(logged["scheme"], "http");
    assert_eq!(logged["host"], "other.invalid:1");
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_not_configured_is_in_the_log() -> Result<()> {
    let text = "refused to resolve a name that its configuration does not hold";
    check_logged("resolve other.invalid", text).await.map(drop)
}

/// Ten lines for each call, and one that says how many there would be.
#[tokio::test]
async fn a_flood_of_refusals_is_a_few_lines_in_the_log() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut engine = engine(folder.path(), "refused 100").await?;
    let lines = Cell::new(0);
    let counted = engine.find_in_stderr(|line| {
        let parsed: Value = serde_json::from_str(line).ok()?;
        if parsed["backend"] != "probe" || !line.contains("was refused") {
            return None;
        }
        lines.set(lines.get() + 1);
        // Of the first call.
        line.contains("refused too much").then_some(parsed)
    });
    let last = counted.await?;
    ensure!(last["refused"] == 200, "{last:#}");
    ListedEvents::read()?.check(&last.to_string())?;
    assert_eq!(lines.get(), 11);
    engine.kill().await
}
