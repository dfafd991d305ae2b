use hotswap_sdk::Span;
use hotswap_sdk::discovery::Error;
use hotswap_sdk::discovery::testing::{Answer, ScriptedRegistry, damage};
use serde_json::json;

use super::{Config, List};

const MINUTE: Span = Span::mins(1);

#[test]
fn a_watch_ends_once_the_list_has_changed() {
    let one = json!([{ "id": "edge-1", "address": "10.0.0.1", "ports": { "control": 5001 } }]);
    let registry = ScriptedRegistry::new()
        .answer("GET /nodes.json", Answer::json(200, &one))
        .answer("GET /nodes.json", Answer::json(200, &one))
        .answer("GET /nodes.json", Answer::json(200, &json!([])));
    let mut list = registry.backend::<List>(Config::default()).unwrap();
    let first = list.watch("node", None, MINUTE).unwrap();
    assert_eq!(first.instances[0].id, "edge-1");
    let second = list.watch("node", Some(&first.cursor), MINUTE).unwrap();
    assert!(second.instances.is_empty());
    assert_eq!(registry.waited(), Span::secs(20));
}

#[test]
fn a_list_that_makes_no_sense_is_an_error() {
    let registry = ScriptedRegistry::new().answer("GET /nodes.json", Answer::text(200, "[{}]"));
    let mut list = registry.backend::<List>(Config::default()).unwrap();
    let error = list.watch("node", None, MINUTE).unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

/// Every place of the list is damaged in every one of these ways.
#[test]
fn damaged_lists_are_errors_or_nodes_and_never_panics() {
    let list = json!([{
        "id": "edge-1", "address": "10.0.0.1", "ports": { "control": 5001, "data": 8080 },
        "zone": "eu", "labels": { "environment": "production" },
    }]);
    let list = list.to_string();
    for at in 0..=list.len() {
        for cut in [0, 1, 5, 40] {
            for put in ["", "\"", "}", "],", "-1", "70000", "null", "é"] {
                let damaged = damage(&list, at, cut, put);
                let registry =
                    ScriptedRegistry::new().answer("GET /nodes.json", Answer::text(200, &*damaged));
                let mut backend = registry.backend::<List>(Config::default()).unwrap();
                match backend.watch("node", None, MINUTE) {
                    Ok(found) => assert!(found.instances.len() <= 1, "{damaged}"),
                    Err(error) => {
                        assert!(matches!(error, Error::Protocol(_)), "{damaged}: {error:?}")
                    }
                }
            }
        }
    }
}
