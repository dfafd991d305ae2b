use hotswap_guests::{DISCOVERY_PROBE, HALVES, HELLO_V1};
use hotswap_store::Journal as _;
use reqwest::Method;
use serde_json::json;

use super::{ALL_EVENTS, ENVIRONMENT, HEARTBEAT, HISTORY, PLAN, V1, path_of, upgrade_status};
use crate::client::Client;
use crate::fixture::{Fixture, deployment};

/// What succeeds. Returns a deployment that has ended, and one that asks for its approval.
pub async fn answer(engine: &Fixture, node: &Client) -> (String, String) {
    engine.furnish().await;
    let digest = engine.wasm(Method::PUT, V1, HELLO_V1).await.ok()["digest"].clone();
    let artifact = format!("/api/v1/artifacts/{}", digest.as_str().unwrap());
    engine
        .wasm(Method::POST, "/api/v1/strategies", HALVES)
        .await
        .ok();
    engine
        .wasm(Method::POST, "/api/v1/backends", DISCOVERY_PROBE)
        .await
        .ok();
    let finished = engine.deploy(json!({})).await;
    engine.ended(&finished).await;
    let open = engine.deploy(json!({"requireApproval": true})).await;
    engine.asking(&open).await;
    for path in [
        "/health/live",
        "/health/ready",
        "/metrics",
        "/api/v1/modules",
        "/api/v1/modules/hello",
        V1,
        "/api/v1/strategies",
        "/api/v1/strategies/halves",
        "/api/v1/backends",
        "/api/v1/backends/discovery-probe",
        "/api/v1/clusters",
        "/api/v1/clusters/qa",
        "/api/v1/clusters/qa/events",
        ENVIRONMENT,
        HISTORY,
        "/api/v1/nodes",
        "/api/v1/nodes/node-1",
        "/api/v1/nodes/node-1/debug",
        "/api/v1/deployments",
        "/api/v1/store/usage",
        "/api/v1/debug",
        "/api/v1/discovery",
        "/api/v1/discovery/built-in",
        &path_of(&open, "events"),
    ] {
        assert_eq!(engine.get(path).await.status, 200, "{path}");
    }
    node.get(&artifact).await;
    let tag = format!("\"{}\"", digest.as_str().unwrap());
    node.send(Method::GET, &artifact, |it| it.header("if-none-match", tag))
        .await;
    for range in ["bytes=7-", "bytes=99999999-"] {
        node.send(Method::GET, &artifact, |it| it.header("range", range))
            .await;
    }
    node.post(HEARTBEAT, json!({"health": "passing"})).await;

    for path in [ALL_EVENTS, &path_of(&finished, "events/socket")] {
        assert_eq!(upgrade_status(&engine.client, path).await, 101, "{path}");
    }
    let last = engine.get(&path_of(&finished, "events")).await.ok()["after"].clone();
    let epoch = engine.store.epoch();
    let ended = engine
        .send(Method::GET, &path_of(&finished, "events"), |it| {
            it.header("accept", "text/event-stream")
                .header("last-event-id", format!("{epoch}:{last}"))
        })
        .await;
    assert_eq!(ended.status, 204);

    engine.delete(ENVIRONMENT).await.ok();
    engine.put(ENVIRONMENT, json!({"policy": {}})).await.ok();
    engine.post(PLAN, deployment(json!({}))).await.ok();
    let refresh = "/api/v1/discovery/built-in/refresh";
    engine.post(refresh, json!({})).await.ok();
    (finished, open)
}
