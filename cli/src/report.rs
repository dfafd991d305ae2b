//! Reports an error: what happened, why, and what to do next.

use std::{fmt, io};

use serde_json::{Value, json};

use crate::args::Rejection;
use crate::client;
use crate::exit::{Exit, UsageError};
use crate::exit_report::ExitReport;
use crate::format;
use crate::output::{self, print_message};
use crate::shutdown::StopSignal;

/// A signal stopped the command while the engine worked on its request.
#[derive(Debug)]
pub struct Stopped(pub StopSignal);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.0.exit().reason();
        write!(f, "{reason}; the engine may have done what was requested")
    }
}

impl std::error::Error for Stopped {}

/// Who gets the report of an error, and what it is about.
#[derive(Debug, Clone, Default)]
pub struct Reporter {
    /// Whether to print the error as JSON on standard output too.
    pub json: bool,
    /// What the command is about, if it says so.
    pub id: Option<String>,
}

impl Reporter {
    /// Prints an error on standard error, and with `--json` as an object on standard output.
    /// Returns how the program should end.
    pub fn report(&self, error: &anyhow::Error) -> Exit {
        let exit = exit(error);
        // The reader closed our output because it has seen enough, as `head` does.
        if is_broken_pipe(error) {
            return exit;
        }
        if self.json {
            let mut report = ExitReport::new(exit)
                .error(to_json(error))
                .message(text(error));
            if let Some(id) = &self.id {
                report = report.id(id);
            }
            if let Some(next) = next(error) {
                report = report.next(next);
            }
            output::print_json(&report.to_json());
        }
        for line in lines(error) {
            print_message(&line);
        }
        exit
    }
}

/// Reports a command line that was not parsed, or the help that it asks for.
pub fn report_rejection(rejection: &Rejection) -> Exit {
    let error = rejection.error();
    let is_error = error.use_stderr();
    if is_error && rejection.wants_json() {
        let text = error.render().to_string();
        // Usage follows after an empty line.
        let lines = text.lines().map(str::trim);
        let lines: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        let message = format::sanitize(lines.join(" ").trim_start_matches("error: "));
        let report = ExitReport::new(Exit::Usage)
            .message(message.clone())
            .error(json!({ "message": message }))
            .next("hotswap --help");
        output::print_json(&report.to_json());
    }
    // A closed output does not justify another exit code.
    let _ = error.print();
    if is_error { Exit::Usage } else { Exit::Success }
}

/// How the program ends after an error.
pub fn exit(error: &anyhow::Error) -> Exit {
    if error.is::<UsageError>() {
        return Exit::Usage;
    }
    let mut causes = error.chain();
    let specific = causes.find_map(|cause| {
        let stopped = cause
            .downcast_ref::<Stopped>()
            .map(|stopped| stopped.0.exit());
        stopped.or_else(|| cause.downcast_ref().map(client::Error::exit))
    });
    specific.unwrap_or(Exit::Failure)
}

/// The lines that describe an error to a person.
pub fn lines(error: &anyhow::Error) -> Vec<String> {
    let mut lines = vec![format!("error: {}", text(error))];
    let details = problem(error).map(|problem| &problem.errors);
    let details = details.into_iter().flatten();
    lines.extend(details.map(|detail| format!("  - {}", format::sanitize(detail))));
    lines.extend(next(error).map(|next| format!("  next: {next}")));
    lines
}

/// An error for programs.
pub fn to_json(error: &anyhow::Error) -> Value {
    let mut object = json!({ "message": text(error) });
    if let Some(problem) = problem(error) {
        object["httpStatus"] = problem.status.into();
        object["errors"] = json!(problem.errors);
        if let Some(deployment) = &problem.deployment {
            object["deployment"] = json!(deployment);
        }
    }
    object
}

/// What happened and why, on one line.
pub fn text(error: &anyhow::Error) -> String {
    let causes = error.chain().map(ToString::to_string);
    let mut causes: Vec<_> = causes.map(|cause| format::sanitize(&cause)).collect();
    // Some libraries repeat the text of their source.
    causes.dedup();
    causes.join(": ")
}

/// What to do next, where that is known.
pub fn next(error: &anyhow::Error) -> Option<String> {
    if let Some(id) = problem(error).and_then(|problem| problem.deployment.as_ref()) {
        return Some(format!("hotswap watch {}", format::sanitize(id)));
    }
    let advice = client_error(error).and_then(client::Error::advice);
    advice.map(str::to_owned)
}

/// Whether the reader closed our output. A connection to an engine that broke is another
/// matter.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    client_error(error).is_none()
        && causes.any(|cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn client_error(error: &anyhow::Error) -> Option<&client::Error> {
    error.chain().find_map(|error| error.downcast_ref())
}

fn problem(error: &anyhow::Error) -> Option<&client::ProblemResponse> {
    match client_error(error)? {
        client::Error::Rejected(problem) => Some(problem),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(status: u16, deployment: Option<&str>) -> anyhow::Error {
        let problem = client::ProblemResponse {
            is_of_engine: true,
            status,
            title: "Unauthorized".to_owned(),
            detail: Some("no token".to_owned()),
            errors: vec!["a: b\x1b[2J".to_owned()],
            deployment: deployment.map(str::to_owned),
        };
        anyhow::Error::new(client::Error::Rejected(problem)).context("cannot list")
    }

    #[test]
    fn causes_follow_the_error_and_advice_ends_it() {
        let lines = lines(&rejection(401, None));
        assert_eq!(
            lines[0],
            "error: cannot list: Unauthorized: no token (HTTP 401)"
        );
        assert_eq!(lines[1], "  - a: b\u{fffd}[2J");
        assert!(lines[2].starts_with("  next: give a token"), "{lines:?}");
    }

    #[test]
    fn programs_read_the_same_as_people() {
        let error = rejection(409, Some("01890a5d"));
        assert_eq!(
            to_json(&error),
            json!({"message": "cannot list: Unauthorized: no token (HTTP 409)",
                "httpStatus": 409, "errors": ["a: b\u{1b}[2J"], "deployment": "01890a5d"})
        );
        assert_eq!(next(&error).as_deref(), Some("hotswap watch 01890a5d"));
    }

    #[test]
    fn each_kind_of_error_has_its_exit() {
        let usage = UsageError("no".to_owned());
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        for (error, expected) in [
            (usage.into(), Exit::Usage),
            (anyhow::anyhow!("no"), Exit::Failure),
            (closed.into(), Exit::Failure),
            (rejection(401, None), Exit::NotAuthorized),
            (rejection(403, None), Exit::NotAuthorized),
            (rejection(409, None), Exit::Failure),
            (rejection(503, None), Exit::Unreachable),
            (Stopped(StopSignal::Interrupt).into(), Exit::Interrupted),
            (Stopped(StopSignal::Terminate).into(), Exit::Terminated),
        ] {
            assert_eq!(exit(&error), expected, "{error:#}");
            assert_eq!(Reporter::default().report(&error), expected, "{error:#}");
        }
    }
}
