//! Commands that change the course of a deployment.

use std::time::Duration;

use anyhow::Result;
use hotswap_core::{DeploymentId, Timestamp};
use serde_json::{Value, json};

use super::Context;
use crate::args::{Decide, Promote};
use crate::client;
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
    describe: Option<Describe>,
}

/// What to tell of a request that was accepted.
enum Describe {
    /// What follows from the state that the engine answers.
    Answer(fn(&Value) -> String),
    /// What was known before.
    Text(String),
}

/// Pauses a deployment before its next step, and tells when its deadline falls.
pub(super) async fn pause(id: DeploymentId, context: &Context) -> Result<Exit> {
    let request = Request {
        resource: "pause",
        body: json!({}),
        done: "is paused before its next step; resume it with",
        next: "hotswap resume",
        describe: Some(Describe::Answer(describe_deadline)),
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
pub(super) async fn promote(args: Promote, context: &Context) -> Result<Exit> {
    let Promote {
        id,
        full,
        wait_id,
        reason,
    } = args;
    let wait = match wait_id {
        Some(wait) => Some(wait),
        // Every wait is meant, whichever comes first.
        None if full => None,
        None => Asked::read(id, context).await?.wait,
    };
    let mut body = json!({ "full": full });
    if let Some(reason) = reason {
        body["reason"] = reason.into();
    }
    if let Some(wait) = &wait {
        body["wait"] = wait.as_str().into();
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
        describe: wait.map(|wait| Describe::Text(format!("what was ended: {wait}"))),
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
    let Decide {
        id,
        wait_id,
        comment,
    } = args;
    let asked = Asked::read(id, context).await?;
    let wait = wait_id.or_else(|| asked.wait.clone());
    let mut body = json!({ "approved": approved });
    if let Some(comment) = comment {
        body["comment"] = comment.into();
    }
    if let Some(wait) = &wait {
        body["wait"] = wait.as_str().into();
    }
    let request = Request {
        resource: "approval",
        body,
        done,
        next: "hotswap watch",
        describe: asked.question_of(wait.as_deref()).map(Describe::Text),
    };
    post(id, request, context).await
}

/// What a deployment asks or waits for when a person decides. Sent with the decision, which must not
/// count for what the deployment asks next.
struct Asked {
    /// The `waitId`. None where nothing is asked or waited for yet: the engine then says so, or waits
    /// for the question of a new deployment.
    wait: Option<String>,
    question: Option<String>,
}

impl Asked {
    async fn read(id: DeploymentId, context: &Context) -> Result<Self> {
        let state = context.client.deployment(id).await?;
        let text = |name: &str| state.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            wait: text("waitId"),
            question: text("question"),
        })
    }

    /// What was decided, where it is the question that was read.
    fn question_of(&self, wait: Option<&str>) -> Option<String> {
        let question = self.question.as_deref()?;
        let is_meant = wait.is_some() && wait == self.wait.as_deref();
        is_meant.then(|| format!("what was decided: {}", format::sanitize(question)))
    }
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
    let names_wait = body.get("wait").is_some();
    let posted = context.client.post_to_deployment(id, resource, &body);
    let response = posted.await.map_err(|error| {
        let is_conflict =
            matches!(&error, client::Error::Rejected(problem) if problem.status == 409);
        let error = anyhow::Error::new(error);
        if is_conflict && names_wait {
            error.context(format!(
                "nothing was decided; see what is asked now with: hotswap get {id}"
            ))
        } else {
            error
        }
    })?;
    let mut lines = vec![format!("deployment {id} {done}: {next} {id}")];
    lines.extend(describe.map(|describe| match describe {
        Describe::Answer(describe) => describe(&response),
        Describe::Text(text) => text,
    }));
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
