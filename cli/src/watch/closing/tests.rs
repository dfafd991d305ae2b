use serde_json::json;

use super::*;
use crate::client::{self, RecordedEvent};
use crate::settings::Settings;
use crate::watch::sample_journals;

fn engine_client() -> Client {
    let settings = Settings {
        tls: Default::default(),
        server: "http://127.0.0.1:1".to_owned(),
        token: None,
        token_file: Some("secrets/token".into()),
        email: String::new(),
        json: false,
        no_color: true,
        ci: false,
    };
    Client::new(&settings).unwrap()
}

/// The session after these events.
fn session(bodies: &[(u64, Value)]) -> Session {
    let events = sample_journals::journal(bodies).into_iter().map(|event| {
        let json = serde_json::to_value(&event).unwrap();
        RecordedEvent { json, event }
    });
    let mut session = Session::default();
    let events: Vec<_> = events.collect();
    session.apply(&events, |_, _| Ok(())).unwrap();
    session.set_live();
    session
}

/// The last lines after a wait, and the object with `--json`.
fn close(end: WaitEnd, session: &Session, is_known: bool) -> (Vec<String>, Value) {
    let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let closing = Closing::new(end, id, session, is_known, &engine_client());
    let json = closing.to_json(None);
    assert_eq!(json["exitCode"], closing.exit.code());
    assert_eq!(json["exitReason"], closing.exit.reason());
    (closing.lines, json)
}

#[test]
fn a_timeout_names_the_nodes_that_are_not_updated() {
    let session = session(&sample_journals::soaking());
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let limit = Duration::from_secs(60);
    let (lines, json) = close(WaitEnd::TimeLimit(limit), &session, false);
    assert_eq!(
        lines,
        [
            "not ended after 1m; the deployment continues: running, stage canary 10 %, not \
             updated: prod-2 prod-3 prod-4"
                .to_owned(),
            format!("  next: hotswap watch {id}, or hotswap abort {id}"),
        ]
    );
    assert_eq!(json["exitReason"], "timedOut");
    assert_eq!(
        (&json["id"], &json["state"]),
        (&id.into(), &"running".into())
    );
    assert_eq!(json["message"], lines[0]);
    assert!(lines[1].ends_with(json["next"].as_str().unwrap()), "{json}");

    let (lines, _) = close(WaitEnd::Exit(Exit::Interrupted), &session, false);
    assert!(lines[0].contains("continues"), "{lines:?}");
    let (lines, json) = close(WaitEnd::Exit(Exit::Success), &session, false);
    assert!(lines.is_empty(), "{lines:?}");
    assert!(
        json["next"].is_null() && json["message"].is_string(),
        "{json}"
    );
}

#[test]
fn the_reason_of_a_timeout_is_what_the_deployment_waited_for() {
    let limit = || WaitEnd::TimeLimit(Duration::from_secs(60));
    let (lines, json) = close(
        limit(),
        &session(&sample_journals::awaiting_approval()),
        false,
    );
    assert_eq!(json["exitReason"], "awaitingApproval");
    assert!(lines[1].contains("hotswap approve"), "{lines:?}");

    let mut bodies = sample_journals::soaking();
    let paused = json!({"type": "paused", "data": {"by": "ada"}});
    bodies.push((100, paused));
    let paused = session(&bodies);
    for end in [limit(), WaitEnd::PauseLimit(Duration::from_secs(30))] {
        let (lines, json) = close(end, &paused, false);
        assert_eq!(json["exitReason"], "paused");
        assert!(lines[1].contains("hotswap resume"), "{lines:?}");
    }

    let mut disconnected = paused;
    disconnected.set_disconnected("gone", true);
    let (lines, json) = close(limit(), &disconnected, false);
    assert_eq!(json["exitReason"], "unreachable");
    assert!(
        lines[0].contains("gone") && lines[0].contains("paused"),
        "{lines:?}"
    );
    // Nothing is known of a deployment whose engine has never answered.
    let (lines, json) = close(limit(), &Session::default(), false);
    assert_eq!(
        (&json["exitReason"], &json["state"]),
        (&"unreachable".into(), &().into())
    );
    assert!(!lines[0].contains("continues"), "{lines:?}");
    let (lines, json) = close(limit(), &Session::default(), true);
    assert_eq!(json["state"], "pending");
    assert!(lines[0].contains("continues"), "{lines:?}");
}

#[test]
fn a_token_that_expired_is_told_with_the_file_to_renew() {
    let error = || {
        let problem = client::ProblemResponse {
            is_of_engine: true,
            status: 401,
            title: "Unauthorized".to_owned(),
            detail: None,
            errors: Vec::new(),
            deployment: None,
        };
        WaitEnd::Failed(client::Error::Rejected(problem).into())
    };
    let (lines, json) = close(error(), &session(&sample_journals::soaking()), false);
    assert_eq!(
        lines[1..],
        [
            "the deployment continues",
            "  next: renew the token in secrets/token, then hotswap watch \
             01890a5d-ac96-774b-bcce-b302099a8057"
        ]
    );
    assert_eq!(json["exitReason"], "notAuthorized");
    assert_eq!(json["error"]["httpStatus"], 401);
    // Of a deployment that was never seen, nothing is claimed.
    let (lines, _) = close(error(), &Session::default(), false);
    assert!(
        !lines.iter().any(|line| line.contains("continues")),
        "{lines:?}"
    );
}
