//! `docs/OBSERVABILITY.md` lists what a running engine and a running node expose, and nothing
//! else; and what happens moves the series that tell of it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{EMAIL, Installation, ListedEvents, tools};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

/// The series that the tables of the guide list, each with its type.
fn documented() -> Result<BTreeMap<String, String>> {
    let path = tools::repository_root().join("docs/OBSERVABILITY.md");
    let text = std::fs::read_to_string(path)?;
    let mut series = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `hotswap_")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, kind, unit, meaning, _] = cells.as_slice() else {
            anyhow::bail!("not four cells: {line}");
        };
        ensure!(!unit.is_empty() && !meaning.is_empty(), "{line}");
        let twice = series.insert(name.trim_matches('`').to_owned(), (*kind).to_owned());
        ensure!(twice.is_none(), "listed twice: {line}");
    }
    Ok(series)
}

/// The series that a text of metrics announces, each with its type.
fn exposed(text: &str) -> BTreeMap<String, String> {
    let announced = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let pairs = announced.filter_map(|rest| rest.split_once(' '));
    let series = pairs.map(|(name, kind)| {
        let suffix = if kind == "counter" { "_total" } else { "" };
        (format!("{name}{suffix}"), kind.to_owned())
    });
    series.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_lists_exactly_what_engine_and_nodes_expose() -> Result<()> {
    let hotswap = Installation::start("production", 1, &[]).await?;
    let nodes = hotswap.get("/api/v1/nodes").await?;
    let control = nodes["nodes"][0]["controlUrl"].as_str().context("no URL")?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let found = loop {
        let mut found = BTreeMap::new();
        for url in [hotswap.url.as_str(), control] {
            let text = reqwest::get(format!("{url}/metrics")).await?.text().await?;
            found.extend(exposed(&text));
        }
        // Announced with the first reading of the disk.
        if found.contains_key("hotswap_disk_full") || Instant::now() > deadline {
            break found;
        }
        sleep(Duration::from_millis(50)).await;
    };
    let documented = documented()?;
    let missing = found
        .iter()
        .filter(|(name, _)| !documented.contains_key(*name));
    let missing: Vec<_> = missing.collect();
    ensure!(missing.is_empty(), "not in the guide: {missing:#?}");
    for (name, kind) in documented {
        ensure!(
            found.get(&name) == Some(&kind),
            "nobody exposes {name} as {kind}"
        );
    }
    Ok(())
}

const QA: &str = "qa";

/// The samples of the engine whose line begins like this, added up.
async fn sum(hotswap: &Installation, start: &str) -> Result<f64> {
    let text = reqwest::get(format!("{}/metrics", hotswap.url)).await?;
    let text = text.text().await?;
    let samples = text.lines().filter(|line| line.starts_with(start));
    let values = samples.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    Ok(values.sum())
}

/// Polls until all of these are more than nothing.
async fn wait_for_more_than_nothing(hotswap: &Installation, starts: &[&str]) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut still = Vec::new();
        for start in starts {
            if sum(hotswap, start).await? <= 0.0 {
                still.push(start);
            }
        }
        if still.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "nothing counted: {still:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Deploys by a person's approval before the strategy begins.
async fn deploy(hotswap: &Installation, version: &str) -> Result<Value> {
    let id = hotswap.propose(version, "direct", json!({})).await?;
    let waits = |state: &Value| state["status"] == "awaitingApproval";
    hotswap.wait_for_state(&id, waits).await?;
    hotswap.approve(&id).await?;
    let ended = hotswap.wait_for_end(&id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");
    Ok(ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_counted_by_its_steps_its_cause_and_its_orders() -> Result<()> {
    let hotswap = Installation::start(QA, 1, &[]).await?;
    deploy(&hotswap, "1.0.0").await?;
    let reverts = "hotswap_deployments_reverted_total{";
    ensure!(
        sum(&hotswap, reverts).await? == 0.0,
        "nothing is reverted yet"
    );
    let ended = "hotswap_deployments_ended_total{outcome=\"rolledBack\"}";
    ensure!(
        sum(&hotswap, ended).await? == 0.0,
        "nothing is rolled back yet"
    );

    // It has changed a node when it asks.
    let request = json!({
        "moduleName": "hello", "version": "2.0.0", "targetEnvironment": QA,
        "strategy": "blue-green", "requesterEmail": EMAIL,
        "config": { "approval": true, "approvalTimeout": "1h", "soak": "0s" },
    });
    let accepted = hotswap.post("/api/v1/deployments", request).await?;
    let id = accepted["executionId"].as_str().context("no id")?;
    let waits = |state: &Value| state["status"] == "awaitingApproval";
    hotswap.wait_for_state(id, waits).await?;
    let no = json!({ "approved": false, "requesterEmail": EMAIL });
    let path = format!("/api/v1/deployments/{id}/approval");
    hotswap.post(&path, no).await?;
    let state = hotswap.wait_for_end(id).await?;
    ensure!(state["status"] == "rolledBack", "{state}");

    let counted = [
        reverts,
        ended,
        "hotswap_deployment_step_duration_seconds_count{step=\"plan\"}",
        "hotswap_deployment_step_duration_seconds_count{step=\"call\"}",
        "hotswap_deployment_step_duration_seconds_count{step=\"revert\"}",
        "hotswap_deployment_step_duration_seconds_sum{step=\"revert\"}",
        "hotswap_node_operation_duration_seconds_count{operation=\"stage\"}",
        "hotswap_node_operation_duration_seconds_count{operation=\"revert\"}",
        "hotswap_journal_append_duration_seconds_count",
        "hotswap_journal_append_duration_seconds_sum",
    ];
    wait_for_more_than_nothing(&hotswap, &counted).await?;
    ensure!(sum(&hotswap, reverts).await? == 1.0, "one cause, once");
    Ok(())
}

/// Polls until none of these is more than nothing.
async fn wait_for_nothing(hotswap: &Installation, starts: &[&str]) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    for start in starts {
        while sum(hotswap, start).await? > 0.0 {
            ensure!(
                Instant::now() < deadline,
                "{start} is still more than nothing"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// A node cannot get what it should run while the engine's artifacts are away.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_differs_is_counted_with_its_lag_and_its_failed_orders() -> Result<()> {
    let mut hotswap = Installation::start(QA, 1, &[]).await?;
    deploy(&hotswap, "1.0.0").await?;
    let differing = [
        "hotswap_reconciler_differing",
        "hotswap_reconciler_lag_seconds",
    ];
    let failures = "hotswap_node_operation_failures_total{operation=\"stage\"}";
    wait_for_nothing(&hotswap, &differing).await?;
    ensure!(sum(&hotswap, failures).await? == 0.0, "nothing failed yet");
    let artifacts = hotswap.folder().join("engine/blobs");
    let away = hotswap.folder().join("away");
    std::fs::rename(&artifacts, &away)?;
    hotswap.start_node("qa-2")?;
    let counted = [differing[0], differing[1], failures];
    wait_for_more_than_nothing(&hotswap, &counted).await?;
    ensure!(
        sum(&hotswap, differing[0]).await? == 1.0,
        "one module on one node"
    );

    if artifacts.exists() {
        std::fs::remove_dir_all(&artifacts)?;
    }
    std::fs::rename(&away, &artifacts)?;
    wait_for_nothing(&hotswap, &differing).await
}

/// As `LOG_EVENTS.md` lists it. Every test that ends an engine checks its log.
#[test]
fn a_line_of_a_log_is_listed_by_its_message_its_level_and_its_fields() -> Result<()> {
    let listed = ListedEvents::read()?;
    let line = |level: &str, message: &str, more: &str| {
        format!(
            r#"{{"timestamp":"","level":"{level}","target":"hotswap_node","message":"{message}"{more}}}"#
        )
    };
    let node = r#","node":"a","data_addr":"","control_addr":"""#;
    for good in [
        line("INFO", "node started", node),
        line("INFO", "node stopped", r#","trace_id":"1","span_id":"2""#),
        line(
            "WARN",
            "cannot renew the session with the store, retrying",
            r#","error":"""#,
        ),
        "not JSON".to_owned(),
    ] {
        assert!(listed.check(&good).is_ok(), "{good}");
    }
    for bad in [
        line("WARN", "node started", node),
        line("INFO", "node started", ""),
        line("INFO", "node started", r#","node":"a","colour":"red""#),
        line("INFO", "node has begun", node),
        line("WARN", "cannot renew the session", r#","error":"""#),
    ] {
        assert!(listed.check(&bad).is_err(), "{bad}");
    }
    Ok(())
}
