//! Prints an error: what happened, why, and what to do next.

use std::io;

use crate::client;
use crate::exit::{Exit, UsageError};
use crate::format;
use crate::output::print_message;

/// Prints an error on standard error. Returns how the program should end.
pub fn report(error: &anyhow::Error) -> Exit {
    // The reader closed our output because it has seen enough, as `head` does.
    if error.chain().any(is_broken_pipe) {
        return Exit::Failure;
    }
    for line in lines(error) {
        print_message(&line);
    }
    if error.is::<UsageError>() {
        Exit::Usage
    } else {
        Exit::Failure
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn lines(error: &anyhow::Error) -> Vec<String> {
    let mut causes: Vec<_> = error
        .chain()
        .map(|error| format::sanitize(&error.to_string()))
        .collect();
    // Some libraries repeat the text of their source.
    causes.dedup();
    let mut lines = vec![format!("error: {}", causes.join(": "))];
    let client_error = error
        .chain()
        .find_map(|error| error.downcast_ref::<client::Error>());
    if let Some(error) = client_error {
        if let client::Error::Rejected(problem) = error {
            let errors = problem.errors.iter().map(|error| format::sanitize(error));
            lines.extend(errors.map(|error| format!("  - {error}")));
            if let Some(id) = &problem.deployment {
                lines.push(format!("  next: hotswap watch {id}"));
            }
        }
        lines.extend(error.advice().map(|advice| format!("  next: {advice}")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_the_error_and_advice_ends_it() {
        let problem = client::ProblemResponse {
            status: 401,
            title: "Unauthorized".to_owned(),
            detail: Some("no token".to_owned()),
            errors: vec!["a: b\x1b[2J".to_owned()],
            deployment: None,
        };
        let error = anyhow::Error::new(client::Error::Rejected(problem)).context("cannot list");
        let lines = lines(&error);
        assert_eq!(
            lines[0],
            "error: cannot list: Unauthorized: no token (HTTP 401)"
        );
        assert_eq!(lines[1], "  - a: b\u{fffd}[2J");
        assert!(lines[2].starts_with("  next: give a token"), "{lines:?}");
    }

    #[test]
    fn a_usage_error_ends_with_2_and_a_closed_pipe_prints_nothing() {
        assert_eq!(report(&UsageError("no".to_owned()).into()), Exit::Usage);
        assert_eq!(report(&anyhow::anyhow!("no")), Exit::Failure);
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(report(&closed.into()), Exit::Failure);
    }
}
