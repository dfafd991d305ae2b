//! Orders that take long, because the node loads a version.

use hotswap_core::{Action, NodeError};
use serde_json::{Value, json};

use super::fake_node::{FakeNode, FakeResponse};
use super::*;
use crate::Fleet;

fn fetching(received: usize) -> FakeResponse {
    let body: Value = json!({
        "phase": "fetching",
        "receivedBytes": received * 1_000_000,
        "totalBytes": 100_000_000,
    });
    FakeResponse::Json(202, body)
}

async fn stage(fake: &FakeNode, options: Options) -> Result<(), NodeError> {
    let registry = registry().await;
    register(&registry, 0, &fake.url).await;
    let fleet = HttpFleet::new(registry, TOKEN, options).expect("it is set up");
    let stage = order(Action::Stage(version()));
    fleet.order(&node("node-0"), &stage).await
}

#[tokio::test]
async fn an_order_is_waited_for_while_bytes_arrive() {
    let fake = FakeNode::start(|number, _| match number {
        0..4 => fetching(number),
        // A busy moment of the line to the node.
        4 => FakeResponse::Reset,
        5 => FakeResponse::Json(202, json!({ "phase": "compiling", "receivedBytes": 1 })),
        _ => FakeResponse::Json(204, json!({})),
    })
    .await;
    assert_eq!(stage(&fake, options()).await, Ok(()));
    let requests = fake.requests();
    assert_eq!(requests.len(), 7);
    for request in &requests {
        assert_eq!(request.line, requests[0].line, "the same operation");
        assert_eq!(request.body["waitMillis"], 500);
        assert_eq!(request.body["stallMillis"], 60_000);
    }
}

#[tokio::test]
async fn an_order_that_does_not_come_on_fails_and_says_how_far_it_got() {
    let fake = FakeNode::start(|_, _| fetching(43)).await;
    let options = Options {
        stall_timeout: Duration::from_millis(300),
        ..options()
    };
    let error = stage(&fake, options).await.expect_err("a stall");
    let NodeError::Other(reason) = &error else {
        panic!("{error:?}");
    };
    assert!(
        reason.starts_with("still fetching, 43 of 100 MB; no byte has arrived"),
        "{reason}"
    );
}
