//! Every limit of the API: the first and the last value are accepted, and what is beyond is refused
//! with the field and its range.

use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{Fixture, deployment};

/// A limited field of a request.
struct Field {
    /// JSON pointer in the body.
    pointer: &'static str,
    /// The first and the last value of the range, or valid values at its ends.
    valid: Vec<Value>,
    /// Right beyond the ends.
    invalid: Vec<Value>,
    /// What the refusal says of the range.
    range: &'static [&'static str],
}

fn field(
    pointer: &'static str,
    valid: impl Into<Vec<Value>>,
    invalid: impl Into<Vec<Value>>,
    range: &'static [&'static str],
) -> Field {
    Field {
        pointer,
        valid: valid.into(),
        invalid: invalid.into(),
        range,
    }
}

/// A text of this many bytes, most of which are not ASCII.
fn text(bytes: usize) -> Value {
    json!(format!(
        "{}{}",
        "ä".repeat(bytes / 2),
        "x".repeat(bytes % 2)
    ))
}

/// An email address of this many bytes.
fn email(bytes: usize) -> Value {
    json!(format!("{}@example.org", "x".repeat(bytes - 12)))
}

fn entries(count: usize) -> Value {
    let entries = (0..count).map(|number| (number.to_string(), json!("x")));
    Value::Object(entries.collect())
}

/// Metadata with one entry, whose name and value have this many bytes together.
fn entry(bytes: usize) -> Value {
    json!({ "key": text(bytes - 3) })
}

/// Sends the body of each value of each field, and checks the answer.
async fn check(
    engine: &Fixture,
    (method, path): (Method, &str),
    base: &Value,
    kind: &str,
    fields: Vec<Field>,
) {
    for Field {
        pointer,
        valid,
        invalid,
        range,
    } in fields
    {
        let send = async |value: &Value| {
            let mut body = base.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            body.pointer_mut(parent).unwrap()[name] = value.clone();
            let request = engine.send(method.clone(), path, |it| it.json(&body));
            request.await
        };
        for value in valid {
            let answer = send(&value).await;
            assert_eq!(answer.status, 200, "{pointer} = {value}: {answer:?}");
        }
        for value in invalid {
            let problem = send(&value).await.problem(422, kind);
            let errors = problem["errors"].as_array().unwrap();
            let error = errors.iter().find(|error| {
                let found = error["pointer"].as_str().unwrap_or_default();
                found.trim_start_matches('#').starts_with(pointer)
            });
            let error = error.unwrap_or_else(|| panic!("{pointer} = {value}: {problem}"));
            let detail = error["detail"].as_str().unwrap();
            for part in range {
                assert!(detail.contains(part), "{pointer} = {value}: {detail}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_has_ranges() {
    let engine = Fixture::start().await;
    let (second, day) = (1000_u64, 24 * 3600 * 1000_u64);
    let last_count = u64::from(u32::MAX);
    let amounts = |first: u64| {
        let valid = [
            json!(first.to_string()),
            json!(last_count.to_string()),
            json!("1%"),
            json!("100%"),
        ];
        let invalid = [
            json!("-1"),
            json!((last_count + 1).to_string()),
            json!("101%"),
            json!("1.5"),
            json!(""),
            json!("ä"),
        ];
        (valid, invalid)
    };
    let (count, no_count) = amounts(0);
    let (positive, _) = amounts(1);
    let none = [json!("0"), json!("0%")];
    let base = json!({ "policy": {}, "requesterEmail": "a@b.c" });
    let fields = vec![
        field(
            "/policy/deadline",
            [json!(second), json!(30 * day)],
            [
                json!(0),
                json!(1),
                json!(second - 1),
                json!(30 * day + 1),
                json!(u64::MAX),
            ],
            &["deadline", "1s", "30days"],
        ),
        field(
            "/policy/revertPatience",
            [json!(0), json!(1), json!(7 * day)],
            [json!(7 * day + 1), json!(u64::MAX)],
            &["revertPatience", "0s", "7days"],
        ),
        field("/policy/maxUnavailable", positive, none, &["1", "100%"]),
        field("/policy/maxUnavailable", [], no_count.clone(), &["%"]),
        field(
            "/policy/toleratedFailures",
            count.clone(),
            no_count.clone(),
            &["%"],
        ),
        field("/policy/maxMissing", count, no_count, &["%"]),
        field("/reason", [text(0), text(4096)], [text(4097)], &["4096"]),
        field(
            "/requesterEmail",
            [json!("a@b"), email(254)],
            [json!(""), json!("@"), email(255)],
            &["254"],
        ),
    ];
    let request = (Method::PUT, "/api/v1/environments/qa");
    check(&engine, request, &base, "invalid-request", fields).await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_deployment_has_ranges() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let base = deployment(json!({ "config": {} }));
    let fields = vec![
        field(
            "/description",
            [text(0), text(4096)],
            [text(4097)],
            &["4096"],
        ),
        field(
            "/requesterEmail",
            [json!("a@b"), email(254)],
            [json!(""), email(255)],
            &["254"],
        ),
        field(
            "/metadata",
            [entries(0), entries(64)],
            [entries(65)],
            &["64"],
        ),
        field(
            "/metadata",
            [entry(4), entry(1024)],
            [entry(1025), json!({ "": "x" })],
            &["1024"],
        ),
        field(
            "/version",
            [json!("1.0.0")],
            [
                json!(""),
                json!("1"),
                json!(format!("1.0.0-{}", "9".repeat(123))),
            ],
            &["128"],
        ),
        field(
            "/moduleName",
            [json!("hello")],
            [json!(""), json!("x".repeat(64)), json!("-"), json!("ä")],
            &["1 to 63"],
        ),
        field(
            "/targetEnvironment",
            [json!("qa")],
            [json!(""), json!("x".repeat(64)), json!("Qa")],
            &["1 to 63"],
        ),
        field(
            "/selector",
            [json!("zone=a")],
            [json!(format!("zone in ({})", ["a"; 600].join(",")))],
            &["1024"],
        ),
    ];
    let request = (Method::POST, "/api/v1/deployments/plan");
    check(&engine, request, &base, "invalid-request", fields).await;
    engine.stop().await;
}
