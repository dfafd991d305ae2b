use hotswap_guests::{DIRECT, HELLO_V1};
use reqwest::Method;
use serde_json::json;

use super::{
    ALL_EVENTS, ENVIRONMENT, HEARTBEAT, NODE_VERBS, PLAN, RETIRE, UNDO, V1, VERBS, path_of,
};
use crate::client::Client;
use crate::fixture::{Fixture, deployment, registration};

/// What is malformed or invalid. `finished` is a deployment that has ended.
pub async fn answer(engine: &Fixture, node: &Client, finished: &str) {
    for path in [
        "/api/v1/modules/A",
        "/api/v1/modules/hello/versions/1",
        "/api/v1/strategies/A",
        "/api/v1/backends/A",
        "/api/v1/clusters/A",
        "/api/v1/clusters/A/events",
        "/api/v1/environments/A",
        "/api/v1/clusters/A/modules/hello/history",
        "/api/v1/nodes/-",
        "/api/v1/nodes/-/debug",
        "/api/v1/deployments/1",
        "/api/v1/deployments/1/events",
        "/api/v1/deployments/1/diff",
        "/api/v1/deployments?limit=0",
        &format!("/api/v1/discovery?service={}", "x".repeat(257)),
        // Not WebSocket upgrades.
        ALL_EVENTS,
        &path_of(finished, "events/socket"),
    ] {
        assert_eq!(engine.get(path).await.status, 400, "{path}");
    }
    engine
        .wasm(Method::PUT, "/api/v1/modules/A/versions/1.0.0", HELLO_V1)
        .await;
    node.get("/api/v1/artifacts/1").await;
    engine.delete("/api/v1/nodes/-").await;
    engine.delete("/api/v1/strategies/A").await;
    engine.delete("/api/v1/backends/A").await;
    engine.delete("/api/v1/modules/A/versions/1.0.0").await;
    engine.delete("/api/v1/deployments/1").await;
    engine.wasm(Method::PUT, V1, DIRECT).await;
    engine.wasm(Method::PUT, V1, vec![0; 5 << 20]).await;
    engine
        .wasm(Method::POST, "/api/v1/strategies", HELLO_V1)
        .await;
    engine
        .wasm(Method::POST, "/api/v1/strategies", vec![0; 17 << 20])
        .await;
    engine
        .wasm(Method::POST, "/api/v1/backends", HELLO_V1)
        .await;
    engine
        .wasm(Method::POST, "/api/v1/backends", vec![0; 17 << 20])
        .await;
    let node_verbs = NODE_VERBS.map(|verb| {
        let path = format!("/api/v1/nodes/node-1/{verb}");
        (engine.client.clone(), Method::POST, path)
    });
    let bodies = [
        (
            engine.client.clone(),
            Method::DELETE,
            "/api/v1/nodes/node-1".to_owned(),
        ),
        (
            engine.client.clone(),
            Method::POST,
            "/api/v1/deployments".to_owned(),
        ),
        (engine.client.clone(), Method::POST, PLAN.to_owned()),
        (node.clone(), Method::PUT, "/api/v1/nodes/node-1".to_owned()),
        (node.clone(), Method::POST, HEARTBEAT.to_owned()),
        (engine.client.clone(), Method::DELETE, RETIRE.to_owned()),
        (
            engine.client.clone(),
            Method::DELETE,
            ENVIRONMENT.to_owned(),
        ),
        (engine.client.clone(), Method::PUT, ENVIRONMENT.to_owned()),
        (
            engine.client.clone(),
            Method::POST,
            path_of(finished, "abort"),
        ),
        (
            engine.client.clone(),
            Method::POST,
            path_of(finished, "terminate"),
        ),
        (
            engine.client.clone(),
            Method::POST,
            path_of(finished, "pause"),
        ),
        (
            engine.client.clone(),
            Method::POST,
            path_of(finished, "resume"),
        ),
        (
            engine.client.clone(),
            Method::POST,
            path_of(finished, "rollback"),
        ),
        (
            engine.client.clone(),
            Method::POST,
            path_of(finished, "promote"),
        ),
        (
            engine.client.clone(),
            Method::POST,
            path_of(finished, "retry"),
        ),
        (engine.client.clone(), Method::POST, UNDO.to_owned()),
        (
            engine.client.clone(),
            Method::POST,
            path_of(finished, "approval"),
        ),
    ];
    for (client, method, path) in bodies.iter().chain(&node_verbs) {
        let send = async |kind: &'static str, body: String| {
            let send = client.send(method.clone(), path, |it| {
                it.header("content-type", kind).body(body)
            });
            send.await.status
        };
        assert_eq!(
            send("application/json", "{".to_owned()).await,
            400,
            "{path}"
        );
        assert_eq!(
            send("application/xml", "{}".to_owned()).await,
            415,
            "{path}"
        );
        assert_eq!(
            send("application/json", " ".repeat(2 << 20)).await,
            413,
            "{path}"
        );
    }
    engine.send(Method::PUT, V1, |it| it.body("x")).await;
    for path in ["/api/v1/strategies", "/api/v1/backends"] {
        engine.send(Method::POST, path, |it| it.body("x")).await;
    }
    let invalid_email = json!({"requesterEmail": "nobody"});
    for verb in VERBS {
        engine
            .post(&path_of(finished, verb), invalid_email.clone())
            .await
            .problem(422, "invalid-request");
    }
    for verb in NODE_VERBS {
        let path = format!("/api/v1/nodes/node-1/{verb}");
        let invalid = engine.post(&path, invalid_email.clone()).await;
        invalid.problem(422, "invalid-request");
    }
    engine
        .put(ENVIRONMENT, json!({"policy": {"deadline": 0}}))
        .await
        .problem(422, "invalid-request");
    engine
        .post(UNDO, invalid_email.clone())
        .await
        .problem(422, "invalid-request");
    for path in [RETIRE, ENVIRONMENT, "/api/v1/nodes/node-1"] {
        let body = invalid_email.to_string();
        let invalid = engine.send(Method::DELETE, path, |it| {
            it.header("content-type", "application/json").body(body)
        });
        invalid.await.problem(422, "invalid-request");
    }
    let approval = json!({"approved": true, "requesterEmail": "nobody"});
    engine.post(&path_of(finished, "approval"), approval).await;
    engine.post(PLAN, deployment(invalid_email.clone())).await;
    engine
        .post("/api/v1/deployments", deployment(invalid_email))
        .await;
    let mut invalid = registration("qa");
    invalid["dataUrl"] = json!("here");
    node.put("/api/v1/nodes/node-1", invalid).await;
    let absurd = json!({"health": "passing", "highestFence": u64::MAX});
    node.post(HEARTBEAT, absurd).await;
}
