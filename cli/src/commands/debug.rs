//! `hotswap debug …`.

mod archive;
mod deployment;
mod environments;
mod nodes;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use hotswap_common::file;
use hotswap_core::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::Context;
use crate::args::{Bundle, DebugCommand};
use crate::client::Error;
use crate::exit::Exit;
use crate::format;
use crate::output::print_message;
use archive::Archive;

/// What every report has, by the name of its file and its path on the engine.
const PARTS: [(&str, &str); 10] = [
    ("health.json", "/health/ready"),
    ("metrics.txt", "/metrics"),
    ("nodes.json", "/api/v1/nodes"),
    ("clusters.json", "/api/v1/clusters"),
    ("modules.json", "/api/v1/modules"),
    ("strategies.json", "/api/v1/strategies"),
    ("backends.json", "/api/v1/backends"),
    ("discovery.json", "/api/v1/discovery"),
    ("store.json", "/api/v1/store/usage"),
    ("deployments.json", "/api/v1/deployments?limit=200"),
];

/// Runs a `debug` command.
pub async fn run(command: DebugCommand, context: &Context) -> Result<Exit> {
    match command {
        DebugCommand::Bundle(bundle) => collect(bundle, context).await,
    }
}

async fn collect(bundle: Bundle, context: &Context) -> Result<Exit> {
    let Bundle {
        deployment,
        node,
        output,
    } = bundle;
    let now = UNIX_EPOCH + Duration::from_millis(SystemClock.now().millis());
    let file = output.unwrap_or_else(|| default_file(now));
    ensure!(
        !file.exists(),
        "{} exists already; choose another file with --output",
        file.display()
    );
    let client = &context.client;
    let mut archive = Archive::new(now);
    // An engine that does not answer this answers nothing, or to another user.
    add_report(&mut archive, &client.debug_report().await?)?;
    for (name, path) in PARTS {
        archive.add(name, client.raw(path).await)?;
    }
    environments::add_policies(&mut archive, client).await?;
    let mut nodes: BTreeSet<_> = node.iter().map(ToString::to_string).collect();
    if let Some(id) = deployment {
        nodes.extend(deployment::add(&mut archive, client, id).await?);
    }
    nodes::add_logs(&mut archive, client, nodes).await?;
    let (bytes, manifest) = archive.finish(json!({
        "server": client.server(),
        "deployment": deployment,
    }))?;
    file::write_atomic(&file, &bytes)?;
    let shown = file.display().to_string();
    if context.out.json {
        let mut manifest = manifest;
        manifest["file"] = shown.into();
        context.out.json(&manifest)?;
        return Ok(Exit::Success);
    }
    for missing in manifest["missing"].as_array().into_iter().flatten() {
        let text = |key: &str| missing[key].as_str().unwrap_or_default();
        print_message(&format!("without {}: {}", text("name"), text("reason")));
    }
    context.out.line(&shown)?;
    print_message(
        "it names nodes, modules and people, and repeats the log: read it before you pass it on",
    );
    Ok(Exit::Success)
}

/// The log becomes a file of its own, to be read with the usual tools.
fn add_report(archive: &mut Archive, report: &Value) -> Result<()> {
    let mut report = report.clone();
    let log = log_of(&report);
    if let Some(report) = report.as_object_mut() {
        report.remove("log");
    }
    archive.add("engine.log", Ok::<_, Error>(log))?;
    let report = format!("{report:#}\n").into_bytes();
    archive.add("engine.json", Ok::<_, Error>(report))
}

/// The log in the report of an engine or a node, an entry a line.
fn log_of(report: &Value) -> Vec<u8> {
    let entries = report["log"].as_array().into_iter().flatten();
    let entries: Vec<_> = entries.filter_map(Value::as_str).collect();
    (entries.join("\n") + "\n").into_bytes()
}

fn default_file(now: SystemTime) -> PathBuf {
    let time = format::rfc3339(now);
    format!("hotswap-debug-{}.tar.gz", time.replace([':', '-'], "")).into()
}
