//! A deployment as plain lines: for logs, pipes and whoever reads one thing at a time.

use std::time::Duration;

use hotswap_core::{Answer, Call, Event, EventBody, Level, NodeFailure, Outcome, Verdict};

use super::story::Story;
use super::words;

/// What there is to say of an event, given the story before it. Each line begins with
/// the time; most events have one line, some none.
pub fn of(before: Option<&Story>, event: &Event) -> Vec<String> {
    let time = words::clock(event.at);
    let said = say(before, event);
    said.iter()
        .map(|line| format!("{time}  {}", words::clean(line)))
        .collect()
}

fn say(before: Option<&Story>, event: &Event) -> Vec<String> {
    let one = |line: String| vec![line];
    match &event.body {
        EventBody::Requested(header) => {
            let (module, environment) = (&header.module, &header.environment);
            let (strategy, email) = (&header.strategy.name, &header.requester.email);
            let mut lines = one(format!(
                "{module} → {environment} by {strategy}, asked for by {email}"
            ));
            lines.push(format!("deployment {}", header.id));
            lines.extend(
                header
                    .rollback_of
                    .map(|id| format!("undoes deployment {id}")),
            );
            lines
        }
        EventBody::Gated { prompt, due } => one(ask(prompt, Some(&words::clock(*due)))),
        EventBody::Planned { nodes } => {
            let names = words::names(nodes.iter().map(|node| &node.id));
            one(format!(
                "planned {}: {names}",
                words::count(nodes.len(), "node")
            ))
        }
        EventBody::Called { request, due, .. } => {
            let due = due.map(words::clock);
            called(request, due.as_deref()).into_iter().collect()
        }
        EventBody::Answered { answer, .. } => before
            .and_then(|story| story.open.as_ref())
            .map_or_else(Vec::new, |call| answered(call, answer)),
        EventBody::Decided { decision } => {
            let comment = decision.comment.as_ref();
            let comment = comment.map_or_else(String::new, |comment| format!(": {comment}"));
            one(match (decision.approved, decision.by.as_str()) {
                (true, by) => format!("✔ approved by {by}{comment}"),
                (false, "") => format!("✘ nobody decided in time{comment}"),
                (false, by) => format!("✘ rejected by {by}{comment}"),
            })
        }
        EventBody::Paused { by } => one(format!("‖ paused by {by}")),
        EventBody::Resumed { by } => one(format!("▶ resumed by {by}")),
        EventBody::AbortRequested { by, reason } => {
            let reason = reason
                .as_ref()
                .map_or_else(String::new, |reason| format!(": {reason}"));
            one(format!("abort asked for by {by}{reason}"))
        }
        EventBody::Settling => one("the version before is let go".to_owned()),
        EventBody::Reverting { cause } => one(format!("↩ rolling back: {cause}")),
        EventBody::Ended { outcome, failures } => ended(before, event, *outcome, failures),
    }
}

fn called(request: &Call, due: Option<&str>) -> Option<String> {
    let span = |millis: &u64| words::span(Duration::from_millis(*millis));
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
            let (window, new) = (span(window), words::names(canary));
            if baseline.is_empty() {
                format!("watching {new} for {window}")
            } else if canary == baseline {
                format!("watching the new version beside the old on {new} for {window}")
            } else {
                format!(
                    "watching {new} against {} for {window}",
                    words::names(baseline)
                )
            }
        }
        Call::Sleep { span: millis } => format!("waiting {}", span(millis)),
        Call::Approval { prompt, .. } => ask(prompt, due),
        // These are told of when they are done; reads are nothing to tell of.
        Call::Stage { .. } | Call::Shift { .. } | Call::Promote { .. } | Call::Revert { .. } => {
            return None;
        }
        Call::Probe { .. } | Call::Nodes | Call::Now => return None,
    })
}

fn answered(call: &Call, answer: &Answer) -> Vec<String> {
    match answer {
        Answer::Nodewise(failures) => {
            let failed =
                |id: &hotswap_core::NodeId| failures.iter().any(|failure| failure.node == *id);
            let good: Vec<_> = call.named_nodes().filter(|id| !failed(id)).collect();
            let done = match call {
                Call::Stage { .. } => "staged".to_owned(),
                Call::Shift { percent, .. } => {
                    format!("{percent} % of requests to the new version")
                }
                Call::Promote { .. } => "switched".to_owned(),
                Call::Revert { .. } => "put back".to_owned(),
                Call::Probe { request, .. } => format!("{} answers as expected", request.path),
                other => other.name().to_owned(),
            };
            let mut lines = Vec::new();
            if !good.is_empty() {
                lines.push(format!("✔ {done}: {}", words::names(good)));
            }
            lines.extend(failures.iter().map(failure));
            lines
        }
        Answer::Verdict(Verdict { findings, .. }) => findings.iter().map(words::finding).collect(),
        Answer::Decision(decision) if !decision.approved && decision.by.is_empty() => {
            vec!["✘ nobody decided in time".to_owned()]
        }
        // The decision was an event of its own; a wait that is over says so by what follows.
        Answer::Decision(_) | Answer::Done | Answer::Nodes(_) | Answer::Time(_) => Vec::new(),
    }
}

fn ended(
    before: Option<&Story>,
    event: &Event,
    outcome: Outcome,
    failures: &[NodeFailure],
) -> Vec<String> {
    let state = before.map(|story| &story.state);
    let after = state.map_or_else(String::new, |state| {
        format!(" after {}", words::span(event.at.since(state.created_at)))
    });
    let cause = state.and_then(|state| state.cause.as_ref());
    let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    let mut lines = vec![match outcome {
        Outcome::Succeeded => format!("✔ succeeded{after}"),
        Outcome::RolledBack => format!("✘ rolled back{after}{cause}"),
        Outcome::Failed => format!("✘ failed{after}{cause}"),
    }];
    lines.extend(failures.iter().map(failure));
    lines
}

fn failure(failure: &NodeFailure) -> String {
    format!("✘ {}: {}", failure.node, failure.error)
}

fn ask(prompt: &str, due: Option<&str>) -> String {
    let due = due.map_or_else(String::new, |due| format!(" (until {due})"));
    format!("? approval needed: {prompt}{due}")
}
