//! The notifications that follow from a journal, derived independently of the server's code.

use anyhow::Result;
use hotswap_core::{Answer, Call, Deployment, Event, EventBody};

pub const PROGRESS: &str = "DeploymentProgress";

/// Names and offsets of the notifications that follow from the events of one deployment.
pub fn expected_messages(events: &[Event]) -> Result<Vec<(&'static str, String)>> {
    let mut messages = Vec::new();
    for (seq, event) in events.iter().enumerate() {
        let targets = message_names(&events[..seq], event)?;
        let last = targets.len();
        for (part, target) in (1..).zip(targets) {
            let offset = if part == last {
                event.position.to_string()
            } else {
                format!("{}.{part}", event.position)
            };
            messages.push((target, offset));
        }
    }
    Ok(messages)
}

fn message_names(before: &[Event], event: &Event) -> Result<Vec<&'static str>> {
    let mut all = before.to_vec();
    all.push(event.clone());
    let after = Deployment::fold(&all)?;
    let before = match before {
        [] => None,
        before => Some(Deployment::fold(before)?),
    };
    let mut targets = Vec::new();
    if before.is_none() {
        targets.push("DeploymentStarted");
    }
    if before.as_ref().map(Deployment::status) != Some(after.status()) {
        targets.push("DeploymentStatusChanged");
    }
    if let EventBody::Called {
        request: Call::Progress { .. },
        ..
    } = event.body
    {
        targets.push(PROGRESS);
    }
    if before.is_some_and(|before| before.nodes != after.nodes) {
        targets.push("NodeChanged");
    }
    match event.body {
        EventBody::Gated { .. }
        | EventBody::Called {
            request: Call::Approval { .. },
            ..
        } => targets.push("ApprovalRequested"),
        EventBody::PromoteRequested { .. } => targets.push("DeploymentPromoted"),
        EventBody::Answered {
            answer: Answer::Verdict(_),
            ..
        } => targets.push("SoakJudged"),
        EventBody::Ended { outcome, .. } => targets.push(match outcome {
            hotswap_core::Outcome::Succeeded => "DeploymentCompleted",
            _ => "DeploymentFailed",
        }),
        _ => {}
    }
    Ok(targets)
}
