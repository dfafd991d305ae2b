//! Events as plain lines, for logs and pipes.

use std::time::Duration;

use hotswap_core::{
    Answer, Call, Event, EventBody, Level, ModuleVersion, NodeFailure, NodeId, Outcome, Verdict,
};

use super::state::WatchState;
use crate::{format, interval_bar};

/// The lines for an event, given the state before it. Each begins with the time. Most events
/// have one line, some none.
pub fn describe(before: Option<&WatchState>, event: &Event) -> Vec<String> {
    let time = format::time_of_day(event.at);
    describe_body(before, event)
        .iter()
        .map(|line| format!("{time}  {}", format::sanitize(line)))
        .collect()
}

fn describe_body(before: Option<&WatchState>, event: &Event) -> Vec<String> {
    let one = |line: String| vec![line];
    match &event.body {
        EventBody::Requested(header) => {
            let (module, environment) = (&header.module, header.scope());
            let (strategy, email) = (&header.strategy.name, &header.requester.email);
            let mut lines = one(format!(
                "{module} → {environment} by {strategy}, requested by {email}"
            ));
            lines.push(format!("deployment {}", header.id));
            lines.extend(format::relations(header));
            lines
        }
        EventBody::Gated { prompt, due } => one(question(prompt, Some(&format::date_time(*due)))),
        EventBody::Planned {
            nodes,
            missing,
            cordoned,
        } => {
            let names = format::node_names(nodes.iter().map(|node| &node.id));
            let mut lines = one(format!(
                "planned {}: {names}",
                format::count(nodes.len(), "node")
            ));
            lines.extend(missing.iter().map(format::missing));
            lines.extend(cordoned.iter().map(format::cordoned));
            lines
        }
        EventBody::Called { request, due, .. } => {
            let deadline = before.and_then(|state| state.deployment.deadline.falls_at());
            let due = due.map(|due| deadline.map_or(due, |falls| falls.min(due)));
            let due = due.map(format::date_time);
            describe_call(request, due.as_deref()).into_iter().collect()
        }
        EventBody::Answered { answer, .. } => before
            .and_then(|state| state.open_call.as_ref())
            .map_or_else(Vec::new, |call| describe_answer(call, answer)),
        EventBody::Decided { decision } => {
            let comment = decision.comment.as_ref();
            let comment = comment.map_or_else(String::new, |comment| format!(": {comment}"));
            one(match (decision.approved, decision.by.as_str()) {
                (true, by) => format!("✔ approved by {by}{comment}"),
                (false, "") => format!("✘ no decision in time{comment}"),
                (false, by) => format!("✘ rejected by {by}{comment}"),
            })
        }
        EventBody::Paused { by, reason } => one(match reason {
            Some(reason) => format!("‖ paused by the {by}: {reason}"),
            None => format!("‖ paused by {by}"),
        }),
        EventBody::Resumed { by } => one(format!("▶ resumed by {by}")),
        EventBody::AbortRequested { by, reason } => {
            let reason = reason
                .as_ref()
                .map_or_else(String::new, |reason| format!(": {reason}"));
            one(format!("abort requested by {by}{reason}"))
        }
        EventBody::PromoteRequested { by, reason, full } => {
            let reason = reason
                .as_ref()
                .map_or_else(String::new, |reason| format!(": {reason}"));
            let what = if *full { "every wait" } else { "the wait" };
            one(format!("▶ {by} ended {what}{reason}"))
        }
        EventBody::TerminationRequested { by, reason } => {
            let reason = reason
                .as_ref()
                .map_or_else(String::new, |reason| format!(": {reason}"));
            one(format!("✘ terminated by {by}{reason}"))
        }
        EventBody::WritesLost { message } => one(format!("! {message}")),
        EventBody::Repairing(repair) => one(format!(
            "{} runs {}, bringing it back to {}",
            repair.node,
            version(repair.from.as_ref()),
            version(repair.to.as_ref())
        )),
        EventBody::Repaired(repair) => one(format!(
            "✔ {} is back at {}",
            repair.node,
            version(repair.to.as_ref())
        )),
        EventBody::RepairFailed {
            repair,
            error,
            attempts,
        } => one(format!(
            "! {} could not be brought back to {}: {error} (attempt {attempts})",
            repair.node,
            version(repair.to.as_ref())
        )),
        EventBody::Settling(_) => one("removing the previous version".to_owned()),
        EventBody::Reverting { cause } => one(format!("↩ rolling back: {cause}")),
        EventBody::Ended {
            outcome,
            failures,
            not_updated,
        } => {
            let mut lines = describe_end(before, event, *outcome, not_updated);
            lines.extend(failures.iter().map(failure));
            lines
        }
    }
}

fn version(version: Option<&ModuleVersion>) -> String {
    version.map_or_else(|| "no version".to_owned(), |one| one.version.to_string())
}

fn describe_call(request: &Call, due: Option<&str>) -> Option<String> {
    let span = |millis: &u64| format::duration(Duration::from_millis(*millis));
    Some(match request {
        Call::Progress { stage, percent } => format!("▶ stage {stage} ({percent} %)"),
        Call::Log { level, message } => match level {
            Level::Debug => format!("debug: {message}"),
            Level::Info => format!("info: {message}"),
            Level::Warn => format!("! warning: {message}"),
            Level::Error => format!("! error: {message}"),
        },
        Call::Soak {
            window,
            canary,
            baseline,
            ..
        } => {
            let (window, new) = (span(window), format::node_names(canary));
            if baseline.is_empty() {
                format!("watching {new} for {window}")
            } else if canary == baseline {
                format!("watching the new version beside the old on {new} for {window}")
            } else {
                format!(
                    "watching {new} against {} for {window}",
                    format::node_names(baseline)
                )
            }
        }
        Call::Sleep { span: millis } => format!("waiting {}", span(millis)),
        Call::Approval { prompt, .. } => question(prompt, due),
        // Their answers have lines. Reads have none.
        Call::Stage { .. }
        | Call::Shift { .. }
        | Call::Promote { .. }
        | Call::Revert { .. }
        | Call::Probe { .. }
        | Call::Nodes
        | Call::Now => return None,
    })
}

fn describe_answer(call: &Call, answer: &Answer) -> Vec<String> {
    match answer {
        Answer::Nodewise(failures) => {
            let has_failed = |id: &NodeId| failures.iter().any(|failure| failure.node == *id);
            let succeeded: Vec<_> = call.named_nodes().filter(|id| !has_failed(id)).collect();
            let result = match call {
                Call::Stage { .. } => "staged".to_owned(),
                Call::Shift { percent, .. } => {
                    format!("{percent} % of requests to the new version")
                }
                Call::Promote { .. } => "switched".to_owned(),
                Call::Revert { .. } => "reverted".to_owned(),
                Call::Probe { request, .. } => format!("{} answers as expected", request.path),
                other => other.name().to_owned(),
            };
            let mut lines = Vec::new();
            if !succeeded.is_empty() {
                lines.push(format!("✔ {result}: {}", format::node_names(succeeded)));
            }
            lines.extend(failures.iter().map(failure));
            lines
        }
        Answer::Verdict(Verdict { findings, .. }) => {
            let lines = findings.iter().flat_map(|finding| {
                let bars = interval_bar::draw_all(finding).map(|bar| format!("  {bar}"));
                std::iter::once(format::finding(finding)).chain(bars)
            });
            lines.collect()
        }
        Answer::Decision(decision) if !decision.approved && decision.by.is_empty() => {
            vec!["✘ no decision in time".to_owned()]
        }
        // A decision has an event of its own, and the next event shows that a wait is over.
        Answer::Decision(_) | Answer::Done | Answer::Nodes(_) | Answer::Time(_) => Vec::new(),
    }
}

fn describe_end(
    before: Option<&WatchState>,
    event: &Event,
    outcome: Outcome,
    not_updated: &[NodeFailure],
) -> Vec<String> {
    let state = before.map(|state| &state.deployment);
    let after = state.map_or_else(String::new, |state| {
        format!(
            " after {}",
            format::duration(event.at.since(state.created_at))
        )
    });
    let cause = state.and_then(|state| state.cause.as_ref());
    let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    let missing = state.map_or(&[][..], |state| &state.missing[..]);
    let cordoned = state.map_or(&[][..], |state| &state.cordoned[..]);
    let left_out = if missing.is_empty() && cordoned.is_empty() {
        String::new()
    } else {
        let missing = missing.iter().map(|failure| &failure.node);
        let cordoned = cordoned.iter().map(|cordoned| &cordoned.node);
        let nodes = format::node_names(missing.chain(cordoned));
        format!("; left out: {nodes}")
    };
    let mut lines = vec![match outcome {
        Outcome::Succeeded if not_updated.is_empty() => format!("✔ succeeded{after}{left_out}"),
        Outcome::Succeeded => {
            let nodes = format::node_names(not_updated.iter().map(|failure| &failure.node));
            format!("✔ succeeded in part{after}; not updated: {nodes}{left_out}")
        }
        Outcome::RolledBack => format!("✘ rolled back{after}{cause}"),
        Outcome::Failed => format!("✘ failed{after}{cause}"),
    }];
    lines.extend(not_updated.iter().map(format::not_updated));
    lines
}

fn failure(failure: &NodeFailure) -> String {
    format!("✘ {}: {}", failure.node, failure.error)
}

fn question(prompt: &str, due: Option<&str>) -> String {
    let due = due.map_or_else(String::new, |due| format!(" (until {due})"));
    format!("? approval needed: {prompt}{due}")
}
