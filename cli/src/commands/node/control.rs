//! Commands that change what the engine does with a node.

use anyhow::Result;
use hotswap_core::NodeId;
use serde_json::{Value, json};

use super::Context;
use crate::exit::Exit;
use crate::exit_report::ExitReport;
use crate::output::print_message;

/// Takes a node out of deployments and repairs.
pub async fn cordon(id: &NodeId, reason: Option<&str>, context: &Context) -> Result<Exit> {
    let body = json!({ "reason": reason });
    let node = context.client.post_to_node(id, "cordon", &body).await?;
    // A node that is drained stays so.
    let state = if node["cordon"]["drained"] == true {
        "drained"
    } else {
        "cordoned"
    };
    let message = format!("node {id} is {state}: it keeps serving what it runs");
    let next = format!("hotswap node uncordon {id}");
    report(id, state, node, &message, Some(&next), context)
}

/// Ends a cordon or a drain.
pub async fn uncordon(id: &NodeId, reason: Option<&str>, context: &Context) -> Result<Exit> {
    let body = json!({ "reason": reason });
    let node = context.client.post_to_node(id, "uncordon", &body).await?;
    let message = format!("node {id} is uncordoned; the engine brings it to what it should run");
    report(id, "uncordoned", node, &message, None, context)
}

/// Deletes the registration of a node.
pub async fn delete(id: &NodeId, reason: Option<&str>, context: &Context) -> Result<Exit> {
    let body = json!({ "reason": reason });
    context.client.delete_node(id, &body).await?;
    let message = format!("node {id} is deleted; if it still runs, it registers again");
    report(id, "deleted", json!({}), &message, None, context)
}

/// Tells what has happened to a node.
pub(super) fn report(
    id: &NodeId,
    state: &str,
    node: Value,
    message: &str,
    next: Option<&str>,
    context: &Context,
) -> Result<Exit> {
    if context.out.json {
        let report = ExitReport::new(Exit::Success).response(node).id(id);
        let mut report = report.state(state).message(message);
        if let Some(next) = next {
            report = report.next(next);
        }
        context.out.json(&report.to_json())?;
    } else {
        print_message(message);
        if let Some(next) = next {
            print_message(&format!("end that with: {next}"));
        }
    }
    Ok(Exit::Success)
}
