use hotswap_guests::HELLO_V1;
use reqwest::Method;
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
    // The answer says what the node should run, here nothing, once the engine knows.
    let answer = node.post(beat, body).await.ok();
    assert!(
        [json!({}), json!({"desired": {}})].contains(&answer),
        "{answer}"
    );
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
async fn an_id_belongs_to_one_node() {
    let engine = Fixture::start().await;
    let (node, path) = (engine.node(), "/api/v1/nodes/node-1");
    let start = |boot: &str, instance: &str| {
        let mut body = registration("qa");
        body["boot"] = json!(boot);
        body["instance"] = json!(instance);
        body
    };
    node.put(path, start("a1", "a")).await.ok();
    let problem = node.put(path, start("b1", "b")).await;
    let problem = problem.problem(409, "node-id-taken");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("http://127.0.0.1:9"), "{detail}");
    node.put(path, start("a2", "a")).await.ok();
    let beat = format!("{path}/heartbeat");
    let heartbeat = |boot: &str| json!({"health": "passing", "boot": boot});
    node.post(&beat, heartbeat("a1"))
        .await
        .problem(409, "node-id-taken");
    node.post(&beat, heartbeat("a2")).await.ok();
    node.post(&beat, json!({"health": "stopping", "boot": "a2"}))
        .await
        .ok();
    assert_eq!(engine.get(path).await.ok()["health"], "critical");
    node.put(path, start("b1", "b")).await.ok();
    engine.stop().await;
}

#[tokio::test]
async fn a_part_of_an_artifact_can_be_fetched() {
    let engine = Fixture::start().await;
    let path = "/api/v1/modules/hello/versions/1.0.0";
    let pushed = engine.wasm(Method::PUT, path, HELLO_V1).await.ok();
    let digest = pushed["digest"].as_str().unwrap();
    let url = format!("/api/v1/artifacts/{digest}");
    let node = engine.node();
    let fetch = async |headers: &[(&'static str, String)]| {
        node.send(Method::GET, &url, |mut request| {
            for (name, value) in headers {
                request = request.header(*name, value);
            }
            request
        })
        .await
    };
    let size = HELLO_V1.len();
    let rest = fetch(&[("range", "bytes=100-".to_owned())]).await;
    assert_eq!(rest.status, 206);
    assert_eq!(
        rest.headers["content-range"],
        format!("bytes 100-{}/{size}", size - 1)
    );
    assert_eq!(rest.headers["content-length"], (size - 100).to_string());
    assert_eq!(rest.body, HELLO_V1[100..]);
    let middle = [
        ("range", "bytes=7-9".to_owned()),
        ("if-range", format!("\"{digest}\"")),
    ];
    let middle = fetch(&middle).await;
    assert_eq!((middle.status, &middle.body[..]), (206, &HELLO_V1[7..10]));
    let other = [
        ("range", "bytes=7-9".to_owned()),
        ("if-range", "\"other\"".to_owned()),
    ];
    let whole = fetch(&other).await;
    assert_eq!(whole.status, 200);
    assert_eq!(whole.headers["accept-ranges"], "bytes");
    assert_eq!(whole.body, HELLO_V1);
    let beyond = fetch(&[("range", format!("bytes={size}-"))]).await;
    beyond.problem(416, "unknown-range");
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
    node.post(beat, body).await.ok();
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
    // Both report in to the engine itself.
    let nodes = engine.get("/api/v1/nodes").await.ok();
    let node = engine.get("/api/v1/nodes/node-1").await.ok();
    for shown in [&qa["nodes"][0], &qa["nodes"][1], &nodes["nodes"][0], &node] {
        assert_eq!(shown["source"], "built-in", "{shown}");
    }
    assert_eq!(qa["modules"], json!([]));
    let problem = engine
        .get("/api/v1/clusters/mars")
        .await
        .problem(404, "unknown-cluster");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("configured, qa"), "{detail}");
    engine.stop().await;
}
