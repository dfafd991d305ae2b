//! Waits of non-interactive commands.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::Fleet;
use crate::support::Outcome;

/// A client command that runs, and its standard error.
struct Waiting {
    child: Child,
    errors: BufReader<std::process::ChildStderr>,
}

impl Waiting {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        Self { child, errors }
    }

    /// Starts `hotswap watch` with a token that expires soon in `file`. Returns once it has read
    /// the past events. Where the token has expired before, it tries one that lives twice as long:
    /// a busy machine may take seconds to start a program.
    fn watch_with_short_token(fleet: &Fleet, id: &str, file: &str) -> Self {
        let watch = ["watch", id, "--json", "--timeout", "1h"];
        for lifetime in ["4s", "8s", "16s", "32s", "64s"] {
            fleet.write_token(file, lifetime);
            let mut command = fleet.command_with_token(file, &watch);
            let mut waiting = Self::start(command.env("RUST_LOG", "hotswap=debug"));
            if waiting.reads("all past events are read") {
                return waiting;
            }
            assert_eq!(waiting.wait().code, Some(7), "the token has expired");
        }
        panic!("the client does not read the events within a minute");
    }

    /// Reads standard error up to a line with these words. Returns false if there is none.
    fn reads(&mut self, words: &str) -> bool {
        let mut lines = self.errors.by_ref().lines().map_while(Result::ok);
        lines.any(|line| line.contains(words))
    }

    /// The outcome. Standard error is what was not read before.
    fn wait(self) -> Outcome {
        let mut outcome: Outcome = self.child.wait_with_output().unwrap().into();
        let lines = self.errors.lines().map_while(Result::ok);
        outcome.err = lines.collect::<Vec<_>>().join("\n");
        outcome
    }
}

#[test]
fn a_wait_returns_by_itself_while_the_deployment_stays_paused() {
    let fleet = Fleet::start();
    let id = fleet.start_slow("slow");
    fleet.json(&["pause", &id]);
    let start = Instant::now();
    let outcome = fleet.run(&["watch", &id]);
    assert_eq!(outcome.code, Some(6), "{outcome:?}");
    assert!(outcome.out.contains("paused by"), "{outcome:?}");
    let next = format!("next: hotswap resume {id}");
    assert!(outcome.err.contains(&next), "{outcome:?}");
    assert!(
        start.elapsed() >= Duration::from_secs(30),
        "a short pause ends no wait"
    );
    assert_eq!(fleet.json(&["get", &id])["status"], "paused");
}

#[test]
fn a_token_that_expires_during_a_wait_is_read_again() {
    let fleet = Fleet::start();
    let id = fleet.start_slow("slow");
    let mut expired = Waiting::watch_with_short_token(&fleet, &id, "expired");
    // The engine closes the stream when the token expires.
    assert!(expired.reads("reconnecting: "));
    let expired = expired.wait();
    assert_eq!(expired.code, Some(7), "{expired:?}");
    let report = expired.report();
    assert_eq!(report["exitReason"], "notAuthorized");
    assert_eq!(report["state"], "running");
    assert_eq!(report["id"], id.as_str());
    assert_eq!(report["error"]["httpStatus"], 401);
    let next = format!("renew the token in expired, then hotswap watch {id}");
    assert_eq!(report["next"], next);
    assert!(
        expired.err.contains("the deployment continues") && expired.err.contains(&next),
        "{expired:?}"
    );

    let mut renewed = Waiting::watch_with_short_token(&fleet, &id, "renewed");
    fleet.write_token("renewed", "1h");
    assert!(renewed.reads("reconnecting: "));
    assert!(renewed.reads("all past events are read"));
    fleet.json(&["abort", &id]);
    let renewed = renewed.wait();
    assert_eq!(renewed.code, Some(3), "{renewed:?}");
    assert_eq!(renewed.report()["state"], "rolledBack");
}
