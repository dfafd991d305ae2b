//! What follows from an event, for those who watch. Pure.

use hotswap_core::{Call, Deployment, Event, EventBody, NodeState, Outcome, Status};
use poem_openapi::types::ToJSON;
use serde_json::{Map, Value, json};

use crate::view;

/// Something to tell whoever watches.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Announcement {
    /// The name under which clients hear it.
    pub target: &'static str,
    /// What is told.
    pub fields: Map<String, Value>,
    /// Whether a later one of the same deployment and target makes it worthless.
    pub newest: bool,
}

/// The names under which clients hear of deployments.
pub(crate) mod target {
    pub const STARTED: &str = "DeploymentStarted";
    pub const STATUS: &str = "DeploymentStatusChanged";
    pub const PROGRESS: &str = "DeploymentProgress";
    pub const NODES: &str = "NodeChanged";
    pub const APPROVAL: &str = "ApprovalRequested";
    pub const COMPLETED: &str = "DeploymentCompleted";
    pub const FAILED: &str = "DeploymentFailed";
}

/// What follows from `event`, given where the deployment was before and what it is after.
pub(crate) fn announcements(
    before: Option<Status>,
    event: &Event,
    after: &Deployment,
) -> Vec<Announcement> {
    let mut told = Vec::new();
    if before.is_none() {
        told.push(started(event, after));
    }
    let status = after.status();
    if before != Some(status) {
        told.push(status_changed(before, event, after));
    }
    if let EventBody::Called {
        request: Call::Progress { stage, percent },
        ..
    } = &event.body
    {
        let fields = json!({
            "stage": stage,
            "progress": percent,
            "timestamp": event.at.millis(),
        });
        told.push(Announcement::new(target::PROGRESS, fields, true));
    }
    told.extend(nodes_changed(event, after));
    told.extend(approval(event));
    if let EventBody::Ended { outcome, .. } = &event.body {
        told.push(ended(*outcome, event, after));
    }
    told
}

impl Announcement {
    fn new(target: &'static str, fields: Value, newest: bool) -> Self {
        let Value::Object(fields) = fields else {
            return Self::new(target, json!({}), newest);
        };
        Self {
            target,
            fields,
            newest,
        }
    }
}

fn started(event: &Event, state: &Deployment) -> Announcement {
    let header = &state.header;
    let fields = json!({
        "moduleName": header.module.name.as_str(),
        "version": header.module.version.to_string(),
        "targetEnvironment": header.environment.as_str(),
        "strategy": header.strategy.name.as_str(),
        "requesterEmail": header.requester.email,
        "timestamp": event.at.millis(),
    });
    Announcement::new(target::STARTED, fields, false)
}

fn status_changed(before: Option<Status>, event: &Event, state: &Deployment) -> Announcement {
    let mut fields = json!({
        "status": state.status().as_str(),
        "updatedAt": event.at.millis(),
        "details": details(event, state),
    });
    if let Some(before) = before {
        fields["previousStatus"] = before.as_str().into();
    }
    Announcement::new(target::STATUS, fields, false)
}

/// Why the status is what it is, in a sentence; nothing where the status says it all.
fn details(event: &Event, state: &Deployment) -> String {
    match &event.body {
        EventBody::Requested(header) => format!("requested by {}", header.requester.email),
        EventBody::Gated { prompt, .. } => prompt.clone(),
        EventBody::Called {
            request: Call::Approval { prompt, .. },
            ..
        } => prompt.clone(),
        EventBody::Paused { by } => format!("paused by {by}"),
        EventBody::Resumed { by } => format!("resumed by {by}"),
        EventBody::Decided { decision } => {
            let word = if decision.approved {
                "approved"
            } else {
                "rejected"
            };
            format!("{word} by {}", decision.by)
        }
        EventBody::Reverting { cause } => cause.message.clone(),
        EventBody::Ended { .. } => {
            let cause = state.cause.as_ref();
            cause.map_or_else(String::new, |cause| cause.message.clone())
        }
        EventBody::Planned { .. }
        | EventBody::Called { .. }
        | EventBody::Answered { .. }
        | EventBody::AbortRequested { .. }
        | EventBody::Settling => String::new(),
    }
}

fn nodes_changed(event: &Event, state: &Deployment) -> Option<Announcement> {
    let changed = state
        .nodes
        .iter()
        .filter(|(_, node)| node.changed_in == event.seq)
        .map(|(id, node): (_, &NodeState)| {
            let node = view::DeployedNode::from((id.clone(), node.clone()));
            node.to_json().unwrap_or_default()
        })
        .collect::<Vec<_>>();
    if changed.is_empty() {
        return None;
    }
    let fields = json!({ "nodes": changed, "timestamp": event.at.millis() });
    Some(Announcement::new(target::NODES, fields, false))
}

fn approval(event: &Event) -> Option<Announcement> {
    let (prompt, due) = match &event.body {
        EventBody::Gated { prompt, due } => (prompt, Some(*due)),
        EventBody::Called {
            request: Call::Approval { prompt, .. },
            due,
            ..
        } => (prompt, *due),
        _ => return None,
    };
    let mut fields = json!({ "prompt": prompt, "timestamp": event.at.millis() });
    if let Some(due) = due {
        fields["due"] = due.millis().into();
    }
    Some(Announcement::new(target::APPROVAL, fields, false))
}

fn ended(outcome: Outcome, event: &Event, state: &Deployment) -> Announcement {
    let took = event.at.millis().saturating_sub(state.created_at.millis());
    let mut fields = json!({
        "status": state.status().as_str(),
        "durationMs": took,
        "timestamp": event.at.millis(),
    });
    match outcome {
        Outcome::Succeeded => Announcement::new(target::COMPLETED, fields, false),
        Outcome::RolledBack | Outcome::Failed => {
            if let Some(cause) = state.cause.clone() {
                let cause: view::Cause = cause.into();
                fields["cause"] = cause.to_json().unwrap_or_default();
            }
            let failures = state.failures.iter().cloned().map(|failure| {
                let failure: view::NodeFailure = failure.into();
                failure.to_json().unwrap_or_default()
            });
            fields["failures"] = failures.collect();
            Announcement::new(target::FAILED, fields, false)
        }
    }
}
