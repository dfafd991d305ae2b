//! Hostile values for every input of the API that the OpenAPI document names.

use std::time::Duration;

use hotswap_api::Role;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

use crate::fixture::{Fixture, deployment};

/// No answer may take longer, whatever the input.
const TIMEOUT: Duration = Duration::from_secs(20);

const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Values of every kind: lowest and highest numbers, long, empty and non-ASCII texts.
fn absurd_values() -> Vec<Value> {
    let long = "9".repeat(60_000);
    vec![
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(u32::MAX),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!(" "),
        json!("ä\u{1f680}"),
        json!("\0"),
        json!("-1"),
        json!("584554530872y"),
        json!(format!("1.0.0-{long}")),
        json!(long),
        json!(true),
        json!(null),
        json!([]),
        json!({}),
        json!(vec![0; 10_000]),
    ]
}

fn as_text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn escape(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

struct Request<'a> {
    method: Method,
    path: String,
    header: Option<(&'a str, HeaderValue)>,
    body: Option<Value>,
}

/// The engine must neither fail nor hang: every answer is one that the document names, which
/// the client checks, and is not a failure of the server.
async fn check(engine: &Fixture, request: Request<'_>, what: &str) {
    let is_of_node = request.method == Method::PUT && request.path.starts_with("/api/v1/nodes/")
        || request.path.ends_with("/heartbeat");
    let client = if is_of_node {
        engine.node()
    } else {
        engine.signed("ada", Role::Admin)
    };
    let Request { header, body, .. } = request;
    let send = client.send(request.method, &request.path, |mut request| {
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        match body {
            Some(body) => request.json(&body),
            None => request,
        }
    });
    println!("{what}"); // shown where the client fails
    let answer = tokio::time::timeout(TIMEOUT, send).await;
    let answer = answer.unwrap_or_else(|_| panic!("no answer: {what}"));
    assert!(answer.status < 500, "{what}: {answer:?}");
    let longest = answer.headers.values().map(|value| value.len()).max();
    assert!(
        longest < Some(8192),
        "{what}: a header of {longest:?} bytes"
    );
}

/// A path with valid values for all its parameters but one.
fn fill(path: &str, id: &str, parameter: Option<(&str, &str)>) -> String {
    let mut filled = path.to_owned();
    for (name, valid) in [
        ("{name}", "hello"),
        ("{version}", "1.0.0"),
        ("{id}", id),
        ("{environment}", "qa"),
    ] {
        let value = match parameter {
            Some((hostile, value)) if format!("{{{hostile}}}") == name => value,
            _ => valid,
        };
        filled = filled.replace(name, value);
    }
    filled
}

#[tokio::test(flavor = "multi_thread")]
async fn no_parameter_makes_the_engine_fail() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let id = engine.deploy(json!({})).await;
    engine.ended(&id).await;
    let document: Value = serde_json::from_str(&hotswap_api::openapi()).unwrap();
    let mut tried = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            // An endless stream has no answer to wait for.
            let content = &operation["responses"]["200"]["content"];
            if content["text/event-stream"].is_object() && content["application/json"].is_null() {
                continue;
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            let parameters = operation["parameters"].as_array();
            for parameter in parameters.into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                let place = parameter["in"].as_str().unwrap();
                for value in absurd_values() {
                    let text = as_text(&value);
                    if place == "path" && text.is_empty() {
                        // Another path.
                        continue;
                    }
                    // Longer than servers and proxies accept.
                    let escaped = escape(text.get(..4000).unwrap_or(&text));
                    let start: String = text.chars().take(80).collect();
                    let what = format!("{method} {path} with {name} = {start}");
                    let valid = || fill(path, &id, None);
                    let (path, header) = match place {
                        "path" => (fill(path, &id, Some((name, &escaped))), None),
                        "query" => (format!("{}?{name}={escaped}", valid()), None),
                        _ => match HeaderValue::from_bytes(text.as_bytes()) {
                            Ok(value) => (valid(), Some((name, value))),
                            // No client can send it.
                            Err(_) => continue,
                        },
                    };
                    let request = Request {
                        method: method.clone(),
                        path,
                        header,
                        body: None,
                    };
                    check(&engine, request, &what).await;
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 200, "{tried}");
    engine.stop().await;
}

/// A valid body of each request that has one. `None` for one that is not here.
fn sample_body(method: &str, path: &str) -> Option<Value> {
    let by = json!({"requesterEmail": "a@b.c"});
    let reason = json!({"requesterEmail": "a@b.c", "reason": "text"});
    let version = json!({"version": "1.0.0", "digest": DIGEST});
    let modules = json!([{
        "module": "hello", "active": version, "staged": version, "previous": version,
        "percent": 1,
        "faults": [{"slot": "staged", "version": version, "reason": "text"}],
    }]);
    let api = path.strip_prefix("/api/v1")?;
    Some(match (method, api) {
        ("post", "/deployments" | "/deployments/plan") => deployment(json!({
            "version": "1.0.0", "strategy": "rolling", "config": {"batch": 1, "settle": "1ms"},
            "description": "text", "metadata": {"key": "value"}, "requireApproval": true,
            "selector": "zone=a", "supersede": true,
        })),
        ("post", "/deployments/{id}/pause" | "/deployments/{id}/resume") => by,
        ("post", "/deployments/{id}/promote") => {
            json!({"requesterEmail": "a@b.c", "reason": "text", "full": true, "wait": "start"})
        }
        ("post", "/deployments/{id}/approval") => {
            json!({
                "approved": false, "requesterEmail": "a@b.c", "comment": "text", "wait": "start",
            })
        }
        ("post", "/deployments/{id}/abort" | "/deployments/{id}/terminate") => reason,
        ("delete", "/clusters/{environment}/modules/{name}" | "/environments/{name}") => reason,
        ("put", "/environments/{name}") => json!({
            "requesterEmail": "a@b.c", "reason": "text", "selector": "zone=a",
            "policy": {
                "defaultStrategy": "direct", "maxUnavailable": "50%", "toleratedFailures": "1",
                "maxMissing": "1", "deadline": 60_000, "pauseStopsDeadline": true,
                "revertPatience": 60_000,
            },
        }),
        ("post", "/deployments/{id}/retry") => by,
        ("post", "/deployments/{id}/rollback") => json!({
            "requesterEmail": "a@b.c", "to": "1.0.0", "strategy": "rolling",
            "config": {"batch": 1},
        }),
        ("post", "/clusters/{environment}/modules/{name}/undo") => {
            json!({"requesterEmail": "a@b.c", "to": "1.0.0"})
        }
        ("delete", "/nodes/{id}") | ("post", "/nodes/{id}/cordon" | "/nodes/{id}/uncordon") => {
            reason
        }
        ("post", "/nodes/{id}/drain") => {
            json!({"requesterEmail": "a@b.c", "reason": "text", "force": true})
        }
        ("put", "/nodes/{id}") => json!({
            "environment": "qa", "zone": "a", "labels": {"rack": "7"}, "instance": "text",
            "boot": "text", "highestFence": 1, "modules": modules,
            "controlUrl": "http://127.0.0.1:9", "dataUrl": "http://127.0.0.1:9",
        }),
        ("post", "/nodes/{id}/heartbeat") => json!({
            "health": "degraded", "reason": "text", "boot": "text", "highestFence": 1,
            "controlUrl": "http://127.0.0.1:9", "dataUrl": "http://127.0.0.1:9",
            "readiness": {"ready": false, "reason": "text", "inFlight": 1}, "modules": modules,
            "traffic": {
                "received": 1, "malformed": 1, "unroutable": 1,
                "client": {"left": 1, "slowReaders": 1, "slowUploads": 1},
            },
        }),
        _ => return None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_field_of_a_body_makes_the_engine_fail() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let id = engine.deploy(json!({"requireApproval": true})).await;
    let document: Value = serde_json::from_str(&hotswap_api::openapi()).unwrap();
    let mut tried = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let content = &operation["requestBody"]["content"];
            if content["application/json"].is_null() {
                continue;
            }
            let body = sample_body(method, path);
            let body = body.unwrap_or_else(|| panic!("give a body for {method} {path}"));
            let schema = &content["application/json"]["schema"];
            assert_every_field(&document, schema, &body, path);
            let filled = match path.strip_prefix("/api/v1/nodes/{id}") {
                Some(action) => format!("/api/v1/nodes/node-1{action}"),
                None => fill(path, &id, None),
            };
            for pointer in pointers(&body) {
                for value in absurd_values() {
                    let mut body = body.clone();
                    *body.pointer_mut(&pointer).unwrap() = value.clone();
                    let value = value.to_string();
                    let value: String = value.chars().take(80).collect();
                    let what = format!("{method} {path} with {pointer} = {value}");
                    let request = Request {
                        method: method.to_uppercase().parse().unwrap(),
                        path: filled.clone(),
                        header: None,
                        body: Some(body),
                    };
                    check(&engine, request, &what).await;
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 1000, "{tried}");
    engine.stop().await;
}

/// Fails if the body lacks a field that its schema names: a new field gets hostile values, too.
fn assert_every_field(document: &Value, schema: &Value, body: &Value, path: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.trim_start_matches('#')).unwrap();
        assert_every_field(document, schema, body, path);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        assert_every_field(document, part, body, path);
    }
    for item in body.as_array().into_iter().flatten() {
        assert_every_field(document, &schema["items"], item, path);
    }
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        let value = body.get(field);
        let value = value.unwrap_or_else(|| panic!("give the body of {path} a field {field}"));
        assert_every_field(document, schema, value, path);
    }
}

/// A JSON pointer to the value itself and to each value in it.
fn pointers(value: &Value) -> Vec<String> {
    let mut found = vec![String::new()];
    let fields = value.as_object().into_iter().flatten();
    let fields = fields.map(|(key, value)| (key.clone(), value));
    let items = value.as_array().into_iter().flatten().enumerate();
    let items = items.map(|(index, value)| (index.to_string(), value));
    for (key, value) in fields.chain(items) {
        let inner = pointers(value).into_iter();
        found.extend(inner.map(|inner| format!("/{key}{inner}")));
    }
    found
}
