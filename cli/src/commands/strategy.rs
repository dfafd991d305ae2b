//! `strategy list`, `show`, `push`, `delete`.

use anyhow::Result;
use serde_json::Value;

use super::Context;
use crate::args::StrategyCommand;
use crate::client::{self, Page, StrategyRow};
use crate::exit::Exit;
use crate::output::{Output, say};
use crate::watch::words::clean;

/// Does what a `strategy` command asks.
pub async fn run(command: StrategyCommand, context: &Context) -> Result<Exit> {
    let (client, out) = (&context.client, context.out);
    match command {
        StrategyCommand::List => {
            let page: Page<Value> = serde_json::from_value(client.strategies().await?)?;
            if out.json {
                out.value(&page.items)?;
                return Ok(Exit::Success);
            }
            let row = |item| -> Result<[String; 4]> {
                let row: StrategyRow = serde_json::from_value(item)?;
                let origin = if row.built_in { "built in" } else { "uploaded" };
                Ok([
                    row.name,
                    clean(&row.version),
                    origin.to_owned(),
                    clean(&row.summary),
                ])
            };
            let rows = page
                .items
                .into_iter()
                .map(row)
                .collect::<Result<Vec<_>>>()?;
            out.table(["STRATEGY", "VERSION", "ORIGIN", "SUMMARY"], &rows)?;
        }
        StrategyCommand::Show { name } => {
            let strategy = client.strategy(&name).await?;
            if out.json {
                out.value(&strategy)?;
            } else {
                show(&strategy, out)?;
            }
        }
        StrategyCommand::Push { file } => {
            let pushed = client.push_strategy(client::file(&file).await?).await?;
            if out.json {
                out.value(&pushed)?;
            } else {
                let row: StrategyRow = serde_json::from_value(pushed)?;
                out.line(&format!("{} {}", row.name, clean(&row.version)))?;
                say(&format!(
                    "use it with: hotswap deploy MODULE -e ENVIRONMENT --strategy {}",
                    row.name
                ));
            }
        }
        StrategyCommand::Delete { name } => {
            client.delete_strategy(&name).await?;
            say(&format!(
                "strategy {name} is deleted; deployments that run by it go on"
            ));
        }
    }
    Ok(Exit::Success)
}

/// The summary, then each setting with its default and what it is for.
fn show(strategy: &Value, out: Output) -> Result<()> {
    let row: StrategyRow = serde_json::from_value(strategy.clone())?;
    out.line(&format!(
        "{} {}: {}",
        row.name,
        clean(&row.version),
        clean(&row.summary)
    ))?;
    let properties = strategy
        .pointer("/configSchema/properties")
        .and_then(Value::as_object);
    let Some(properties) = properties.filter(|properties| !properties.is_empty()) else {
        return out.line("it has no settings");
    };
    out.line("")?;
    out.line("settings, for --config key=value:")?;
    for (name, schema) in properties {
        let default = schema.get("default");
        let default = default.map_or_else(String::new, |default| format!(" [default: {default}]"));
        out.line(&format!("  {}{}", clean(name), clean(&default)))?;
        if let Some(text) = schema.get("description").and_then(Value::as_str) {
            out.line(&format!("      {}", clean(text)))?;
        }
    }
    Ok(())
}
