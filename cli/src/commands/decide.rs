//! `pause`, `resume`, `abort`, `approve`, `reject`: what people tell a running deployment.

use anyhow::Result;
use hotswap_core::DeploymentId;
use serde_json::{Value, json};

use super::Context;
use crate::args::Decide;
use crate::exit::Exit;

/// Holds a deployment.
pub async fn pause(id: DeploymentId, context: &Context) -> Result<Exit> {
    let told = "held before its next step; let it go on with: hotswap resume";
    tell(id, "pause", json!({}), told, context).await
}

/// Lets a held deployment go on.
pub async fn resume(id: DeploymentId, context: &Context) -> Result<Exit> {
    let told = "goes on; follow it with: hotswap watch";
    tell(id, "resume", json!({}), told, context).await
}

/// Has a deployment end and be rolled back.
pub async fn abort(id: DeploymentId, reason: Option<String>, context: &Context) -> Result<Exit> {
    let told = "is being rolled back; follow it with: hotswap watch";
    let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    tell(id, "abort", body, told, context).await
}

/// Decides that a deployment goes on.
pub async fn approve(args: Decide, context: &Context) -> Result<Exit> {
    decide(
        args,
        true,
        "approved; follow it with: hotswap watch",
        context,
    )
    .await
}

/// Decides that a deployment does not go on.
pub async fn reject(args: Decide, context: &Context) -> Result<Exit> {
    let told = "rejected; follow the rollback with: hotswap watch";
    decide(args, false, told, context).await
}

async fn decide(args: Decide, approved: bool, told: &str, context: &Context) -> Result<Exit> {
    let mut body = json!({ "approved": approved });
    if let Some(comment) = args.comment {
        body["comment"] = comment.into();
    }
    tell(args.id, "approval", body, told, context).await
}

async fn tell(
    id: DeploymentId,
    what: &str,
    mut body: Value,
    told: &str,
    context: &Context,
) -> Result<Exit> {
    body["requesterEmail"] = context.email.clone().into();
    let answer = context.client.tell(id, what, &body).await?;
    if context.out.json {
        context.out.value(&answer)?;
    } else {
        context.out.line(&format!("deployment {id} {told} {id}"))?;
    }
    Ok(Exit::Success)
}
