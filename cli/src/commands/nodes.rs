//! `nodes`.

use anyhow::Result;
use hotswap_core::Environment;
use serde_json::Value;

use super::Context;
use crate::client::{NodeRow, Page};
use crate::exit::Exit;
use crate::output::say;

/// Lists the nodes, of one environment or of all.
pub async fn run(environment: Option<&Environment>, context: &Context) -> Result<Exit> {
    let page: Page<Value> = serde_json::from_value(context.client.nodes().await?)?;
    let wanted = |item: &Value| {
        let of = item.get("environment").and_then(Value::as_str);
        environment.is_none_or(|environment| of == Some(environment.as_str()))
    };
    let items: Vec<_> = page.items.into_iter().filter(wanted).collect();
    if context.out.json {
        context.out.value(&items)?;
        return Ok(Exit::Success);
    }
    let row = |item| -> Result<[String; 5]> {
        let row: NodeRow = serde_json::from_value(item)?;
        let sign = if row.health == "passing" { '✔' } else { '!' };
        let zone = row.zone.unwrap_or_default();
        Ok([
            row.id,
            row.environment,
            format!("{sign} {}", row.health),
            zone,
            row.data_url,
        ])
    };
    let rows = items.into_iter().map(row).collect::<Result<Vec<_>>>()?;
    if rows.is_empty() {
        say("no nodes; start one with: hotswap node --environment ENVIRONMENT");
    } else {
        context
            .out
            .table(["NODE", "ENVIRONMENT", "HEALTH", "ZONE", "DATA URL"], &rows)?;
    }
    Ok(Exit::Success)
}
