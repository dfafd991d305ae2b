//! How an error is told: what happened, why, and what to do next.

use std::io;

use crate::client;
use crate::exit::{Exit, Usage};
use crate::output::say;

/// Tells of an error on standard error, and how the program is to end.
pub fn report(error: &anyhow::Error) -> Exit {
    // Whoever read our output has seen enough; there is nobody to tell.
    if error.chain().any(is_broken_pipe) {
        return Exit::Failure;
    }
    for line in lines(error) {
        say(&line);
    }
    if error.is::<Usage>() {
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
    let told = error
        .chain()
        .map(|error| crate::watch::words::clean(&error.to_string()));
    let mut told = told.collect::<Vec<_>>();
    // Some libraries repeat in their own words what the next cause says.
    told.dedup();
    let mut lines = vec![format!("error: {}", told.join(": "))];
    let of_engine = error
        .chain()
        .find_map(|error| error.downcast_ref::<client::Error>());
    if let Some(error) = of_engine {
        if let client::Error::Refused(problem) = error {
            let errors = problem
                .errors
                .iter()
                .map(|error| crate::watch::words::clean(error));
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
        let problem = client::Problem {
            status: 401,
            title: "Unauthorized".to_owned(),
            detail: Some("no token".to_owned()),
            errors: vec!["a: b\x1b[2J".to_owned()],
            deployment: None,
        };
        let error = anyhow::Error::new(client::Error::Refused(problem)).context("cannot list");
        let lines = lines(&error);
        assert_eq!(
            lines[0],
            "error: cannot list: Unauthorized: no token (HTTP 401)"
        );
        assert_eq!(lines[1], "  - a: b\u{fffd}[2J");
        assert!(lines[2].starts_with("  next: give a token"), "{lines:?}");
    }

    #[test]
    fn a_usage_error_ends_with_2_and_a_closed_pipe_in_silence() {
        assert_eq!(report(&Usage("no".to_owned()).into()), Exit::Usage);
        assert_eq!(report(&anyhow::anyhow!("no")), Exit::Failure);
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(report(&closed.into()), Exit::Failure);
    }
}
