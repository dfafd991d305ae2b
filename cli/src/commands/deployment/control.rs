//! Commands that change the course of a deployment.

use std::time::Duration;

use anyhow::Result;
use hotswap_core::{DeploymentId, Timestamp};
use serde_json::{Value, json};

use super::Context;
use crate::args::Decide;
use crate::exit::Exit;
use crate::exit_report::ExitReport;
use crate::format;

/// What a command asks of the engine, and what it then tells the user.
struct Request {
    /// The sub-resource of the deployment.
    resource: &'static str,
    body: Value,
    /// What has happened to the deployment.
    done: &'static str,
    /// The command to go on with.
    next: &'static str,
    /// What else to tell of the state that the engine answers.
    describe: Option<fn(&Value) -> String>,
}

/// Pauses a deployment before its next step, and tells when its deadline falls.
pub(super) async fn pause(id: DeploymentId, context: &Context) -> Result<Exit> {
    let request = Request {
        resource: "pause",
        body: json!({}),
        done: "is paused before its next step; resume it with",
        next: "hotswap resume",
        describe: Some(describe_deadline),
    };
    post(id, request, context).await
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
    let request = Request {
        resource: "resume",
        body: json!({}),
        done: "is resumed; follow it with",
        next: "hotswap watch",
        describe: None,
    };
    post(id, request, context).await
}

/// Ends the present wait of a deployment, or every wait.
pub(super) async fn promote(
    id: DeploymentId,
    full: bool,
    reason: Option<String>,
    context: &Context,
) -> Result<Exit> {
    let mut body = json!({ "full": full });
    if let Some(reason) = reason {
        body["reason"] = reason.into();
    }
    let request = Request {
        resource: "promote",
        body,
        done: if full {
            "goes on, and waits no more; follow it with"
        } else {
            "goes on; follow it with"
        },
        next: "hotswap watch",
        describe: None,
    };
    post(id, request, context).await
}

/// Stops a deployment and rolls it back.
pub(super) async fn abort(
    id: DeploymentId,
    reason: Option<String>,
    context: &Context,
) -> Result<Exit> {
    let request = Request {
        resource: "abort",
        body: reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason })),
        done: "is being rolled back; follow it with",
        next: "hotswap watch",
        describe: None,
    };
    post(id, request, context).await
}

/// Ends a deployment whose journal cannot be read.
pub(super) async fn terminate(
    id: DeploymentId,
    reason: Option<String>,
    context: &Context,
) -> Result<Exit> {
    let request = Request {
        resource: "terminate",
        body: reason.map_or_else(|| json!({}), |reason| json!({ "reason": reason })),
        done: "is being terminated; see how it ends with",
        next: "hotswap deployment get",
        describe: None,
    };
    post(id, request, context).await
}

/// Approves a deployment that waits for a decision.
pub(super) async fn approve(args: Decide, context: &Context) -> Result<Exit> {
    decide(args, true, "is approved; follow it with", context).await
}

/// Rejects a deployment that waits for a decision.
pub(super) async fn reject(args: Decide, context: &Context) -> Result<Exit> {
    decide(
        args,
        false,
        "is rejected; follow the rollback with",
        context,
    )
    .await
}

async fn decide(
    args: Decide,
    approved: bool,
    done: &'static str,
    context: &Context,
) -> Result<Exit> {
    let mut body = json!({ "approved": approved });
    if let Some(comment) = args.comment {
        body["comment"] = comment.into();
    }
    let request = Request {
        resource: "approval",
        body,
        done,
        next: "hotswap watch",
        describe: None,
    };
    post(args.id, request, context).await
}

async fn post(id: DeploymentId, request: Request, context: &Context) -> Result<Exit> {
    let Request {
        resource,
        mut body,
        done,
        next,
        describe,
    } = request;
    body["requesterEmail"] = context.email.clone().into();
    let response = context
        .client
        .post_to_deployment(id, resource, &body)
        .await?;
    let mut lines = vec![format!("deployment {id} {done}: {next} {id}")];
    lines.extend(describe.map(|describe| describe(&response)));
    if !context.out.json {
        lines.iter().try_for_each(|line| context.out.line(line))?;
        return Ok(Exit::Success);
    }
    let report = ExitReport::new(Exit::Success).id(id).response(response);
    let report = report
        .message(lines.join("; "))
        .next(format!("{next} {id}"));
    context.out.json(&report.to_json())?;
    Ok(Exit::Success)
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
