//! The notifications of an event. Pure.

use hotswap_core::{
    Answer, Call, Damage, Deployment, DeploymentId, Event, EventBody, NodeFailure, NodeState,
    Outcome, Status,
};
use hotswap_signalr::OutboundMessage;
use hotswap_store::EnvironmentEntry;
use poem_openapi::types::ToJSON;
use serde_json::{Map, Value, json};

use super::offset::Offset;
use crate::view;

/// A notification to subscribers, and its place among all notifications.
#[derive(Debug, Clone)]
pub(crate) struct Notification {
    pub offset: Offset,
    /// The name of the client's handler.
    pub target: &'static str,
    pub message: OutboundMessage,
}

/// A notification without the fields that all have in common.
struct Draft {
    target: &'static str,
    fields: Map<String, Value>,
    /// Whether a newer one of the same deployment and target replaces it.
    is_replaceable: bool,
}

/// The names of the clients' handlers.
mod target {
    pub const STARTED: &str = "DeploymentStarted";
    pub const STATUS: &str = "DeploymentStatusChanged";
    pub const PROGRESS: &str = "DeploymentProgress";
    pub const NODES: &str = "NodeChanged";
    pub const APPROVAL: &str = "ApprovalRequested";
    pub const COMPLETED: &str = "DeploymentCompleted";
    pub const FAILED: &str = "DeploymentFailed";
    pub const PROMOTED: &str = "DeploymentPromoted";
    pub const JUDGED: &str = "SoakJudged";
    pub const DAMAGED: &str = "DeploymentDamaged";
    pub const ENVIRONMENT: &str = "EnvironmentChanged";
}

/// The notifications of `event`, with their offsets. `status_before` is the status before
/// the event, or `None` for the first event; `after` is the deployment after the event.
pub(super) fn notifications(
    epoch: &str,
    status_before: Option<Status>,
    event: &Event,
    after: &Deployment,
) -> Vec<Notification> {
    let drafts = drafts(status_before, event, after);
    let count = drafts.len();
    let id = after.header.id.to_string();
    let complete = |(index, draft): (usize, Draft)| {
        draft.complete(epoch, &id, Offset::of(event.position, index, count))
    };
    drafts.into_iter().enumerate().map(complete).collect()
}

/// The notification that the journal of a deployment cannot be read from here on. At this
/// position in the store.
pub(super) fn damaged(
    epoch: &str,
    id: DeploymentId,
    damage: Damage,
    position: u64,
) -> Notification {
    let damage: view::Damage = damage.into();
    let fields = damage.to_json().unwrap_or_default();
    Draft::new(target::DAMAGED, fields).complete(epoch, &id.to_string(), Offset::after(position))
}

/// The notification of what happened in an environment outside of deployments.
pub(super) fn environment_changed(epoch: &str, entry: EnvironmentEntry) -> Notification {
    let offset = Offset::after(entry.position);
    let event = view::EnvironmentEvent::from(entry);
    let mut fields = event.to_json().unwrap_or_default();
    fields["epoch"] = epoch.into();
    fields["offset"] = offset.to_string().into();
    Notification {
        offset,
        target: target::ENVIRONMENT,
        message: OutboundMessage::new(target::ENVIRONMENT, fields),
    }
}

fn drafts(status_before: Option<Status>, event: &Event, after: &Deployment) -> Vec<Draft> {
    let mut drafts = Vec::new();
    if status_before.is_none() {
        drafts.push(started(event, after));
    }
    if status_before != Some(after.status()) {
        drafts.push(status_changed(status_before, event, after));
    }
    drafts.extend(progress(event));
    drafts.extend(nodes_changed(event, after));
    drafts.extend(approval_requested(event, after));
    drafts.extend(promoted(event));
    drafts.extend(judged(event));
    if let EventBody::Ended { outcome, .. } = &event.body {
        drafts.push(ended(*outcome, event, after));
    }
    drafts
}

impl Draft {
    fn new(target: &'static str, fields: Value) -> Self {
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Self {
            target,
            fields,
            is_replaceable: false,
        }
    }

    fn complete(self, epoch: &str, execution_id: &str, offset: Offset) -> Notification {
        let Self {
            target,
            mut fields,
            is_replaceable,
        } = self;
        fields.insert("executionId".to_owned(), execution_id.into());
        // Inside the argument: some clients fail on unknown fields of the message itself.
        fields.insert("epoch".to_owned(), epoch.into());
        fields.insert("offset".to_owned(), offset.to_string().into());
        let argument = Value::Object(fields);
        let message = if is_replaceable {
            OutboundMessage::replaceable(format!("{target} {execution_id}"), target, argument)
        } else {
            OutboundMessage::new(target, argument)
        };
        Notification {
            offset,
            target,
            message,
        }
    }
}

fn started(event: &Event, state: &Deployment) -> Draft {
    let header = &state.header;
    let mut fields = json!({
        "moduleName": header.module.name.as_str(),
        "version": header.module.version.to_string(),
        "targetEnvironment": header.environment.as_str(),
        "strategy": header.strategy.name.as_str(),
        "requesterEmail": header.requester.email,
        "timestamp": event.at.millis(),
    });
    if let Some(selector) = &header.selector {
        fields["selector"] = selector.to_string().into();
    }
    Draft::new(target::STARTED, fields)
}

fn progress(event: &Event) -> Option<Draft> {
    let EventBody::Called {
        request: Call::Progress { stage, percent },
        ..
    } = &event.body
    else {
        return None;
    };
    let fields = json!({
        "stage": stage,
        "progress": percent,
        "timestamp": event.at.millis(),
    });
    let draft = Draft::new(target::PROGRESS, fields);
    Some(Draft {
        is_replaceable: true,
        ..draft
    })
}

fn status_changed(status_before: Option<Status>, event: &Event, state: &Deployment) -> Draft {
    let mut fields = json!({
        "status": state.status().as_str(),
        "updatedAt": event.at.millis(),
        "details": details(event, state),
    });
    if let Some(status_before) = status_before {
        fields["previousStatus"] = status_before.as_str().into();
    }
    Draft::new(target::STATUS, fields)
}

/// Explains the status in a sentence. Empty where the status says enough.
fn details(event: &Event, state: &Deployment) -> String {
    match &event.body {
        EventBody::Requested(header) => format!("requested by {}", header.requester.email),
        EventBody::Gated { prompt, .. } => prompt.clone(),
        EventBody::Called {
            request: Call::Approval { prompt, .. },
            ..
        } => prompt.clone(),
        EventBody::Paused { by, reason } => match reason {
            Some(reason) => format!("paused by the {by}: {reason}"),
            None => format!("paused by {by}"),
        },
        EventBody::Resumed { by } => format!("resumed by {by}"),
        EventBody::Decided { decision } => {
            let verb = if decision.approved {
                "approved"
            } else {
                "rejected"
            };
            format!("{verb} by {}", decision.by)
        }
        EventBody::Reverting { cause } => cause.message.clone(),
        EventBody::Ended { not_updated, .. } if !not_updated.is_empty() => {
            let nodes = not_updated.iter().map(|failure| failure.node.as_str());
            let nodes: Vec<_> = nodes.collect();
            format!("not updated: {}", nodes.join(", "))
        }
        EventBody::TerminationRequested { .. } | EventBody::Ended { .. } => {
            let cause = state.cause.as_ref();
            cause.map_or_else(String::new, |cause| cause.message.clone())
        }
        EventBody::WritesLost { message } => message.clone(),
        EventBody::Planned { .. }
        | EventBody::Called { .. }
        | EventBody::Answered { .. }
        | EventBody::Repairing(_)
        | EventBody::Repaired(_)
        | EventBody::RepairFailed { .. }
        | EventBody::AbortRequested { .. }
        | EventBody::PromoteRequested { .. }
        | EventBody::Settling(_) => String::new(),
    }
}

fn nodes_changed(event: &Event, state: &Deployment) -> Option<Draft> {
    let changed = state
        .nodes
        .iter()
        .filter(|(_, node)| node.changed_in == event.seq)
        .map(|(id, node): (_, &NodeState)| {
            let module = &state.header.module;
            let node = view::DeployedNode::new(id.clone(), node.clone(), module);
            node.to_json().unwrap_or_default()
        })
        .collect::<Vec<_>>();
    if changed.is_empty() {
        return None;
    }
    let fields = json!({ "nodes": changed, "timestamp": event.at.millis() });
    Some(Draft::new(target::NODES, fields))
}

fn approval_requested(event: &Event, state: &Deployment) -> Option<Draft> {
    let (EventBody::Gated { prompt, .. }
    | EventBody::Called {
        request: Call::Approval { prompt, .. },
        ..
    }) = &event.body
    else {
        return None;
    };
    let mut fields = json!({ "prompt": prompt, "timestamp": event.at.millis() });
    if let Some(due) = state.waiting_until() {
        fields["due"] = due.millis().into();
    }
    Some(Draft::new(target::APPROVAL, fields))
}

/// A person has ended a wait.
fn promoted(event: &Event) -> Option<Draft> {
    let EventBody::PromoteRequested { by, reason, full } = &event.body else {
        return None;
    };
    let mut fields = json!({ "by": by, "full": full, "timestamp": event.at.millis() });
    if let Some(reason) = reason {
        fields["reason"] = reason.as_str().into();
    }
    Some(Draft::new(target::PROMOTED, fields))
}

/// The result of a soak: the same as in the state of the deployment.
fn judged(event: &Event) -> Option<Draft> {
    let EventBody::Answered {
        answer: Answer::Verdict(verdict),
        ..
    } = &event.body
    else {
        return None;
    };
    let judgement: view::Judgement = verdict.judgement.into();
    let findings = verdict.findings.iter().cloned().map(|finding| {
        let finding: view::Finding = finding.into();
        finding.to_json().unwrap_or_default()
    });
    let mut fields = json!({
        "judgement": judgement.to_json().unwrap_or_default(),
        "findings": findings.collect::<Vec<_>>(),
        "timestamp": event.at.millis(),
    });
    if let Some(by) = &verdict.promoted_by {
        fields["promotedBy"] = by.as_str().into();
    }
    Some(Draft::new(target::JUDGED, fields))
}

fn ended(outcome: Outcome, event: &Event, state: &Deployment) -> Draft {
    let duration = event.at.millis().saturating_sub(state.created_at.millis());
    let mut fields = json!({
        "status": state.status().as_str(),
        "durationMs": duration,
        "timestamp": event.at.millis(),
    });
    match outcome {
        Outcome::Succeeded => {
            if !state.not_updated.is_empty() {
                fields["notUpdated"] = failures(&state.not_updated);
            }
            Draft::new(target::COMPLETED, fields)
        }
        Outcome::RolledBack | Outcome::Failed => {
            if let Some(cause) = state.cause.clone() {
                let cause: view::Cause = cause.into();
                fields["cause"] = cause.to_json().unwrap_or_default();
            }
            fields["failures"] = failures(&state.failures);
            Draft::new(target::FAILED, fields)
        }
    }
}

fn failures(failures: &[NodeFailure]) -> Value {
    let failures = failures.iter().cloned().map(|failure| {
        let failure: view::NodeFailure = failure.into();
        failure.to_json().unwrap_or_default()
    });
    failures.collect()
}
