//! When clients may be sent to a node.

use hotswap_guests::{HELLO_V1, HELLO_V2};
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::fixture::*;

async fn ready_on_data_port(node: &TestNode) -> u16 {
    let url = format!("http://{}/.hotswap/ready", node.data_addr());
    // A host that names a module makes no difference.
    let request = node.client.get(url).header("host", "hello.example.org");
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_ready_once_its_engine_has_told_what_to_run_and_it_runs_that() {
    let node = TestNode::start().await;
    let v1 = node.activate("1.0.0", HELLO_V1).await;
    // The engine is there, and does not accept the node yet.
    let busy = json!({ "detail": "busy" });
    node.engine
        .answer_next(Method::PUT, StatusCode::SERVICE_UNAVAILABLE, busy);
    let node = node.restart().await;
    assert_eq!(node.get("/").await.0, 200, "it serves all the same");
    let (status, body) = node.readiness().await;
    assert_eq!(status, 503);
    assert!(body.contains("the engine has not told yet"), "{body}");
    assert_eq!(ready_on_data_port(&node).await, 503);

    let v2 = node.engine.push("2.0.0", HELLO_V2);
    let answer = json!({
        "heartbeatMillis": 100,
        "desired": { MODULE: { "version": wire_version(&v2) } },
    });
    node.engine.desire(answer["desired"].clone());
    node.engine.answer_next(Method::PUT, StatusCode::OK, answer);
    wait_until("the node knows what to run", async || {
        let (status, body) = node.readiness().await;
        status == 503 && body.contains("should run version 2.0.0, and runs 1.0.0")
    })
    .await;

    // While a deployment changes the node, both are right.
    node.engine.desire(json!({
        MODULE: { "version": wire_version(&v2), "accepted": [wire_version(&v1)] },
    }));
    let is_ready = async || node.readiness().await.0 == 200;
    wait_until("the version before is accepted", is_ready).await;
    assert_eq!(ready_on_data_port(&node).await, 200);
    node.apply(&stage(&v2)).await;
    node.apply(&promote(&v2)).await;
    assert_eq!(node.readiness().await.0, 200);
    node.engine
        .desire(json!({ MODULE: { "version": wire_version(&v1) } }));
    wait_until("the new version is not desired any more", async || {
        !is_ready().await
    })
    .await;
    node.engine
        .desire(json!({ "other": { "version": wire_version(&v1) } }));
    wait_until("a module is missing", async || {
        node.readiness().await.1.contains("no version of it")
    })
    .await;
    node.engine.desire(json!(null));
    wait_until("nothing is decided", is_ready).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_an_engine_is_ready() {
    let node = TestNode::configured(|config| config.engine_url = None).await;
    assert_eq!(node.readiness().await.0, 200);
    assert_eq!(ready_on_data_port(&node).await, 200);
}
