use serde_json::json;

use super::*;
use crate::{Cause, CauseKind, Header, Outcome, Policy, StrategyLimits};

fn header_json() -> Value {
    let digest = crate::Digest::of(b"x").to_string();
    json!({
        "id": "0199e1f3-5b5c-7d5e-9d52-6f1f3a3e8a10",
        "module": { "name": "hello", "version": "2.0.0", "digest": digest },
        "environment": "production",
        "strategy": { "name": "canary", "version": "0.1.0", "digest": digest, "wit": "0.1.0" },
        "config": {},
        "policy": {
            "defaultStrategy": "canary",
            "maxUnavailable": "50%",
            "toleratedFailures": 0,
            "deadline": 86_400_000,
            "revertPatience": 60_000,
        },
        "requester": { "email": "ada@example.com", "subject": "ada" },
    })
}

fn decode(json: &Value) -> Result<EventBody, DecodeError> {
    decode_event(json.to_string().as_bytes())
}

fn paused_by_ada() -> EventBody {
    EventBody::Paused {
        by: "ada".into(),
        reason: None,
    }
}

fn decode_header(json: &Value) -> Header {
    match decode(json) {
        Ok(EventBody::Requested(header)) => *header,
        other => panic!("{other:?}"),
    }
}

/// A node that lost its disk.
fn repair() -> crate::Repair {
    let to = json!({ "name": "hello", "version": "1.0.0", "digest": crate::Digest::of(b"1") });
    crate::Repair {
        node: "a".parse().unwrap(),
        module: "hello".parse().unwrap(),
        from: None,
        to: serde_json::from_value(to).unwrap(),
    }
}

fn bodies() -> Vec<EventBody> {
    let requested = json!({ "schema": 2, "type": "requested", "data": header_json() });
    vec![
        EventBody::Requested(Box::new(decode_header(&requested))),
        EventBody::Settling(None),
        EventBody::TerminationRequested {
            by: "ada".into(),
            reason: None,
        },
        EventBody::WritesLost {
            message: "some".into(),
        },
        EventBody::Repairing(repair()),
        EventBody::Repaired(repair()),
        EventBody::RepairFailed {
            repair: repair(),
            error: crate::NodeError::Unreachable("no answer".into()),
            attempts: 2,
        },
        EventBody::Reverting {
            cause: Cause::new(CauseKind::Abort, "enough"),
        },
        EventBody::Ended {
            outcome: Outcome::Failed,
            failures: Vec::new(),
            not_updated: Vec::new(),
        },
    ]
}

#[test]
fn a_stored_event_says_its_schema_version_and_is_read_back() {
    for body in bodies() {
        let mut bytes = Vec::new();
        encode_event(&body, &mut bytes).unwrap();
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(json["schema"], SCHEMA_VERSION, "{json}");
        assert_eq!(json["type"], body.name());
        assert_eq!(decode_event(&bytes), Ok(body));
    }
}

#[test]
fn an_event_without_a_version_is_of_the_first_one_and_gets_its_limits() {
    let first = json!({ "type": "requested", "data": header_json() });
    assert_eq!(decode_header(&first).limits, StrategyLimits::default());
    let paused = json!({ "type": "paused", "data": { "by": "ada" } });
    assert_eq!(decode(&paused), Ok(paused_by_ada()));
}

#[test]
fn limits_that_a_header_pins_are_kept() {
    let mut header = header_json();
    header["limits"] = json!({ "calls": 7, "gpus": 1 });
    let limits = decode_header(&json!({ "schema": 2, "type": "requested", "data": header })).limits;
    let expected = StrategyLimits {
        calls: 7,
        ..StrategyLimits::default()
    };
    assert_eq!(limits, expected);
}

#[test]
fn unknown_fields_of_event_header_and_policy_are_ignored() {
    let known = json!({ "schema": 2, "type": "requested", "data": header_json() });
    let mut more = known.clone();
    more["weight"] = 1.into();
    more["data"]["colour"] = "blue".into();
    more["data"]["policy"]["windows"] = json!([{ "from": "22:00" }]);
    more["data"]["requester"]["team"] = "shop".into();
    assert_eq!(decode_header(&more), decode_header(&known));
    let policy: Policy = serde_json::from_value(more["data"]["policy"].clone()).unwrap();
    assert_eq!(policy, decode_header(&known).policy);
    let paused = json!({ "schema": 2, "type": "paused", "data": { "by": "ada", "for": "1h" } });
    assert_eq!(decode(&paused), Ok(paused_by_ada()));
}

#[test]
fn a_newer_event_and_an_unknown_type_need_another_engine() {
    let newer = json!({ "schema": SCHEMA_VERSION + 1, "type": "paused", "data": { "by": "ada" } });
    let error = decode(&newer).unwrap_err();
    let version = SCHEMA_VERSION + 1;
    let newest = SCHEMA_VERSION;
    assert_eq!(error, DecodeError::Newer { version, newest });
    assert!(error.needs_upgrade() && error.to_string().contains("start the newer engine"));
    let unknown = json!({ "schema": SCHEMA_VERSION, "type": "split", "data": {} });
    let error = decode(&unknown).unwrap_err();
    let name = "split".to_owned();
    assert_eq!(error, DecodeError::UnknownType { name });
    assert!(error.needs_upgrade() && error.to_string().contains("'split'"));
}

#[test]
fn what_no_release_writes_is_invalid() {
    let cut = b"{\"schema\":2,\"type\":\"paused\",\"data\":{\"by\"".as_slice();
    let wrong_data = b"{\"schema\":2,\"type\":\"paused\",\"data\":7}".as_slice();
    for bytes in [
        b"".as_slice(),
        b"\0",
        b"null",
        b"{}",
        b"\xff\xfe",
        cut,
        wrong_data,
    ] {
        let error = decode_event(bytes).unwrap_err();
        assert!(matches!(error, DecodeError::Invalid(_)), "{error}");
        assert!(!error.needs_upgrade());
    }
}

#[test]
fn every_type_of_event_is_known_by_its_name() {
    for body in bodies() {
        assert!(EventBody::NAMES.contains(&body.name()), "{}", body.name());
    }
    // The compiler finds a missing arm of `name`; this finds a name that the list lacks.
    for name in EventBody::NAMES {
        let event = json!({ "schema": SCHEMA_VERSION, "type": name, "data": 0 });
        let error = decode(&event).err();
        let is_unknown = matches!(&error, Some(DecodeError::Invalid(reason)) if reason.contains("unknown variant"));
        assert!(!is_unknown, "{name}: {error:?}");
    }
}
