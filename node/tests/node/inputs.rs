//! Hostile values for every field of what the engine sends to a node.

use std::time::Duration;

use hotswap_guests::{HELLO_V1, HELLO_V2};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::*;

/// No answer may take longer, whatever the input.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Values of every kind: lowest and highest numbers, long, empty and non-ASCII texts.
fn absurd_values() -> Vec<Value> {
    let long = "9".repeat(60_000);
    vec![
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("ä\u{1f680}"),
        json!("\0"),
        json!("../../etc"),
        json!(format!("1.0.0-{long}")),
        json!(long),
        json!(true),
        json!(null),
        json!([]),
        json!({}),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_field_of_an_order_or_a_probe_makes_the_node_fail() {
    let node = TestNode::start().await;
    let v1 = node.activate("1.0.0", HELLO_V1).await;
    let v2 = node.engine.push("2.0.0", HELLO_V2);
    let actions = [
        stage(&v2),
        shift(&v2, 10),
        promote(&v2),
        revert(Some(&v1)),
        settle(),
    ];
    let mut bodies = vec![(
        "probe",
        json!({"version": v1, "path": "/", "timeoutMillis": 100}),
    )];
    for action in &actions {
        let mut order = serde_json::to_value(order(1, action)).unwrap();
        order["waitMillis"] = 100.into();
        order["stallMillis"] = 100.into();
        bodies.push(("operations", order));
    }
    // One module each, so that an order with a high fence does not shut out the others.
    let mut module = 0;
    for (what, body) in bodies {
        for pointer in pointers(&body) {
            for value in absurd_values() {
                module += 1;
                let mut body = body.clone();
                *body.pointer_mut(&pointer).unwrap() = value.clone();
                let start: String = value.to_string().chars().take(80).collect();
                let place = format!("{what}{pointer} = {start}");
                let (method, path) = match what {
                    "probe" => (Method::POST, "/v1/modules/hello/probe".to_owned()),
                    _ => {
                        let operation = new_operation_id();
                        let path = format!("/v1/modules/m{module}/operations/{operation}");
                        (Method::PUT, path)
                    }
                };
                let request = node.client.request(method, node.control_url(&path));
                let request = request.bearer_auth(TOKEN).json(&body).send();
                let answer = tokio::time::timeout(TIMEOUT, request).await;
                let answer = answer.unwrap_or_else(|_| panic!("no answer: {place}"));
                let answer = answer.unwrap_or_else(|error| panic!("{place}: {error}"));
                let status = answer.status().as_u16();
                let text = answer.text().await.unwrap();
                assert!(
                    status < 500 || text.contains("urn:hotswap"),
                    "{place}: {status} {text}"
                );
                assert_ne!(status, 500, "{place}: {text}");
                assert!(
                    text.len() < 10_000,
                    "{place}: an answer of {} bytes",
                    text.len()
                );
            }
        }
    }
    assert_eq!(node.get("/").await.0, 200);
    node.shutdown().await;
}

/// A JSON pointer to the value itself and to each value in it.
fn pointers(value: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    for (key, value) in value.as_object().into_iter().flatten() {
        let inner = pointers(value).into_iter();
        found.extend(inner.map(|inner| format!("/{key}{inner}")));
    }
    found
}
