//! Commands that change the course of a deployment.

use std::time::Duration;

use anyhow::Result;
use hotswap_core::{DeploymentId, Timestamp};
use serde_json::{Value, json};

use super::Context;
use crate::args::Decide;
use crate::exit::Exit;
use crate::format;

/// Pauses a deployment before its next step, and tells when its deadline falls.
pub(super) async fn pause(id: DeploymentId, context: &Context) -> Result<Exit> {
    let message = "is paused before its next step; resume it with: hotswap resume";
    let state = post(id, "pause", json!({}), message, context).await?;
    if !context.out.json {
        context.out.line(&describe_deadline(&state))?;
    }
    Ok(Exit::Success)
}

/// What a pause does to the deadline of a deployment.
fn describe_deadline(state: &Value) -> String {
    let millis = |name: &str| state.get(name).and_then(Value::as_u64);
    if let Some(at) = millis("deadline") {
        let at = format::date_time(Timestamp::from_millis(at));
        return format!(
            "the pause does not stop its deadline: it is rolled back at {at} unless it ends before"
        );
    }
    match millis("deadlineLeft") {
        Some(left) => {
            let left = format::duration(Duration::from_millis(left));
            format!("its deadline stands still: {left} are left once it is resumed")
        }
        None => "its deadline begins when it is planned".to_owned(),
    }
}

/// Resumes a paused deployment.
pub(super) async fn resume(id: DeploymentId, context: &Context) -> Result<Exit> {
    let message = "is resumed; follow it with: hotswap watch";
    post(id, "resume", json!({}), message, context).await?;
    Ok(Exit::Success)
}

/// Stops a deployment and rolls it back.
pub(super) async fn abort(
    id: DeploymentId,
    reason: Option<String>,
    context: &Context,
) -> Result<Exit> {
    let message = "is being rolled back; follow it with: hotswap watch";
    let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    post(id, "abort", body, message, context).await?;
    Ok(Exit::Success)
}

/// Ends a deployment whose journal cannot be read.
pub(super) async fn terminate(
    id: DeploymentId,
    reason: Option<String>,
    context: &Context,
) -> Result<Exit> {
    let message = "is being terminated; see how it ends with: hotswap deployment get";
    let body = reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    post(id, "terminate", body, message, context).await
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
    post(args.id, "approval", body, message, context).await?;
    Ok(Exit::Success)
}

/// Posts to a resource of a deployment. Prints the deployment's state with `--json`, else
/// `message` between the id and the id. Returns the state.
async fn post(
    id: DeploymentId,
    resource: &str,
    mut body: Value,
    message: &str,
    context: &Context,
) -> Result<Value> {
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
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_tells_when_the_deadline_falls_or_what_is_left_of_it() {
        for (state, expected) in [
            (
                json!({ "deadline": 1_795_766_142_000_u64 }),
                "the pause does not stop its deadline: it is rolled back at 2026-11-27 07:55:42Z unless it ends before",
            ),
            (
                json!({ "deadlineLeft": 5_400_000 }),
                "its deadline stands still: 1h 30m are left once it is resumed",
            ),
            (json!({}), "its deadline begins when it is planned"),
        ] {
            assert_eq!(describe_deadline(&state), expected);
        }
    }
}
