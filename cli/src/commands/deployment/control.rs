//! Commands that change the course of a deployment.

use anyhow::Result;
use hotswap_core::DeploymentId;
use serde_json::{Value, json};

use super::Context;
use crate::args::Decide;
use crate::exit::Exit;

/// Pauses a deployment before its next step.
pub(super) async fn pause(id: DeploymentId, context: &Context) -> Result<Exit> {
    let message = "is paused before its next step; resume it with: hotswap resume";
    post(id, "pause", json!({}), message, context).await
}

/// Resumes a paused deployment.
pub(super) async fn resume(id: DeploymentId, context: &Context) -> Result<Exit> {
    let message = "is resumed; follow it with: hotswap watch";
    post(id, "resume", json!({}), message, context).await
}

/// Stops a deployment and rolls it back.
pub(super) async fn abort(
    id: DeploymentId,
    reason: Option<String>,
    context: &Context,
) -> Result<Exit> {
    let message = "is being rolled back; follow it with: hotswap watch";
    let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    post(id, "abort", body, message, context).await
}

/// Approves a deployment that waits for a decision.
pub(super) async fn approve(args: Decide, context: &Context) -> Result<Exit> {
    let message = "is approved; follow it with: hotswap watch";
    decide(args, true, message, context).await
}

/// Rejects a deployment that waits for a decision.
pub(super) async fn reject(args: Decide, context: &Context) -> Result<Exit> {
    let message = "is rejected; follow the rollback with: hotswap watch";
    decide(args, false, message, context).await
}

async fn decide(args: Decide, approved: bool, message: &str, context: &Context) -> Result<Exit> {
    let mut body = json!({ "approved": approved });
    if let Some(comment) = args.comment {
        body["comment"] = comment.into();
    }
    post(args.id, "approval", body, message, context).await
}

/// Posts to a resource of a deployment. Prints the deployment's state with `--json`, else
/// `message` between the id and the id.
async fn post(
    id: DeploymentId,
    resource: &str,
    mut body: Value,
    message: &str,
    context: &Context,
) -> Result<Exit> {
    body["requesterEmail"] = context.email.clone().into();
    let response = context
        .client
        .post_to_deployment(id, resource, &body)
        .await?;
    if context.out.json {
        context.out.json(&response)?;
    } else {
        context
            .out
            .line(&format!("deployment {id} {message} {id}"))?;
    }
    Ok(Exit::Success)
}
