//! `hotswap node drain`.

use std::time::Duration;

use anyhow::{Result, bail};
use hotswap_core::NodeId;
use serde_json::json;
use tokio::time::Instant;

use super::control::report;
use super::{Context, cordon_text, ready};
use crate::args::DrainNode;
use crate::client::NodeRow;
use crate::exit::Exit;
use crate::exit_report::ExitReport;
use crate::format::{self, sanitize};
use crate::output::print_message;

/// How often the node is looked at. It reports every two seconds.
const INTERVAL: Duration = Duration::from_millis(500);

/// Drains a node, and waits until that is done.
pub async fn drain(args: &DrainNode, context: &Context) -> Result<Exit> {
    let id = &args.id;
    let body = json!({ "reason": args.reason, "force": args.force });
    let node = context.client.post_to_node(id, "drain", &body).await?;
    let next = format!("hotswap node uncordon {id}");
    if !args.wait {
        let message = format!("node {id} is drained: it reports that it is not ready");
        return report(id, "drained", node, &message, Some(&next), context);
    }
    let deadline = Instant::now() + args.time_limit();
    let mut shown = String::new();
    loop {
        let node = match context.client.node(id).await {
            Ok(node) => node,
            // The engine may be restarting.
            Err(error) if error.is_transient_of_engine() && Instant::now() < deadline => {
                tokio::time::sleep(INTERVAL).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let row: NodeRow = serde_json::from_value(node.clone())?;
        match &row.cordon {
            Some(cordon) if cordon.drained => {}
            Some(cordon) => bail!("node {id} is not drained any more: {}", cordon_text(cordon)),
            None => bail!("node {id} was uncordoned meanwhile"),
        }
        if row.ready == Some(false) && row.in_flight == Some(0) {
            let message =
                format!("node {id} is drained: it is not ready, and has no request in flight");
            return report(id, "drained", node, &message, Some(&next), context);
        }
        let waiting = waiting_for(&row);
        if Instant::now() >= deadline {
            return timed_out(id, args.time_limit(), &waiting, &next, context);
        }
        if waiting != shown && !context.out.json {
            print_message(&sanitize(&waiting));
            shown = waiting;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// What the drain still waits for.
fn waiting_for(node: &NodeRow) -> String {
    match node.ready {
        None => format!("waiting for node {} to report in", node.id),
        Some(true) => format!("waiting for node {} to hear of it", node.id),
        Some(false) => format!("waiting for node {}: ready: {}", node.id, ready(node)),
    }
}

fn timed_out(
    id: &NodeId,
    limit: Duration,
    waiting: &str,
    next: &str,
    context: &Context,
) -> Result<Exit> {
    let limit = format::duration(limit);
    let message = format!("node {id} stays drained, but was not idle within {limit}: {waiting}");
    if context.out.json {
        let report = ExitReport::new(Exit::TimedOut).id(id).state("draining");
        context
            .out
            .json(&report.message(message).next(next).to_json())?;
    } else {
        print_message(&sanitize(&message));
    }
    Ok(Exit::TimedOut)
}
