//! Waits of non-interactive commands.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::Fleet;

/// `hotswap deployment events --follow --json` that runs, and its output.
struct Following {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    errors: Lines<BufReader<ChildStderr>>,
}

/// How it has ended. The output is what was not read before.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    last_line: Value,
    errors: String,
}

impl Following {
    /// Starts it with a token that expires soon, in `file`. Returns once it has read an event. Where
    /// the token has expired before, it tries one that lives twice as long: a busy machine may take
    /// seconds to start a program.
    fn start_with_short_token(fleet: &Fleet, id: &str, file: &str) -> Self {
        let follow = [
            "deployment",
            "events",
            id,
            "--follow",
            "--json",
            "--timeout",
            "1h",
        ];
        for lifetime in ["4s", "8s", "16s", "32s", "64s"] {
            fleet.write_token(file, lifetime);
            let mut child = fleet
                .command_with_token(file, &follow)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut following = Self {
                out: BufReader::new(child.stdout.take().unwrap()).lines(),
                errors: BufReader::new(child.stderr.take().unwrap()).lines(),
                child,
            };
            let first = following.out.next().expect("an event or a report").unwrap();
            let first: Value = serde_json::from_str(&first).unwrap();
            if first["seq"].is_u64() {
                return following;
            }
            let ended = following.wait();
            assert_eq!(ended.code, Some(7), "{first}: {ended:?}");
        }
        panic!("the client does not read an event within a minute");
    }

    /// Waits until it has lost the connection. The engine closes that when the token expires.
    fn wait_until_disconnected(&mut self) {
        let mut errors = self.errors.by_ref().map_while(Result::ok);
        assert!(errors.any(|line| line.contains("reconnecting: ")));
    }

    fn wait(mut self) -> Ended {
        let last_line = self.out.map_while(Result::ok).last();
        let errors: Vec<_> = self.errors.map_while(Result::ok).collect();
        Ended {
            code: self.child.wait().unwrap().code(),
            last_line: last_line.map_or(Value::Null, |line| serde_json::from_str(&line).unwrap()),
            errors: errors.join("\n"),
        }
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
    let mut expired = Following::start_with_short_token(&fleet, &id, "expired");
    expired.wait_until_disconnected();
    let expired = expired.wait();
    assert_eq!(expired.code, Some(7), "{expired:?}");
    let report = &expired.last_line;
    assert_eq!(report["exitReason"], "notAuthorized");
    assert_eq!(report["state"], "running");
    assert_eq!(report["id"], id.as_str());
    assert_eq!(report["error"]["httpStatus"], 401);
    let next = format!("renew the token in expired, then hotswap watch {id}");
    assert_eq!(report["next"], next);
    assert!(
        expired.errors.contains("the deployment continues") && expired.errors.contains(&next),
        "{expired:?}"
    );

    // Ready before: the first token may expire soon.
    fleet.write_token("next", "1h");
    let mut renewed = Following::start_with_short_token(&fleet, &id, "renewed");
    let folder = fleet.folder.path();
    std::fs::rename(folder.join("next"), folder.join("renewed")).unwrap();
    renewed.wait_until_disconnected();
    fleet.json(&["abort", &id]);
    let renewed = renewed.wait();
    assert_eq!(renewed.code, Some(3), "{renewed:?}");
    let last = renewed.last_line.to_string();
    assert!(last.contains("rolledBack"), "{last}");
}
