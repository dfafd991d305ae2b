//! `get` and `list`: deployments as they are now.

use anyhow::Result;
use hotswap_core::{Clock as _, DeploymentId, SystemClock};
use serde_json::Value;

use super::Context;
use crate::args::List;
use crate::client::{DeploymentRow, Page};
use crate::exit::Exit;
use crate::output::say;
use crate::watch::{self, words};

/// Shows one deployment.
pub async fn get(id: DeploymentId, context: &Context) -> Result<Exit> {
    if context.out.json {
        context.out.value(&context.client.deployment(id).await?)?;
    } else {
        let story = watch::read(&context.client, id).await?;
        let lines = watch::still(&story, context.out.colours);
        lines.iter().try_for_each(|line| context.out.line(line))?;
    }
    Ok(Exit::Success)
}

/// Lists deployments, page after page, as many as were asked for.
pub async fn list(mut args: List, context: &Context) -> Result<Exit> {
    let mut items: Vec<Value> = Vec::new();
    let mut cursor = None;
    loop {
        let page = context.client.deployments(&args, cursor.as_deref()).await?;
        let page: Page<Value> = serde_json::from_value(page)?;
        args.limit = args
            .limit
            .saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
        let empty = page.items.is_empty();
        items.extend(page.items);
        cursor = page.next_cursor;
        if args.limit == 0 || cursor.is_none() || empty {
            break;
        }
    }
    if context.out.json {
        context.out.value(&items)?;
        return Ok(Exit::Success);
    }
    let now = SystemClock.now();
    let row = |item: Value| -> Result<[String; 7]> {
        let row: DeploymentRow = serde_json::from_value(item)?;
        Ok([
            row.execution_id.to_string(),
            format!("{} {}", row.module_name, row.version),
            row.target_environment,
            row.strategy,
            format!(
                "{} {}",
                words::status_sign(row.status),
                words::status(row.status)
            ),
            format!("{} %", row.progress),
            format!("{} ago", words::span(now.since(row.created_at))),
        ])
    };
    let rows = items.into_iter().map(row).collect::<Result<Vec<_>>>()?;
    if rows.is_empty() {
        say("no deployments; begin one with: hotswap deploy MODULE@VERSION -e ENVIRONMENT");
        return Ok(Exit::Success);
    }
    let head = [
        "ID",
        "MODULE",
        "ENVIRONMENT",
        "STRATEGY",
        "STATUS",
        "PROGRESS",
        "REQUESTED",
    ];
    context.out.table(head, &rows)?;
    if cursor.is_some() {
        say("there are more; see them with --limit");
    }
    Ok(Exit::Success)
}
