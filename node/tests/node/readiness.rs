//! When clients may be sent to a node.

use std::time::Duration;

use hotswap_guests::{HELLO_V1, HELLO_V2, MODULE_PROBE};
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
async fn an_order_that_does_not_change_what_serves_makes_no_node_ready() {
    let node = TestNode::start().await;
    node.activate("1.0.0", HELLO_V1).await;
    let v2 = node.engine.push("2.0.0", HELLO_V2);
    let desired = json!({ MODULE: { "version": wire_version(&v2) } });
    let answer = json!({ "heartbeatMillis": 100, "desired": desired });
    node.engine.desire(answer["desired"].clone());
    node.engine.answer_next(Method::PUT, StatusCode::OK, answer);
    // After its start no order counts that it had before.
    let node = node.restart().await;
    wait_until("the node knows what to run", async || {
        node.readiness().await.1.contains("and runs 1.0.0")
    })
    .await;
    // A repair that fails at its probe stages the version, and drops it again.
    for order in [stage(&v2), settle()] {
        node.apply(&order).await;
        let (status, body) = node.readiness().await;
        assert_eq!(status, 503, "{order:?}");
        assert!(body.contains("and runs 1.0.0"), "{body}");
    }
    for order in [stage(&v2), promote(&v2)] {
        node.apply(&order).await;
    }
    assert_eq!(node.readiness().await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_an_engine_is_ready() {
    let node = TestNode::configured(|config| config.engine_url = None).await;
    assert_eq!(node.readiness().await.0, 200);
    assert_eq!(ready_on_data_port(&node).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_is_not_ready_and_reports_its_requests_in_flight() {
    let node = TestNode::start().await;
    node.activate("1.0.0", MODULE_PROBE).await;
    let v2 = node.engine.push("2.0.0", HELLO_V2);
    let told = |cordon: serde_json::Value| {
        let desired = json!({ MODULE: { "version": wire_version(&v2) } });
        let answer = json!({ "desired": desired, "cordon": cordon });
        node.engine
            .answer_next(Method::POST, StatusCode::OK, answer);
    };
    told(json!(null));
    let is_ready = async || node.readiness().await.0 == 200;
    wait_until("it should run another version", async || !is_ready().await).await;
    // It is not brought to another version, so the one that it runs is right.
    told(json!({ "drained": false, "reason": "cordoned by ada" }));
    wait_until("the node knows that it is cordoned", is_ready).await;
    assert_eq!(ready_on_data_port(&node).await, 200);

    let mut reports = node.engine.subscribe();
    let mut wait_for_report = async |ready: bool, in_flight: u64| {
        let is_expected = |body: &serde_json::Value| {
            body["readiness"]["ready"] == ready && body["readiness"]["inFlight"] == in_flight
        };
        loop {
            let report = tokio::time::timeout(Duration::from_secs(30), reports.recv());
            let report = report.await.expect("a heartbeat").expect("a heartbeat");
            if is_expected(&report.body) {
                return report.body;
            }
        }
    };
    let slow = node.client.get(node.data_url("/sleep/2000")).send();
    let slow = tokio::spawn(slow);
    wait_for_report(true, 1).await;
    told(json!({ "drained": true, "reason": "drained by ada: its disk is replaced" }));
    let report = wait_for_report(false, 1).await;
    let reason = "the node was drained by ada: its disk is replaced";
    assert_eq!(report["readiness"]["reason"], reason);
    let (status, body) = node.readiness().await;
    assert_eq!(status, 503);
    assert!(body.contains(reason), "{body}");
    assert_eq!(ready_on_data_port(&node).await, 503);
    // What has begun goes on, and what arrives all the same is served.
    assert!(slow.await.unwrap().unwrap().status().is_success());
    wait_for_report(false, 0).await;
    assert_eq!(node.get("/status/204").await.0, 204);

    let drained = json!({
        "heartbeatMillis": 100,
        "cordon": { "drained": true, "reason": "drained by ada" },
    });
    node.engine
        .answer_next(Method::PUT, StatusCode::OK, drained);
    let node = node.restart().await;
    wait_until("the restarted node is told", async || {
        node.readiness().await.1.contains("drained by ada")
    })
    .await;
    assert_eq!(node.readiness().await.0, 503);
    node.engine
        .answer_next(Method::POST, StatusCode::OK, json!({}));
    wait_until("the drain has ended", async || {
        node.readiness().await.0 == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_about_to_stop_is_not_ready_and_serves_on() {
    let node = TestNode::start().await;
    node.activate("1.0.0", HELLO_V1).await;
    wait_until("the node is ready", async || {
        node.readiness().await.0 == 200
    })
    .await;
    node.begin_lame_duck();
    let (status, body) = node.readiness().await;
    assert_eq!(status, 503);
    assert!(body.contains("about to stop"), "{body}");
    assert_eq!(ready_on_data_port(&node).await, 503);
    let response = node.client.get(node.data_url("/")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["connection"], "close");
}
