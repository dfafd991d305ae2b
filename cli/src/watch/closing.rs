use std::time::Duration;

use anyhow::Error;
use hotswap_core::{DeploymentId, Status};
use serde_json::Value;

use super::session::Session;
use super::state::WatchState;
use crate::client::Client;
use crate::exit::Exit;
use crate::exit_report::ExitReport;
use crate::{format, report};

/// Why a wait ended.
pub(super) enum WaitEnd {
    /// The deployment ended, or waits for a person.
    Exit(Exit),
    /// The time was over.
    TimeLimit(Duration),
    /// The deployment stayed paused for this long.
    PauseLimit(Duration),
    /// The events cannot be read any more.
    Failed(Error),
}

/// What is printed after a wait.
pub(super) struct Closing {
    pub(super) exit: Exit,
    id: DeploymentId,
    state: Option<Status>,
    /// For people, on standard error.
    pub(super) lines: Vec<String>,
    message: Option<String>,
    next: Option<String>,
    error: Option<Value>,
}

impl Closing {
    /// Tells why the wait ended and what to do next. `is_known`: the engine accepted the
    /// deployment before the wait.
    pub(super) fn new(
        end: WaitEnd,
        id: DeploymentId,
        session: &Session,
        is_known: bool,
        client: &Client,
    ) -> Self {
        let status = session.status();
        let is_known = is_known || status.is_some();
        let mut closing = Self {
            exit: exit(&end, session),
            id,
            state: status.or(is_known.then_some(Status::Pending)),
            lines: Vec::new(),
            message: None,
            next: None,
            error: None,
        };
        match end {
            WaitEnd::Failed(error) => closing.set_error(&error, is_known, client),
            WaitEnd::Exit(_) => closing.set_message(session, None, is_known),
            WaitEnd::TimeLimit(limit) | WaitEnd::PauseLimit(limit) => {
                closing.set_message(session, Some(limit), is_known);
            }
        }
        closing
    }

    /// The same for programs, with the engine's response if there is one.
    pub(super) fn to_json(&self, response: Option<Value>) -> Value {
        let mut report = ExitReport::new(self.exit).id(self.id);
        if let Some(state) = self.state {
            report = report.state(state.as_str());
        }
        if let Some(message) = &self.message {
            report = report.message(message);
        }
        if let Some(next) = &self.next {
            report = report.next(next);
        }
        if let Some(error) = &self.error {
            report = report.error(error.clone());
        }
        if let Some(response) = response {
            report = report.response(response);
        }
        report.to_json()
    }

    fn set_message(&mut self, session: &Session, limit: Option<Duration>, is_known: bool) {
        let id = self.id;
        let watch_or_abort = || format!("hotswap watch {id}, or hotswap abort {id}");
        let (message, next) = match self.exit {
            Exit::Interrupted | Exit::Terminated => {
                let reason = self.exit.reason();
                let rest = if is_known {
                    "; the deployment continues"
                } else {
                    " before the engine answered"
                };
                (format!("{reason}{rest}"), watch_or_abort())
            }
            Exit::TimedOut => (timeout_message(session, limit), watch_or_abort()),
            Exit::Unreachable => (
                unreachable_message(session, limit, is_known),
                format!("hotswap watch {id}"),
            ),
            Exit::AwaitingApproval => (
                format!("a person has to decide: {}", question(session)),
                format!(
                    "hotswap approve {id}{wait}, or hotswap reject {id}{wait}; then hotswap watch {id}",
                    wait = wait_flag(session)
                ),
            ),
            Exit::Paused => (
                format!(
                    "the deployment is paused, and nobody resumed it{}{}",
                    within(limit),
                    deadline(session)
                ),
                format!("hotswap resume {id}, or hotswap abort {id}; then hotswap watch {id}"),
            ),
            Exit::Success
            | Exit::NotSucceeded
            | Exit::Failure
            | Exit::Usage
            | Exit::NotAuthorized
            | Exit::WrongServer => {
                // The last event tells all.
                self.message = session.last_lines.first().cloned();
                return;
            }
        };
        self.lines = vec![message.clone(), format!("  next: {next}")];
        self.message = Some(message);
        self.next = Some(next);
    }

    fn set_error(&mut self, error: &Error, is_known: bool, client: &Client) {
        self.error = Some(report::to_json(error));
        self.message = Some(report::text(error));
        let watch = format!("hotswap watch {}", self.id);
        self.next = match self.exit {
            Exit::NotAuthorized if is_known => Some(match client.token_file() {
                Some(file) => format!("renew the token in {}, then {watch}", file.display()),
                None => format!("renew the token, then {watch}"),
            }),
            Exit::Unreachable | Exit::WrongServer if is_known => Some(watch),
            _ => report::next(error),
        };
        self.lines = report::lines(error);
        if is_known && self.exit != Exit::Failure {
            self.lines.retain(|line| !line.starts_with("  next: "));
            let lines = self.next.iter().map(|next| format!("  next: {next}"));
            self.lines.push("the deployment continues".to_owned());
            self.lines.extend(lines);
        }
    }
}

/// How the wait ends.
fn exit(end: &WaitEnd, session: &Session) -> Exit {
    match end {
        WaitEnd::Exit(exit) => *exit,
        WaitEnd::PauseLimit(_) => Exit::Paused,
        WaitEnd::Failed(error) => report::exit(error),
        WaitEnd::TimeLimit(_) if session.disconnected.is_some() => Exit::Unreachable,
        WaitEnd::TimeLimit(_) => match session.status() {
            None => Exit::Unreachable,
            Some(Status::Paused) => Exit::Paused,
            Some(Status::AwaitingApproval) => Exit::AwaitingApproval,
            Some(_) => Exit::TimedOut,
        },
    }
}

fn timeout_message(session: &Session, limit: Option<Duration>) -> String {
    let line = format!(
        "not ended{}; the deployment continues",
        limit.map_or_else(String::new, |limit| format!(
            " after {}",
            format::duration(limit)
        ))
    );
    let Some(state) = &session.state else {
        return line;
    };
    let status = format::status(state.deployment.status());
    let stage = state.deployment.stages.last();
    let stage = stage.map_or_else(String::new, |stage| {
        format!(", stage {}", format::sanitize(&stage.name))
    });
    let missing = format::node_names(state.nodes_without_new_version());
    format!("{line}: {status}{stage}, not updated: {missing}")
}

fn unreachable_message(session: &Session, limit: Option<Duration>, is_known: bool) -> String {
    let reason = session.disconnected.as_deref().map(format::sanitize);
    let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let line = format!("the engine has not answered{}{reason}", within(limit));
    match session.status() {
        Some(status) => {
            let status = format::status(status);
            format!("{line}; the deployment continues, and was {status} before")
        }
        None if is_known => format!("{line}; the deployment continues"),
        None => line,
    }
}

fn question(session: &Session) -> String {
    let state = session.state.as_ref();
    let question = state.and_then(|state| state.deployment.question.as_deref());
    format::sanitize(question.unwrap_or("continue?"))
}

fn wait_flag(session: &Session) -> String {
    let state = session.state.as_ref();
    state.map_or_else(String::new, WatchState::wait_flag)
}

/// When a paused deployment is rolled back, unless the pause stops its deadline.
fn deadline(session: &Session) -> String {
    let state = session.state.as_ref();
    let falls_at = state.and_then(|state| state.deployment.deadline.falls_at());
    falls_at.map_or_else(String::new, |at| {
        format!("; it is rolled back at {}", format::date_time(at))
    })
}

fn within(limit: Option<Duration>) -> String {
    limit.map_or_else(String::new, |limit| {
        format!(" within {}", format::duration(limit))
    })
}

#[cfg(test)]
mod tests;
