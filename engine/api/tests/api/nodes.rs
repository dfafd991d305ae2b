use serde_json::json;

use crate::fixture::{Fixture, registration};

#[tokio::test]
async fn a_node_registers_reports_in_and_is_deleted() {
    let engine = Fixture::start().await;
    let node = engine.node();
    let beat = "/api/v1/nodes/node-1/heartbeat";
    node.post(beat, json!({"health": "passing"}))
        .await
        .problem(404, "unknown-node");
    let registered = node
        .put("/api/v1/nodes/node-1", registration("qa"))
        .await
        .ok();
    assert_eq!(registered["heartbeatMillis"], 3_600_000);

    let body = json!({"health": "warning", "reason": "the disk is nearly full"});
    assert_eq!(node.post(beat, body).await.status, 204);
    let seen = engine.get("/api/v1/nodes/node-1").await.ok();
    assert_eq!(seen["health"], "warning");
    assert_eq!(seen["reason"], "the disk is nearly full");
    assert_eq!(seen["labels"]["rack"], "7");
    assert!(
        seen["lastSeen"].as_u64() >= seen["registeredAt"].as_u64(),
        "{seen}"
    );
    let all = engine.get("/api/v1/nodes").await.ok();
    assert_eq!(all["nodes"], json!([seen]));

    assert_eq!(engine.delete("/api/v1/nodes/node-1").await.status, 204);
    engine
        .delete("/api/v1/nodes/node-1")
        .await
        .problem(404, "unknown-node");
    engine
        .get("/api/v1/nodes/node-1")
        .await
        .problem(404, "unknown-node");
    engine.stop().await;
}

#[tokio::test]
async fn an_invalid_registration_is_rejected() {
    let engine = Fixture::start().await;
    let mut body = registration("qa");
    body["controlUrl"] = json!("ftp://nowhere");
    let answer = engine.node().put("/api/v1/nodes/node-1", body).await;
    answer.problem(422, "invalid-request");
    engine.stop().await;
}

#[tokio::test]
async fn a_fence_that_no_engine_can_have_handed_out_is_rejected() {
    let engine = Fixture::start().await;
    let node = engine.node();
    let beat = "/api/v1/nodes/node-1/heartbeat";
    for absurd in [(1_u64 << 53) + 1, u64::MAX] {
        let mut body = registration("qa");
        body["highestFence"] = json!(absurd);
        let answer = node.put("/api/v1/nodes/node-1", body).await;
        answer.problem(422, "invalid-request");
    }
    engine.node_in("qa", "node-1").await;
    let body = json!({"health": "passing", "highestFence": u64::MAX});
    node.post(beat, body).await.problem(422, "invalid-request");
    let body = json!({"health": "passing", "highestFence": 1000});
    assert_eq!(node.post(beat, body).await.status, 204);
    engine.stop().await;
}

#[tokio::test]
async fn clusters_come_from_nodes_and_configuration() {
    let engine = Fixture::start().await;
    engine.node_in("qa", "node-1").await;
    engine.node_in("qa", "node-2").await;
    let report = json!({"health": "warning"});
    engine
        .node()
        .post("/api/v1/nodes/node-2/heartbeat", report)
        .await;
    let clusters = engine.get("/api/v1/clusters").await.ok();
    let clusters = clusters["clusters"].as_array().unwrap();
    let names: Vec<_> = clusters
        .iter()
        .map(|cluster| &cluster["environment"])
        .collect();
    assert_eq!(json!(names), json!(["configured", "qa"]));
    let health = json!({"passing": 1, "warning": 1, "critical": 0, "unknown": 0});
    assert_eq!(clusters[1]["health"], health);
    assert_eq!(clusters[1]["policy"]["defaultStrategy"], "rolling");
    assert_eq!(clusters[1]["policy"]["maxUnavailable"], "50%");

    let qa = engine.get("/api/v1/clusters/qa").await.ok();
    assert_eq!(qa["nodes"][1]["id"], "node-2");
    assert_eq!(qa["modules"], json!([]));
    let problem = engine
        .get("/api/v1/clusters/mars")
        .await
        .problem(404, "unknown-cluster");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("configured, qa"), "{detail}");
    engine.stop().await;
}
