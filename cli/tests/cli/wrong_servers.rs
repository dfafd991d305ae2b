//! Addresses at which no engine answers, but something else.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::server::Fleet;
use crate::support::run;

/// What a server answers to every request.
#[derive(Debug, Clone, Copy)]
pub enum Reply {
    /// The page of a web server that knows no such path.
    HtmlNotFound,
    /// A page.
    Html,
    /// JSON of another program.
    Json,
    /// JSON of another program, which knows no such path.
    JsonNotFound,
    /// A server that sends clients to HTTPS.
    Redirect,
    /// A TLS server, which cannot read the request.
    Tls,
    /// Nothing: the connection closes.
    Nothing,
    /// A proxy without its engine.
    BadGateway,
}

impl Reply {
    fn bytes(self) -> Vec<u8> {
        let http = |status: &str, kind: &str, body: &str| {
            let length = body.len();
            format!(
                "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\
                 location: https://127.0.0.1/\r\nconnection: close\r\n\r\n{body}"
            )
            .into_bytes()
        };
        let page = "<!doctype html><title>hello</title>";
        match self {
            Self::HtmlNotFound => http("404 Not Found", "text/html", page),
            Self::Html => http("200 OK", "text/html", page),
            Self::Json => http("200 OK", "application/json", r#"{"hello": ["world"]}"#),
            Self::JsonNotFound => http(
                "404 Not Found",
                "application/json",
                r#"{"detail": "no route"}"#,
            ),
            Self::Redirect => http("301 Moved Permanently", "text/html", page),
            Self::Tls => vec![0x15, 3, 3, 0, 2, 2, 0x46],
            Self::Nothing => Vec::new(),
            Self::BadGateway => http("502 Bad Gateway", "text/html", page),
        }
    }
}

/// A server that answers every request alike, until the test ends.
pub struct WrongServer {
    pub url: String,
}

impl WrongServer {
    pub fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // A request fits one packet; an upload's rest is not read.
                let mut request = [0; 65_536];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(&reply.bytes());
            }
        });
        Self { url }
    }
}

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[test]
fn a_wrong_server_ends_every_command_in_bounded_time() {
    let folder = tempfile::tempdir().unwrap();
    for reply in [
        Reply::HtmlNotFound,
        Reply::Html,
        Reply::Json,
        Reply::JsonNotFound,
        Reply::Redirect,
        Reply::Tls,
    ] {
        let server = WrongServer::start(reply);
        for command in [
            &["watch", ID][..],
            &["deployment", "events", ID, "--follow"],
            &["deployment", "events", ID],
            &["get", ID],
            &["list"],
            &["node", "get", "n"],
            &["environment", "get", "qa"],
            &["module", "get", "hello"],
            &["deploy", "hello", "-e", "qa", "--wait"],
            &["pause", ID],
            &["rollback", ID],
            &["strategy", "get", "canary"],
            &["strategy", "delete", "mine"],
        ] {
            let start = Instant::now();
            let args = [&["--server", &server.url, "--json"], command].concat();
            let outcome = run(folder.path(), &args);
            assert_eq!(outcome.code, Some(9), "{reply:?} {command:?}: {outcome:?}");
            let report = outcome.report();
            assert!(report["error"]["message"].is_string(), "{report}");
            assert!(outcome.err.contains("--server"), "{outcome:?}");
            assert!(!outcome.err.contains("continues"), "{outcome:?}");
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "{reply:?} {command:?}"
            );
        }
    }
}

#[test]
fn a_server_that_never_answers_ends_a_wait_after_bounded_retries() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = WrongServer::start(Reply::Nothing);
    let proxy = WrongServer::start(Reply::BadGateway);
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    for server in [&nothing.url, &proxy.url, &refused] {
        let args = ["--server", server, "watch", ID, "--json"];
        let outcome = run(folder.path(), &args);
        assert_eq!(outcome.code, Some(8), "{server}: {outcome:?}");
        assert_eq!(outcome.report()["exitReason"], "unreachable");
        assert!(
            outcome.err.contains("reconnecting: "),
            "it has tried again: {outcome:?}"
        );
    }
}

#[test]
fn an_engine_that_was_right_is_tried_again_until_the_time_is_over() {
    let mut fleet = Fleet::start();
    let id = fleet.start_slow("slow");
    fleet.json(&["pause", &id]);
    let follow = |timeout: &str| {
        let args = [
            "watch",
            &id,
            "--through-pause",
            "--json",
            "--timeout",
            timeout,
        ];
        let mut command = fleet.command(&args);
        command.stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    // Long enough that the time is not over before the engine is gone, and back.
    let mut patient = follow("1h");
    let hurried = follow("6s");
    // The engine has to be there when both connect. A second watch takes as long as the first.
    assert_eq!(fleet.run(&["watch", &id, "--timeout", "1s"]).code, Some(6));
    fleet.kill_engine();
    let hurried: crate::support::Outcome = hurried.wait_with_output().unwrap().into();
    assert_eq!(hurried.code, Some(8), "{hurried:?}");
    let report = hurried.report();
    assert_eq!(report["state"], "paused", "{hurried:?}");
    assert!(
        hurried.err.contains("the deployment continues"),
        "{hurried:?}"
    );
    assert!(
        patient.try_wait().unwrap().is_none(),
        "the patient wait has ended"
    );
    fleet.restart_engine();
    fleet.json(&["abort", &id]);
    let patient: crate::support::Outcome = patient.wait_with_output().unwrap().into();
    assert_eq!(patient.code, Some(3), "{patient:?}");
    assert_eq!(patient.report()["state"], "rolledBack");
}
