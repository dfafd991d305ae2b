//! `hotswap strategy …`.

use std::path::Path;

use anyhow::Result;
use hotswap_core::StrategyName;
use serde_json::Value;

use super::Context;
use crate::args::StrategyCommand;
use crate::client::{self, Page, StrategyRow};
use crate::exit::Exit;
use crate::exit_report::ExitReport;
use crate::format::sanitize;
use crate::output::{Output, print_message};

/// Runs a `strategy` command.
pub async fn run(command: StrategyCommand, context: &Context) -> Result<Exit> {
    match command {
        StrategyCommand::Upload { file } => upload(&file, context).await,
        StrategyCommand::List => list(context).await,
        StrategyCommand::Get { name } => get(&name, context).await,
        StrategyCommand::Delete { name } => delete(&name, context).await,
    }
}

async fn upload(file: &Path, context: &Context) -> Result<Exit> {
    let component = client::file_body(file).await?;
    let response = context.client.upload_strategy(component).await?;
    let row: StrategyRow = serde_json::from_value(response.clone())?;
    let version = sanitize(&row.version);
    let next = format!("hotswap deploy MODULE -e ENV --strategy {}", row.name);
    if context.out.json {
        let report = ExitReport::new(Exit::Success).id(&row.name);
        let report = report.state("uploaded").response(response).next(next);
        context.out.json(&report.to_json())?;
    } else {
        context.out.line(&format!("{} {version}", row.name))?;
        print_message(&format!("use it with: {next}"));
    }
    Ok(Exit::Success)
}

async fn list(context: &Context) -> Result<Exit> {
    let page: Page<Value> = serde_json::from_value(context.client.strategies().await?)?;
    if context.out.json {
        context.out.json(&page.items)?;
        return Ok(Exit::Success);
    }
    let row = |item| -> Result<[String; 4]> {
        let row: StrategyRow = serde_json::from_value(item)?;
        let origin = if row.built_in { "built in" } else { "uploaded" };
        Ok([
            row.name,
            sanitize(&row.version),
            origin.to_owned(),
            sanitize(&row.summary),
        ])
    };
    let rows = page.items.into_iter().map(row);
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let head = ["STRATEGY", "VERSION", "ORIGIN", "SUMMARY"];
    context.out.table(head, &rows)?;
    Ok(Exit::Success)
}

async fn get(name: &StrategyName, context: &Context) -> Result<Exit> {
    let strategy = context.client.strategy(name).await?;
    if context.out.json {
        context.out.json(&strategy)?;
    } else {
        print_strategy(&strategy, context.out)?;
    }
    Ok(Exit::Success)
}

async fn delete(name: &StrategyName, context: &Context) -> Result<Exit> {
    context.client.delete_strategy(name).await?;
    let message = format!("strategy {name} is deleted; deployments that already use it continue");
    if context.out.json {
        let report = ExitReport::new(Exit::Success).id(name).state("deleted");
        context.out.json(&report.message(message).to_json())?;
    } else {
        print_message(&message);
    }
    Ok(Exit::Success)
}

/// Prints the summary, then each setting with its default and description.
fn print_strategy(strategy: &Value, out: Output) -> Result<()> {
    let row: StrategyRow = serde_json::from_value(strategy.clone())?;
    out.line(&format!(
        "{} {}: {}",
        row.name,
        sanitize(&row.version),
        sanitize(&row.summary)
    ))?;
    let properties = strategy
        .pointer("/configSchema/properties")
        .and_then(Value::as_object);
    let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
        return out.line("it has no settings");
    };
    out.line("")?;
    out.line("settings, for --set key=value:")?;
    for (name, schema) in properties {
        let default = schema.get("default");
        let default = default.map_or_else(String::new, |default| format!(" [default: {default}]"));
        out.line(&format!("  {}{}", sanitize(name), sanitize(&default)))?;
        if let Some(text) = schema.get("description").and_then(Value::as_str) {
            out.line(&format!("      {}", sanitize(text)))?;
        }
    }
    Ok(())
}
