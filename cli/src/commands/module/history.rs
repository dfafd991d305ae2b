use anyhow::Result;
use hotswap_core::{Environment, ModuleName};
use serde_json::Value;

use super::Context;
use crate::client::{HistoryRow, Page};
use crate::exit::Exit;
use crate::format;
use crate::output::print_message;

const HEAD: [&str; 7] = [
    "",
    "DECIDED",
    "VERSION",
    "HOW",
    "STRATEGY",
    "BY",
    "DEPLOYMENT",
];

/// Lists what was decided for a module in an environment, reading as many pages as the limit
/// needs.
pub(super) async fn history(
    module: &ModuleName,
    environment: &Environment,
    limit: u32,
    context: &Context,
) -> Result<Exit> {
    let mut entries: Vec<Value> = Vec::new();
    let mut cursor = None;
    loop {
        let left = limit.saturating_sub(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        if left == 0 {
            break;
        }
        let page = context
            .client
            .history(module, environment, left, cursor.as_deref());
        let page: Page<Value> = serde_json::from_value(page.await?)?;
        entries.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if context.out.json {
        context.out.json(&entries)?;
        return Ok(Exit::Success);
    }
    if entries.is_empty() {
        print_message(&format!(
            "nothing was decided for {module} in {environment} yet"
        ));
        return Ok(Exit::Success);
    }
    let mut rows = Vec::with_capacity(entries.len());
    for entry in entries {
        rows.push(row(serde_json::from_value(entry)?));
    }
    context.out.table(HEAD, &rows)?;
    Ok(Exit::Success)
}

fn row(entry: HistoryRow) -> [String; 7] {
    let text =
        |text: Option<String>| text.map_or_else(|| "-".to_owned(), |text| format::sanitize(&text));
    [
        if entry.current { "●" } else { "" }.to_owned(),
        format::date_time(entry.at),
        text(entry.version),
        format::sanitize(&entry.kind),
        text(entry.strategy),
        text(entry.by),
        text(entry.execution_id.map(|id| id.to_string())),
    ]
}
