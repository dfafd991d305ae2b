use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hotswap_sdk::Span;
use hotswap_sdk::discovery::testing::{self, Answer, ScriptedRegistry, damage};
use hotswap_sdk::discovery::{Error, Health, HealthCheck, Registration};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{Config, Etcd};

const RANGE: &str = "POST /v3/kv/range";
const WATCH: &str = "POST /v3/watch";
const MINUTE: Span = Span::mins(1);

fn list(revision: &str, entries: &[(&str, &str)]) -> Answer {
    let kvs: Vec<_> = entries
        .iter()
        .map(|(key, value)| json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) }))
        .collect();
    Answer::json(
        200,
        &json!({ "header": { "revision": revision }, "kvs": kvs }),
    )
}

fn alive() -> Answer {
    Answer::json(200, &json!({ "result": { "ID": "77", "TTL": "15" } }))
}

fn created(revision: i64) -> Json {
    json!({ "result": { "header": { "revision": revision.to_string() }, "created": true } })
}

fn registration(check: Option<HealthCheck>) -> Registration {
    Registration {
        version: None,
        metadata: Vec::new(),
        check,
        ..testing::registration("node-1")
    }
}

/// The bodies of the requests, with the bytes of keys and values as text.
fn bodies(registry: &ScriptedRegistry) -> Vec<Json> {
    let body = |request: &String| {
        let body = request.splitn(3, ' ').nth(2).expect("a body");
        let mut body: Json = serde_json::from_str(body).expect("JSON");
        for field in ["key", "value"] {
            if let Some(text) = body[field].as_str() {
                let bytes = STANDARD.decode(text).expect("base64");
                body[field] = json!(String::from_utf8(bytes).expect("text"));
            }
        }
        body
    };
    registry.requests().iter().map(body).collect()
}

#[test]
fn keys_become_instances_and_the_revision_is_the_cursor() {
    let value = r#"{"address":"10.0.0.1","ports":{"control":9001},"health":"warning"}"#;
    let registry = ScriptedRegistry::new().answer(RANGE, list("7", &[("/hotswap/node/a", value)]));
    let mut etcd = registry.backend::<Etcd>(Config::default()).unwrap();
    let found = etcd.watch("node", None, MINUTE).unwrap();
    assert_eq!(found.cursor, "7");
    let instance = &found.instances[0];
    assert_eq!((&*instance.id, &*instance.address), ("a", "10.0.0.1"));
    assert_eq!(instance.health, Health::Warning);
    assert_eq!(
        (&*instance.ports[0].name, instance.ports[0].number),
        ("control", 9001)
    );
    assert_eq!(instance.weight, 1);
}

#[test]
fn a_watch_begins_after_the_revision_and_ends_with_an_event_or_its_patience() {
    let event =
        json!({ "result": { "header": { "revision": "8" }, "events": [{ "type": "DELETE" }] } });
    let registry = ScriptedRegistry::new()
        .answer(WATCH, Answer::stream(&[created(7), event]))
        .answer(RANGE, list("8", &[]))
        .answer(WATCH, Answer::stream(&[created(8)]))
        .answer(RANGE, list("8", &[]));
    let mut etcd = registry.backend::<Etcd>(Config::default()).unwrap();
    let found = etcd.watch("node", Some("7"), MINUTE).unwrap();
    assert_eq!(found.cursor, "8");
    assert_eq!(registry.waited(), Span::ZERO);
    assert_eq!(
        bodies(&registry)[0]["create_request"]["start_revision"],
        "8"
    );
    let found = etcd.watch("node", Some("8"), MINUTE).unwrap();
    assert_eq!(found.cursor, "8");
    assert_eq!(registry.waited(), MINUTE);
}

#[test]
fn compaction_and_a_restored_store_mean_to_list_again() {
    let compacted = json!({ "result": {
        "header": { "revision": "90" }, "canceled": true, "compact_revision": "50"
    } });
    let registry = ScriptedRegistry::new()
        .answer(WATCH, Answer::stream(&[created(90), compacted]))
        .answer(RANGE, list("90", &[]))
        .answer(WATCH, Answer::stream(&[created(3)]))
        .answer(RANGE, list("3", &[]));
    let mut etcd = registry.backend::<Etcd>(Config::default()).unwrap();
    assert_eq!(etcd.watch("node", Some("7"), MINUTE).unwrap().cursor, "90");
    assert_eq!(etcd.watch("node", Some("90"), MINUTE).unwrap().cursor, "3");
    assert_eq!(registry.waited(), Span::ZERO);
}

#[test]
fn a_registration_lives_by_its_lease_and_is_not_found_once_that_has_expired() {
    let registry = ScriptedRegistry::new()
        .answer(
            "POST /v3/lease/grant",
            Answer::json(200, &json!({ "ID": "77", "TTL": "15" })),
        )
        .answer("POST /v3/kv/put", Answer::json(200, &json!({})))
        .answer("POST /v3/lease/keepalive", alive())
        .answer("POST /v3/kv/put", Answer::json(200, &json!({})))
        .answer("POST /v3/lease/keepalive", alive())
        .answer("POST /v3/kv/put", Answer::json(200, &json!({})))
        .answer("POST /v3/lease/keepalive", alive())
        .answer(RANGE, list("9", &[]))
        .answer("POST /v3/kv/put", Answer::json(200, &json!({})))
        .answer(
            "POST /v3/lease/keepalive",
            Answer::json(200, &json!({ "result": { "ID": "77" } })),
        )
        .answer("POST /v3/kv/deleterange", Answer::json(200, &json!({})));
    let mut etcd = registry.backend::<Etcd>(Config::default()).unwrap();
    etcd.register(&registration(Some(HealthCheck::Ttl(14_500))))
        .unwrap();
    etcd.heartbeat("node", "node-1", Health::Passing).unwrap();
    etcd.heartbeat("node", "node-1", Health::Warning).unwrap();
    // Somebody has removed the key, and the lease goes on.
    etcd.heartbeat("node", "node-1", Health::Warning).unwrap();
    let expired = etcd
        .heartbeat("node", "node-1", Health::Warning)
        .unwrap_err();
    assert!(matches!(expired, Error::NotFound), "{expired:?}");
    etcd.deregister("node", "node-1").unwrap();
    let bodies = bodies(&registry);
    assert_eq!(bodies[0], json!({ "TTL": "15" }));
    assert_eq!(bodies[1]["key"], "/hotswap/node/node-1");
    assert_eq!(bodies[1]["lease"], "77");
    let value: Json = serde_json::from_str(bodies[1]["value"].as_str().unwrap()).unwrap();
    assert_eq!(
        value,
        json!({
            "address": "10.0.0.1", "ports": { "control": 9001 }, "health": "critical",
            "zone": "eu", "weight": 1, "metadata": {},
        })
    );
    let value: Json = serde_json::from_str(bodies[5]["value"].as_str().unwrap()).unwrap();
    assert_eq!(value["health"], "warning");
    assert_eq!(bodies[8], bodies[5], "the same again");
}

#[test]
fn an_instance_that_another_one_has_registered_is_not_found() {
    let mut etcd = ScriptedRegistry::new()
        .backend::<Etcd>(Config::default())
        .unwrap();
    let error = etcd
        .heartbeat("node", "node-1", Health::Passing)
        .unwrap_err();
    assert!(matches!(error, Error::NotFound), "{error:?}");
    let check = HealthCheck::Other("by a later engine".to_owned());
    let error = etcd.register(&registration(Some(check))).unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

#[test]
fn a_token_that_is_no_longer_valid_is_renewed_once() {
    let expired = || Answer::json(401, &json!({ "code": 16, "message": "invalid auth token" }));
    let token = |token: &str| Answer::json(200, &json!({ "token": token }));
    let registry = ScriptedRegistry::new()
        .answer("POST /v3/auth/authenticate", token("t-1"))
        .answer(RANGE, expired())
        .answer("POST /v3/auth/authenticate", token("t-2"))
        .answer(RANGE, list("7", &[]))
        .answer(RANGE, expired())
        .answer("POST /v3/auth/authenticate", token("t-3"))
        .answer(RANGE, expired());
    let config = Config {
        username: "root".to_owned(),
        ..Config::default()
    };
    let mut etcd = registry.backend::<Etcd>(config).unwrap();
    assert_eq!(etcd.watch("node", None, MINUTE).unwrap().cursor, "7");
    let error = etcd.watch("node", None, MINUTE).unwrap_err();
    assert!(matches!(error, Error::Denied(_)), "{error:?}");
    assert_eq!(
        bodies(&registry)[0],
        json!({ "name": "root", "password": "${secret.password}" })
    );
}

/// As etcd refuses a token in the form of a JWT once a user or a role has changed.
#[test]
fn a_token_from_before_a_change_of_users_is_renewed() {
    let old = |status: u16, code: u8, text: &str| {
        Answer::json(
            status,
            &json!({ "error": text, "message": text, "code": code }),
        )
    };
    let token = |token: &str| Answer::json(200, &json!({ "token": token }));
    let registry = ScriptedRegistry::new()
        .answer("POST /v3/auth/authenticate", token("t-1"))
        .answer(RANGE, list("7", &[]))
        .answer(
            RANGE,
            old(400, 3, "etcdserver: revision of auth store is old"),
        )
        .answer("POST /v3/auth/authenticate", token("t-2"))
        .answer(RANGE, list("8", &[]))
        .answer(RANGE, old(500, 2, "auth: revision in header is old"))
        .answer("POST /v3/auth/authenticate", token("t-3"))
        .answer(RANGE, list("9", &[]));
    let config = Config {
        username: "root".to_owned(),
        ..Config::default()
    };
    let mut etcd = registry.backend::<Etcd>(config).unwrap();
    for cursor in ["7", "8", "9"] {
        assert_eq!(etcd.watch("node", None, MINUTE).unwrap().cursor, cursor);
    }
}

/// Here the refusal comes in a stream, after the head of the answer.
#[test]
fn a_lease_is_kept_alive_with_a_new_token_after_a_refusal() {
    let token = |token: &str| Answer::json(200, &json!({ "token": token }));
    let old = json!({ "error": {
        "grpc_code": 3, "message": "etcdserver: revision of auth store is old",
    } });
    let registry = ScriptedRegistry::new()
        .answer("POST /v3/auth/authenticate", token("t-1"))
        .answer(
            "POST /v3/lease/grant",
            Answer::json(200, &json!({ "ID": "7", "TTL": "15" })),
        )
        .answer("POST /v3/kv/put", Answer::json(200, &json!({})))
        .answer("POST /v3/lease/keepalive", Answer::json(200, &old))
        .answer("POST /v3/auth/authenticate", token("t-2"));
    let config = Config {
        username: "root".to_owned(),
        ..Config::default()
    };
    let mut etcd = registry.backend::<Etcd>(config).unwrap();
    let ttl = Some(HealthCheck::Ttl(15_000));
    etcd.register(&registration(ttl)).unwrap();
    let error = etcd
        .heartbeat("node", "node-1", Health::Passing)
        .unwrap_err();
    assert!(matches!(error, Error::Denied(_)), "{error:?}");
    // The script has no further answer of the lease.
    etcd.heartbeat("node", "node-1", Health::Passing)
        .unwrap_err();
    let log_ins = registry.requests();
    let log_ins = log_ins
        .iter()
        .filter(|it| it.contains("/v3/auth/authenticate"));
    assert_eq!(log_ins.count(), 2);
}

#[test]
fn answers_that_make_no_sense_are_told_from_refusals_and_outages() {
    let of = |answer: Answer| {
        let registry = ScriptedRegistry::new().answer(RANGE, answer);
        let mut etcd = registry.backend::<Etcd>(Config::default()).unwrap();
        etcd.watch("node", None, MINUTE).unwrap_err()
    };
    let garbage = of(list("7", &[("/hotswap/node/a", "<html>")]));
    assert!(
        matches!(&garbage, Error::Protocol(text) if text.contains("/hotswap/node/a")),
        "{garbage:?}"
    );
    assert!(matches!(
        of(list("7", &[("/other", "{}")])),
        Error::Protocol(_)
    ));
    assert!(matches!(of(list("seven", &[])), Error::Protocol(_)));
    assert!(matches!(
        of(Answer::text(200, "{\"header\":")),
        Error::Protocol(_)
    ));
    assert!(matches!(
        of(Answer::text(503, "<html>")),
        Error::Unavailable(_)
    ));
    let empty = json!({ "error": "etcdserver: user name is empty", "code": 3 });
    let denied = of(Answer::json(400, &empty));
    assert!(
        matches!(&denied, Error::Denied(text) if text.contains("set username")),
        "{denied:?}"
    );
}

proptest! {
    #[test]
    fn damaged_answers_are_errors_or_instances_and_never_panics(
        at in 0..1000_usize, cut in 0..40_usize, put in "\\PC{0,12}|[\\[\\]{}\":,0-9-]{0,12}",
        in_value in any::<bool>(), in_stream in any::<bool>(),
    ) {
        let value = r#"{"address":"10.0.0.1","ports":{"control":9001},"health":"warning"}"#;
        let event = json!({ "result": { "header": { "revision": "8" }, "events": [{}] } });
        let stream = format!("{}\n{event}\n", created(7));
        let range = |value: &str| {
            let entry = json!({ "key": STANDARD.encode("/hotswap/node/a"),
                "value": STANDARD.encode(value) });
            json!({ "header": { "revision": "8" }, "kvs": [entry] }).to_string()
        };
        let damaged = |text: &str| damage(text, at, cut, &put);
        let (stream, range) = match (in_stream, in_value) {
            (true, _) => (damaged(&stream), range(value)),
            (false, true) => (stream, range(&damaged(value))),
            (false, false) => (stream, damaged(&range(value))),
        };
        let registry = ScriptedRegistry::new()
            .answer(WATCH, Answer::text(200, stream))
            .answer(RANGE, Answer::text(200, range));
        let mut etcd = registry.backend::<Etcd>(Config::default()).unwrap();
        if let Ok(found) = etcd.watch("node", Some("7"), MINUTE) {
            prop_assert!(found.cursor.parse::<i64>().is_ok());
        }
    }

    #[test]
    fn damaged_answers_about_leases_are_errors_and_no_instance_is_put_without_one(
        at in 0..1000_usize, cut in 0..40_usize, put in "\\PC{0,12}|[\\[\\]{}\":,0-9-]{0,12}",
        damaged in prop::sample::select(vec!["token", "grant", "put", "keepalive"]),
    ) {
        let header = json!({ "cluster_id": "1", "revision": "8" });
        let answer = |name: &str, answer: Json| {
            let text = answer.to_string();
            let text = if name == damaged { damage(&text, at, cut, &put) } else { text };
            Answer::text(200, text)
        };
        let lease = json!({ "header": header, "ID": "77", "TTL": "15" });
        let mut registry = ScriptedRegistry::new()
            .answer("POST /v3/lease/grant", answer("grant", lease.clone()))
            .answer("POST /v3/lease/keepalive", answer("keepalive", json!({ "result": lease })));
        for _ in 0..4 {
            registry = registry
                .answer("POST /v3/auth/authenticate", answer("token", json!({ "token": "t.1" })))
                .answer("POST /v3/kv/put", answer("put", json!({ "header": header })));
        }
        let config = Config { username: "root".to_owned(), ..Config::default() };
        let mut etcd = registry.backend::<Etcd>(config).unwrap();
        let registered = etcd.register(&registration(Some(HealthCheck::Ttl(15_000))));
        let outcome = registered.and_then(|()| etcd.heartbeat("node", "node-1", Health::Passing));
        if let Err(error) = &outcome {
            prop_assert!(matches!(error, Error::Protocol(_) | Error::NotFound), "{error:?}");
        }
        for request in registry.requests().iter().filter(|it| it.contains("/v3/kv/put")) {
            prop_assert!(request.contains("\"lease\":"), "{request}");
        }
    }
}
