//! Nodes that are unreachable, refuse or answer nonsense.

use hotswap_core::{Action, HttpProbe, NodeError};
use serde_json::json;
use tokio::time::Instant;

use super::fake_node::{FakeNode, FakeResponse, module_status, problem, unused_address};
use super::*;
use crate::{Fleet, SetupStep};

/// Retries for so long that a busy machine does not fail the test.
fn retry_long() -> Options {
    Options {
        patience: Duration::from_secs(30),
        ..options()
    }
}

async fn settle(fleet: &HttpFleet) -> Result<(), NodeError> {
    fleet.order(&node("node-0"), &order(Action::Settle)).await
}

#[tokio::test]
async fn an_order_is_retried_until_the_node_answers() {
    let fake = FakeNode::start(|number, _| match number {
        0 => FakeResponse::Reset,
        1 => FakeResponse::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\ncut".to_vec()),
        2 => FakeResponse::Raw(b"\0\0\0 what is this\r\n\r\n".to_vec()),
        // No answer in time: whether the node has carried it out is unknown.
        3 => FakeResponse::Hang,
        4 => problem(503, "the node is shutting down"),
        _ => FakeResponse::Json(200, json!({})),
    })
    .await;
    let registry = registry().await;
    register(&registry, 0, &fake.url).await;
    let fleet = HttpFleet::new(registry, TOKEN, retry_long()).expect("it is set up");
    assert_eq!(settle(&fleet).await, Ok(()));
    let requests = fake.requests();
    assert!(requests.len() >= 6);
    assert!(
        requests
            .iter()
            .all(|request| request.line == requests[0].line),
        "the same operation"
    );
}

#[tokio::test]
async fn an_order_reaches_a_node_that_returns_at_another_address() {
    let fake = FakeNode::start(|_, _| FakeResponse::Json(200, json!({}))).await;
    let registry = registry().await;
    register(&registry, 0, &unused_address().await).await;
    let fleet = HttpFleet::new(registry.clone(), TOKEN, retry_long()).expect("it is set up");
    let ordered = tokio::spawn(async move { settle(&fleet).await });
    register(&registry, 0, &fake.url).await;
    assert_eq!(ordered.await.expect("no panic"), Ok(()));
}

#[tokio::test]
async fn a_silent_node_is_unreachable_in_bounded_time() {
    let hangs = FakeNode::start(|_, _| FakeResponse::Hang).await;
    let start = Instant::now();
    for (address, expected) in [
        (hangs.url.clone(), "no answer within 1.0 s"),
        (unused_address().await, "no connection: "),
    ] {
        let (fleet, _) = fleet(&[&address]).await;
        let NodeError::Unreachable(reason) = settle(&fleet).await.expect_err("gone") else {
            panic!("it is unreachable");
        };
        assert!(reason.contains(expected), "{reason}");
        assert!(
            !reason.contains(TOKEN) && !reason.contains("Bearer"),
            "{reason}"
        );
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    let (fleet, _) = fleet(&[]).await;
    assert_eq!(
        settle(&fleet).await,
        Err(NodeError::Unreachable(
            "no node of this name is registered".to_owned()
        ))
    );
}

#[tokio::test]
async fn a_refusal_is_reported_in_the_words_of_the_node() {
    let refused = |reason: &str| NodeError::Refused(reason.to_owned());
    let long = "x".repeat(9000);
    for (status, detail, expected) in [
        (409, "the fence 3 is older", refused("the fence 3 is older")),
        (422, "the digest differs", refused("the digest differs")),
        (
            500,
            "no room on the disk",
            NodeError::Other("it answered 500 Internal Server Error: no room on the disk".into()),
        ),
        (422, "two\nlines\u{7}", refused("two lines ")),
        (422, long.as_str(), refused(&long[..500])),
        (
            401,
            "bad token",
            refused("it does not accept this engine's node token; start both with the same token"),
        ),
    ] {
        let detail = detail.to_owned();
        let fake = FakeNode::start(move |_, _| problem(status, &detail)).await;
        let (fleet, _) = fleet(&[&fake.url]).await;
        assert_eq!(settle(&fleet).await, Err(expected));
        assert_eq!(fake.requests().len(), 1, "a refusal is not retried");
    }
}

/// A probe's path comes from a strategy, and an answer from anywhere. Both end up in the reason of
/// each node that fails, and each of these in the journal.
#[tokio::test]
async fn a_failure_repeats_only_the_start_of_long_texts() {
    let probe = HttpProbe {
        path: format!("/{}", "x".repeat(100_000)),
        expect_status: 200,
        expect_body: None,
        timeout: 1,
    };
    let wrong = json!({"status": 404, "body": ""});
    let nonsense = json!({"status": "y".repeat(100_000)});
    for answer in [wrong, nonsense] {
        let fake = FakeNode::start(move |_, _| FakeResponse::Json(200, answer.clone())).await;
        let (fleet, _) = fleet(&[&fake.url]).await;
        let failed = fleet
            .probe(&production(), &node("node-0"), &version(), &probe)
            .await;
        let NodeError::Unhealthy(reason) = failed.expect_err("it failed") else {
            panic!("it is unhealthy");
        };
        let length = reason.chars().count();
        assert_eq!(length, NodeError::MAX_REASON_CHARS + 1, "{reason}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = FakeNode::start(|_, _| FakeResponse::Json(200, json!({}))).await;
    let to = target.url.clone();
    let fake = FakeNode::start(move |_, _| {
        let answer = format!(
            "HTTP/1.1 307 X\r\nhotswap-node: node-0\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
        );
        FakeResponse::Raw(answer.into_bytes())
    })
    .await;
    let (fleet, _) = fleet(&[&fake.url]).await;
    let error = settle(&fleet).await.expect_err("a redirect is no success");
    assert!(matches!(error, NodeError::Other(_)), "{error:?}");
    assert!(target.requests().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_not_a_nodes_is_an_error() {
    let mut other_digest = module_status(1);
    other_digest["versions"][0]["version"]["digest"] = json!("md5:00");
    let mut invalid_buckets = module_status(1);
    invalid_buckets["versions"][0]["latency"] =
        json!([{"bucket": 9, "count": 1}, {"bucket": 4, "count": 1}]);
    let mut long_boot = module_status(1);
    long_boot["boot"] = json!("x".repeat(9000));
    for (answer, expected) in [
        (long_boot, "a boot id of more than 128 bytes"),
        (json!({"hello": "world"}), "its answer cannot be parsed"),
        (json!("text"), "its answer cannot be parsed"),
        (other_digest, "an invalid digest"),
        (invalid_buckets, "invalid histogram buckets"),
    ] {
        let fake = FakeNode::start(move |_, _| FakeResponse::Json(200, answer.clone())).await;
        let (fleet, _) = fleet(&[&fake.url]).await;
        let error = fleet.read(&production(), &node("node-0"), &shop()).await;
        let error = error.expect_err("it cannot be read");
        assert!(matches!(error, NodeError::Other(_)), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_an_error() {
    let fake = FakeNode::start(|_, _| FakeResponse::Flood).await;
    let registry = registry().await;
    register(&registry, 0, &fake.url).await;
    let slow = Options {
        request_timeout: Duration::from_secs(20),
        ..options()
    };
    let fleet = HttpFleet::new(registry, TOKEN, slow).expect("it is set up");
    let error = settle(&fleet).await.expect_err("too large");
    assert!(
        error.to_string().contains("larger than 2097152 bytes"),
        "{error}"
    );
}

#[tokio::test]
async fn an_invalid_token_is_rejected_without_showing_it() {
    let rejected = HttpFleet::new(registry().await, "secret\nline", options());
    let error = rejected.err().expect("a header cannot hold a line break");
    assert_eq!(error.step, SetupStep::Token);
    assert!(!format!("{error} {error:?}").contains("secret"));
}
