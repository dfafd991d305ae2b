//! `hotswap discovery …`.

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use super::Context;
use crate::args::DiscoveryCommand;
use crate::exit::{Exit, UsageError};
use crate::format::sanitize;
use crate::output::print_message;

mod backends;
mod contract;

const SOURCES: [&str; 6] = ["SOURCE", "KIND", "CONDITION", "AGE", "INSTANCES", "PASSING"];
const INSTANCES: [&str; 6] = [
    "NODE",
    "ENVIRONMENT",
    "HEALTH",
    "ENGINE",
    "ZONE",
    "CONTROL URL",
];

/// A source, as the API writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    name: String,
    kind: String,
    condition: String,
    age_millis: Option<u64>,
    instances: u64,
    passing: u64,
    #[serde(default)]
    invalid: u64,
    invalid_example: Option<String>,
    held: Option<Held>,
    last_error: Option<LastError>,
}

#[derive(Debug, Deserialize)]
struct Held {
    lost: u64,
    alive: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct LastError {
    message: String,
}

#[derive(Debug, Deserialize)]
struct Detail {
    source: Source,
    instances: Vec<Instance>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    id: String,
    environment: Option<String>,
    health: String,
    zone: Option<String>,
    control_url: Option<String>,
    poll: Option<Poll>,
    #[serde(default)]
    conflicts: Vec<Conflict>,
}

/// The outcome of the engine's own question.
#[derive(Debug, Deserialize)]
struct Poll {
    ok: bool,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Conflict {
    field: String,
    source: String,
    says: String,
}

/// Runs a `discovery` command.
pub async fn run(command: DiscoveryCommand, context: &Context) -> Result<Exit> {
    match command {
        DiscoveryCommand::List => list(context).await,
        DiscoveryCommand::Get { name } => {
            let detail = context.client.discovery_source(&name).await?;
            show(&detail, context)?;
            Ok(Exit::Success)
        }
        DiscoveryCommand::Backends => backends::list(context).await,
        DiscoveryCommand::Upload { file } => backends::upload(&file, context).await,
        DiscoveryCommand::Delete { name } => backends::delete(&name, context).await,
        DiscoveryCommand::Check {
            name,
            config: Some(file),
            read_only,
        } => {
            let checks = contract::check(&name, file, read_only).await?;
            contract::show(&checks, context)
        }
        DiscoveryCommand::Check { name, .. } => {
            let name = name
                .parse()
                .map_err(|error| UsageError(format!("the source: {error}")))?;
            let detail = context.client.refresh_discovery_source(&name).await?;
            show(&detail, context)?;
            let detail: Detail = serde_json::from_value(detail)?;
            Ok(match detail.source.condition.as_str() {
                "healthy" => Exit::Success,
                _ => Exit::Failure,
            })
        }
    }
}

async fn list(context: &Context) -> Result<Exit> {
    let list = context.client.discovery_sources().await?;
    if context.out.json {
        context.out.json(&list)?;
        return Ok(Exit::Success);
    }
    let sources: Vec<Source> = serde_json::from_value(list["sources"].clone())?;
    let rows: Vec<_> = sources.iter().map(row).collect();
    context.out.table(SOURCES, &rows)?;
    for source in &sources {
        for remark in remarks(source) {
            print_message(&format!("{}: {remark}", sanitize(&source.name)));
        }
    }
    Ok(Exit::Success)
}

fn show(detail: &Value, context: &Context) -> Result<()> {
    if context.out.json {
        context.out.json(detail)?;
        return Ok(());
    }
    let detail: Detail = serde_json::from_value(detail.clone())?;
    context.out.table(SOURCES, &[row(&detail.source)])?;
    for remark in remarks(&detail.source) {
        context.out.line(&remark)?;
    }
    if detail.instances.is_empty() {
        return Ok(());
    }
    context.out.line("")?;
    let text = |text: &Option<String>| sanitize(text.as_deref().unwrap_or_default());
    let rows: Vec<_> = detail
        .instances
        .iter()
        .map(|instance| {
            [
                sanitize(&instance.id),
                text(&instance.environment),
                instance.health.clone(),
                engine_view(instance).to_owned(),
                text(&instance.zone),
                text(&instance.control_url),
            ]
        })
        .collect();
    context.out.table(INSTANCES, &rows)?;
    for instance in &detail.instances {
        if let Some(reason) = instance.poll.as_ref().and_then(|it| it.reason.as_ref()) {
            let line = format!("{}: {reason}", instance.id);
            context.out.line(&sanitize(&line))?;
        }
        for Conflict {
            field,
            source,
            says,
        } in &instance.conflicts
        {
            let line = format!("{}: {source} says {field} is {says}", instance.id);
            context.out.line(&sanitize(&line))?;
        }
    }
    Ok(())
}

/// What the engine itself knows of an instance, whatever its registry says.
fn engine_view(instance: &Instance) -> &'static str {
    match &instance.poll {
        None => "not asked",
        Some(poll) if poll.ok => "answers",
        Some(_) => "refused",
    }
}

fn row(source: &Source) -> [String; 6] {
    let age = source.age_millis.map(|age| match age {
        0..1000 => "now".to_owned(),
        age => format!("{} s", age / 1000),
    });
    [
        sanitize(&source.name),
        sanitize(&source.kind),
        source.condition.clone(),
        age.unwrap_or_default(),
        source.instances.to_string(),
        source.passing.to_string(),
    ]
}

/// The problems, a sentence each.
fn remarks(source: &Source) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(error) = &source.last_error
        && source.condition != "healthy"
    {
        remarks.push(error.message.clone());
    }
    if let Some(held) = &source.held {
        let alive = held.alive.map_or_else(String::new, |alive| {
            format!("; {alive} of them still answer the engine")
        });
        let lost = held.lost;
        remarks.push(format!("the registry has lost {lost} instances{alive}"));
    }
    if let Some(example) = &source.invalid_example {
        let count = source.invalid;
        remarks.push(format!(
            "{count} instances cannot be nodes, such as {example}"
        ));
    }
    remarks.iter().map(|remark| sanitize(remark)).collect()
}
