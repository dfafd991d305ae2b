//! `hotswap environment …`.

mod follow;

use std::time::Duration;

use anyhow::Result;
use hotswap_core::Environment;
use serde_json::Value;

use super::Context;
use super::node::{cordon_text, differences, health as node_health, source, versions};
use crate::args::EnvironmentCommand;
use crate::client::{EnvironmentEventRow, EnvironmentRow, EnvironmentState, HealthCounts, Page};
use crate::exit::Exit;
use crate::format::{self, sanitize};
use crate::output::print_message;

const HEAD: [&str; 5] = [
    "ENVIRONMENT",
    "NODES",
    "STRATEGY",
    "MAX UNAVAILABLE",
    "DEADLINE",
];

/// Runs an `environment` command.
pub async fn run(command: EnvironmentCommand, context: &Context) -> Result<Exit> {
    match command {
        EnvironmentCommand::List => list(context).await,
        EnvironmentCommand::Get { name } => get(&name, context).await,
        EnvironmentCommand::Events {
            name,
            limit,
            follow: true,
        } => follow::follow(&name, limit, context).await,
        EnvironmentCommand::Events { name, limit, .. } => events(&name, limit, context).await,
    }
}

async fn list(context: &Context) -> Result<Exit> {
    let page: Page<Value> = serde_json::from_value(context.client.environments().await?)?;
    if context.out.json {
        context.out.json(&page.items)?;
        return Ok(Exit::Success);
    }
    let row = |item| -> Result<[String; 5]> {
        let row: EnvironmentRow = serde_json::from_value(item)?;
        Ok([
            row.environment,
            health(&row.health),
            row.policy.default_strategy,
            row.policy.max_unavailable,
            format::duration(Duration::from_millis(row.policy.deadline)),
        ])
    };
    let rows = page.items.into_iter().map(row);
    let rows = rows.collect::<Result<Vec<_>>>()?;
    if rows.is_empty() {
        print_message(
            "no environments; a node that joins creates one: hotswap node run --environment ENV",
        );
    } else {
        context.out.table(HEAD, &rows)?;
    }
    Ok(Exit::Success)
}

async fn get(name: &Environment, context: &Context) -> Result<Exit> {
    let out = context.out;
    let environment = context.client.environment(name).await?;
    if out.json {
        out.json(&environment)?;
        return Ok(Exit::Success);
    }
    let environment: EnvironmentState = serde_json::from_value(environment)?;
    let policy = &environment.row.policy;
    let deadline = format::duration(Duration::from_millis(policy.deadline));
    for (name, value) in [
        ("environment", environment.row.environment.clone()),
        ("strategy", policy.default_strategy.clone()),
        ("max unavailable", policy.max_unavailable.clone()),
        ("tolerated failures", policy.tolerated_failures.clone()),
        ("deadline", deadline),
        (
            "selector",
            environment.row.selector.clone().unwrap_or_default(),
        ),
        ("nodes", health(&environment.row.health)),
    ] {
        if !value.is_empty() {
            out.line(&format!("{name:<18}  {value}"))?;
        }
    }
    let modules = environment.modules.into_iter();
    let modules: Vec<_> = modules
        .map(|module| {
            [
                module.module_name,
                module.version,
                module.selector.unwrap_or_else(|| "all".to_owned()),
                module.execution_id.to_string(),
            ]
        })
        .collect();
    if !modules.is_empty() {
        out.line("")?;
        out.table(["MODULE", "VERSION", "NODES", "DEPLOYMENT"], &modules)?;
    }
    let nodes = environment.nodes.iter();
    let nodes: Vec<_> = nodes
        .map(|node| {
            let zone = node.zone.clone().unwrap_or_default();
            let source = source(node.source.as_deref());
            [
                node.id.clone(),
                node_health(node),
                zone,
                source,
                versions(node),
            ]
        })
        .collect();
    if !nodes.is_empty() {
        out.line("")?;
        out.table(["NODE", "HEALTH", "ZONE", "SOURCE", "RUNS"], &nodes)?;
    }
    let cordoned = environment.nodes.iter();
    let cordoned = cordoned.filter_map(|node| Some((node, node.cordon.as_ref()?)));
    let cordoned: Vec<_> = cordoned
        .map(|(node, cordon)| format!("{} was {}", node.id, cordon_text(cordon)))
        .collect();
    if !cordoned.is_empty() {
        out.line("")?;
        for line in cordoned {
            out.line(&sanitize(&line))?;
        }
    }
    let differences: Vec<_> = environment.nodes.iter().flat_map(differences).collect();
    if !differences.is_empty() {
        out.line("")?;
        for difference in differences {
            out.line(&difference)?;
        }
    }
    Ok(Exit::Success)
}

async fn events(name: &Environment, limit: u16, context: &Context) -> Result<Exit> {
    let events = context.client.environment_events(name, limit).await?;
    if context.out.json {
        context.out.json(&events)?;
        return Ok(Exit::Success);
    }
    let page: Page<EnvironmentEventRow> = serde_json::from_value(events)?;
    if page.items.is_empty() {
        print_message("nothing has happened here outside of deployments");
    }
    for event in page.items {
        context.out.line(&line(&event))?;
    }
    Ok(Exit::Success)
}

/// An event as a line.
fn line(event: &EnvironmentEventRow) -> String {
    let at = event.timestamp.map_or_else(String::new, format::date_time);
    format!("{at:<20}  {}", sanitize(&event.message))
}

/// `4 passing, 1 critical`.
fn health(counts: &HealthCounts) -> String {
    let parts = [
        (counts.passing, "passing"),
        (counts.warning, "warning"),
        (counts.critical, "critical"),
        (counts.unknown, "unknown"),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, health)| format!("{count} {health}"))
        .collect();
    if parts.is_empty() {
        "none".to_owned()
    } else {
        parts.join(", ")
    }
}
