//! `hotswap node …`, except for `hotswap node run`.

mod control;
mod drain;

use anyhow::Result;
use hotswap_core::{Environment, NodeId};
use serde_json::Value;

use super::Context;
use crate::client::{NodeCordon, NodeModule, NodeRow, Page};
use crate::exit::Exit;
use crate::format::{self, sanitize};
use crate::output::print_message;

pub use control::{cordon, delete, uncordon};
pub use drain::drain;

const HEAD: [&str; 8] = [
    "NODE",
    "ENVIRONMENT",
    "HEALTH",
    "ZONE",
    "LABELS",
    "SOURCE",
    "RUNS",
    "DATA URL",
];

/// Lists the nodes, of one environment or of all.
pub async fn list(environment: Option<&Environment>, context: &Context) -> Result<Exit> {
    let page: Page<Value> = serde_json::from_value(context.client.nodes().await?)?;
    let is_listed = |item: &Value| {
        let name = item.get("environment").and_then(Value::as_str);
        environment.is_none_or(|environment| name == Some(environment.as_str()))
    };
    let items: Vec<_> = page.items.into_iter().filter(is_listed).collect();
    if context.out.json {
        context.out.json(&items)?;
        return Ok(Exit::Success);
    }
    let rows = items
        .into_iter()
        .map(|item| Ok(row(serde_json::from_value(item)?)))
        .collect::<Result<Vec<_>>>()?;
    if rows.is_empty() {
        print_message("no nodes; start one with: hotswap node run --environment ENV");
    } else {
        context.out.table(HEAD, &rows)?;
    }
    Ok(Exit::Success)
}

/// Shows one node.
pub async fn get(id: &NodeId, context: &Context) -> Result<Exit> {
    let node = context.client.node(id).await?;
    if context.out.json {
        context.out.json(&node)?;
        return Ok(Exit::Success);
    }
    let node: NodeRow = serde_json::from_value(node)?;
    let labels = labels(&node);
    let reason = node
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {reason}"));
    let fields = [
        ("node", node.id.clone()),
        ("environment", node.environment.clone()),
        ("health", format!("{}{reason}", health(&node))),
        (
            "cordon",
            node.cordon.as_ref().map_or_else(String::new, cordon_text),
        ),
        ("ready", ready(&node)),
        ("zone", node.zone.clone().unwrap_or_default()),
        ("labels", labels),
        ("source", source(node.source.as_deref())),
        ("data URL", node.data_url.clone()),
        ("control URL", node.control_url.clone()),
    ];
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        let line = format!("{name:<11}  {}", sanitize(&value));
        context.out.line(line.trim_end())?;
    }
    for module in &node.modules {
        let line = format!("{:<11}  {}", "runs", version(module));
        context.out.line(&line)?;
    }
    for difference in differences(&node) {
        context.out.line(&difference)?;
    }
    Ok(Exit::Success)
}

/// What the node runs of the modules that it should run: `hello 1.0.0`, with a `!` and what it
/// should run where that is something else.
pub(super) fn versions(node: &NodeRow) -> String {
    let versions: Vec<_> = node.modules.iter().map(version).collect();
    versions.join(", ")
}

fn version(module: &NodeModule) -> String {
    let name = &module.module_name;
    let or_none = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".to_owned());
    let actual = or_none(&module.actual);
    if module.state == "inStep" {
        format!("{name} {actual}")
    } else {
        format!("! {name} {actual}, not {}", or_none(&module.desired))
    }
}

/// Why the node does not run what it should, and what happens next: a line for each module.
pub(super) fn differences(node: &NodeRow) -> impl Iterator<Item = String> {
    node.modules.iter().filter_map(|module| {
        let (reason, next) = (module.reason.as_ref()?, module.next.as_ref()?);
        let line = format!("{}, {}: {reason}; {next}", node.id, module.module_name);
        Some(sanitize(&line))
    })
}

/// A node as a row of a table under [`HEAD`].
fn row(node: NodeRow) -> [String; 8] {
    let (health, versions) = (health(&node), versions(&node));
    let labels = sanitize(&labels(&node));
    [
        node.id,
        node.environment,
        health,
        node.zone.unwrap_or_default(),
        labels,
        source(node.source.as_deref()),
        versions,
        node.data_url,
    ]
}

/// The source through which the engine knows a node. Empty where it is not known.
pub(super) fn source(source: Option<&str>) -> String {
    sanitize(source.unwrap_or_default())
}

/// `✔ passing`, or `! passing, drained`.
pub(super) fn health(node: &NodeRow) -> String {
    let cordon = match &node.cordon {
        Some(cordon) if cordon.drained => ", drained",
        Some(_) => ", cordoned",
        None => "",
    };
    let is_well = node.health == "passing" && cordon.is_empty();
    let sign = if is_well { '✔' } else { '!' };
    format!("{sign} {}{cordon}", node.health)
}

/// `drained by ada: its disk is replaced`.
pub(super) fn cordon_text(cordon: &NodeCordon) -> String {
    let verb = if cordon.drained {
        "drained"
    } else {
        "cordoned"
    };
    let reason = cordon.reason.as_ref();
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{verb} by {}{reason}", cordon.by)
}

/// `no, 3 requests in flight: the node was drained by ada`. Empty where it is not known.
fn ready(node: &NodeRow) -> String {
    let in_flight = node.in_flight.unwrap_or(0);
    let in_flight = format::count(usize::try_from(in_flight).unwrap_or(usize::MAX), "request");
    match (node.ready, &node.unready_reason) {
        (None, _) => String::new(),
        (Some(true), _) => "yes".to_owned(),
        (Some(false), reason) => {
            let reason = reason.as_deref().unwrap_or("it gives no reason");
            format!("no, {in_flight} in flight: {reason}")
        }
    }
}

fn labels(node: &NodeRow) -> String {
    let labels = node.labels.iter();
    let labels: Vec<_> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    labels.join(" ")
}
