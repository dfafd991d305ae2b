use serde_json::json;

use super::{NODE_VERBS, UNKNOWN_DEPLOYMENT, VERBS, path_of, path_to, upgrade_status};
use crate::client::Client;
use crate::fixture::Fixture;

/// What does not exist.
pub async fn answer(engine: &Fixture, node: &Client) {
    for path in [
        "/api/v1/modules/bye",
        "/api/v1/modules/hello/versions/9.9.9",
        "/api/v1/strategies/bold",
        "/api/v1/backends/bold",
        "/api/v1/clusters/mars",
        "/api/v1/nodes/nobody",
        "/api/v1/nodes/nobody/debug",
        "/api/v1/discovery/nowhere",
        &path_of(UNKNOWN_DEPLOYMENT, "events"),
        &path_to(UNKNOWN_DEPLOYMENT),
    ] {
        assert_eq!(engine.get(path).await.status, 404, "{path}");
    }
    assert_eq!(
        upgrade_status(
            &engine.client,
            &path_of(UNKNOWN_DEPLOYMENT, "events/socket")
        )
        .await,
        404
    );
    let unknown_digest = "sha256:".to_owned() + &"0".repeat(64);
    node.get(&format!("/api/v1/artifacts/{unknown_digest}"))
        .await;
    node.post(
        "/api/v1/nodes/nobody/heartbeat",
        json!({"health": "passing"}),
    )
    .await;
    engine.delete("/api/v1/nodes/nobody").await;
    engine
        .post("/api/v1/discovery/nowhere/refresh", json!({}))
        .await
        .problem(404, "unknown-source");
    for verb in NODE_VERBS {
        let path = format!("/api/v1/nodes/nobody/{verb}");
        engine
            .post(&path, json!({}))
            .await
            .problem(404, "unknown-node");
        let path = format!("/api/v1/nodes/-/{verb}");
        engine
            .post(&path, json!({}))
            .await
            .problem(400, "bad-request");
    }
    engine.delete("/api/v1/strategies/bold").await;
    engine.delete("/api/v1/backends/bold").await;
    engine.delete("/api/v1/modules/hello/versions/9.9.9").await;
    engine.delete(&path_to(UNKNOWN_DEPLOYMENT)).await;
    for verb in VERBS {
        engine
            .post(&path_of(UNKNOWN_DEPLOYMENT, verb), json!({}))
            .await;
    }
    engine.get(&path_of(UNKNOWN_DEPLOYMENT, "diff")).await;
    engine
        .post(
            &path_of(UNKNOWN_DEPLOYMENT, "approval"),
            json!({"approved": true}),
        )
        .await;
}
