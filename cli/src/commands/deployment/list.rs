use anyhow::Result;
use hotswap_core::{Clock as _, SystemClock, Timestamp};
use serde_json::Value;

use super::Context;
use crate::args::ListDeployments;
use crate::client::{DeploymentFilter, DeploymentRow, Page};
use crate::exit::Exit;
use crate::format;
use crate::output::print_message;

const HEAD: [&str; 7] = [
    "ID",
    "MODULE",
    "ENVIRONMENT",
    "STRATEGY",
    "STATUS",
    "PROGRESS",
    "REQUESTED",
];

/// Lists deployments, reading as many pages as the limit needs.
pub(super) async fn list(args: ListDeployments, context: &Context) -> Result<Exit> {
    let filter = DeploymentFilter {
        module: args.module,
        environment: args.environment,
        status: args.status,
    };
    let mut remaining = args.limit;
    let mut items: Vec<Value> = Vec::new();
    let mut cursor = None;
    loop {
        let page = context
            .client
            .deployments(&filter, remaining, cursor.as_deref())
            .await?;
        let page: Page<Value> = serde_json::from_value(page)?;
        let count = u32::try_from(page.items.len()).unwrap_or(u32::MAX);
        remaining = remaining.saturating_sub(count);
        items.extend(page.items);
        cursor = page.next_cursor;
        if remaining == 0 || cursor.is_none() || count == 0 {
            break;
        }
    }
    if context.out.json {
        context.out.json(&items)?;
        return Ok(Exit::Success);
    }
    let now = SystemClock.now();
    let rows = items.into_iter().map(|item| row(item, now));
    let rows = rows.collect::<Result<Vec<_>>>()?;
    if rows.is_empty() {
        print_message("no deployments; start one with: hotswap deploy MODULE@VERSION -e ENV");
        return Ok(Exit::Success);
    }
    context.out.table(HEAD, &rows)?;
    if cursor.is_some() {
        print_message("there are more; list them with --limit");
    }
    Ok(Exit::Success)
}

fn row(item: Value, now: Timestamp) -> Result<[String; 7]> {
    let row: DeploymentRow = serde_json::from_value(item)?;
    let (sign, status) = (format::status_sign(row.status), format::status(row.status));
    Ok([
        row.execution_id.to_string(),
        format!("{} {}", row.module_name, row.version),
        match row.selector {
            Some(selector) => format!("{} ({selector})", row.target_environment),
            None => row.target_environment,
        },
        row.strategy,
        match row.damage {
            None => format!("{sign} {status}"),
            Some(damage) if damage.needs_upgrade => "! needs a newer engine".to_owned(),
            Some(_) => format!("! damaged, {status}"),
        },
        format!("{} %", row.progress),
        format!("{} ago", format::duration(now.since(row.created_at))),
    ])
}
