//! Every limit of the API: the first and the last value are accepted, and what is beyond is refused
//! with the field and its range.

use hotswap_guests::{BLUE_GREEN, CANARY, ROLLING};
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
        field(
            "/selector",
            [json!("zone=a")],
            [json!(format!("zone in ({})", ["a"; 600].join(",")))],
            &["1024"],
        ),
        field(
            "/selector",
            [],
            [json!(""), json!("zone in a")],
            &["condition"],
        ),
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

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_all_strategies_have_ranges() {
    let built_in = vec![ROLLING, BLUE_GREEN, CANARY];
    let engine = Fixture::with_strategies(built_in, |_| {}).await;
    engine.furnish().await;
    let spans = || {
        let valid = [json!("0s"), json!("1ms"), json!("1h30m")];
        let invalid = [
            json!(""),
            json!("-1s"),
            json!("1"),
            json!("1y"),
            json!("12345678901s"),
            json!("ä"),
            json!(0),
        ];
        (valid, invalid)
    };
    let span = |pointer| {
        let (valid, invalid) = spans();
        field(pointer, valid, invalid, &[])
    };
    let count = |pointer| {
        let valid = [json!(0), json!(1), json!(u32::MAX)];
        let invalid = [json!(-1), json!(1.5), json!(u64::from(u32::MAX) + 1)];
        field(pointer, valid, invalid, &[])
    };
    let rolling = vec![
        field(
            "/config/batch",
            [json!(1), json!(u32::MAX), json!("1%"), json!("100%")],
            [json!(0), json!(-1), json!("0%"), json!("101%"), json!("")],
            &[],
        ),
        span("/config/settle"),
    ];
    let blue_green = vec![
        span("/config/soak"),
        span("/config/approvalTimeout"),
        span("/config/probe/timeout"),
        field(
            "/config/probe/status",
            [json!(100), json!(599)],
            [json!(0), json!(99), json!(600), json!(65_536)],
            &[],
        ),
        field(
            "/config/probe/path",
            [json!("/")],
            [json!(""), json!("x")],
            &[],
        ),
    ];
    let canary = vec![
        field(
            "/config/steps",
            [json!([1]), json!([100]), json!([1, 50, 100])],
            [
                json!([]),
                json!([0]),
                json!([101]),
                json!([-1]),
                json!([256]),
            ],
            &[],
        ),
        span("/config/soak"),
        count("/config/baselineNodes"),
        count("/config/minSamples"),
        field(
            "/config/falseAlarms",
            [json!(0.0001), json!(0.2)],
            [
                json!(0),
                json!(0.000_09),
                json!(0.21),
                json!(-1),
                json!(1e300),
            ],
            &[],
        ),
        field(
            "/config/probes/ratePerSecond",
            [json!(0.01), json!(100)],
            [json!(0), json!(0.009), json!(100.1), json!(-1)],
            &[],
        ),
        field(
            "/config/probes/path",
            [json!("/"), json!(format!("/{}", "x".repeat(2047)))],
            [
                json!(""),
                json!("x"),
                json!(format!("/{}", "x".repeat(2048))),
            ],
            &[],
        ),
    ];
    for (strategy, config, fields) in [
        ("rolling", json!({}), rolling),
        ("blue-green", json!({ "probe": {} }), blue_green),
        ("canary", json!({ "probes": {} }), canary),
    ] {
        let base = deployment(json!({ "strategy": strategy, "config": config }));
        let request = (Method::POST, "/api/v1/deployments/plan");
        check(&engine, request, &base, "invalid-config", fields).await;
    }
    engine.stop().await;
}
