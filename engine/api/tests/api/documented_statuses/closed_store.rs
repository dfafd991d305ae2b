use hotswap_guests::{DISCOVERY_PROBE, HALVES, HELLO_V1};
use reqwest::Method;
use serde_json::json;

use super::{ENVIRONMENT, HISTORY, PLAN, RETIRE, UNDO, V1, VERBS, upgrade_status};
use crate::client::Client;
use crate::fixture::{deployment, registration};

/// What needs a store that is closed, and what does not. `one` is the path of a deployment.
pub async fn answer(client: &Client, node: &Client, one: &str) {
    for path in [
        "/health/ready",
        "/api/v1/modules",
        "/api/v1/modules/hello",
        V1,
        "/api/v1/strategies",
        "/api/v1/strategies/direct",
        "/api/v1/backends",
        "/api/v1/backends/discovery-probe",
        "/api/v1/clusters/qa",
        "/api/v1/clusters/qa/events",
        "/api/v1/deployments",
        one,
        HISTORY,
        &format!("{one}/diff"),
        &format!("{one}/events"),
        "/api/v1/events",
        "/api/v1/store/usage",
    ] {
        client.get(path).await.problem(503, "unavailable");
    }
    for path in ["/api/v1/events/socket", &format!("{one}/events/socket")] {
        assert_eq!(upgrade_status(client, path).await, 503, "{path}");
    }
    client
        .post(UNDO, json!({}))
        .await
        .problem(503, "unavailable");
    for verb in VERBS {
        let path = format!("{one}/{verb}");
        client
            .post(&path, json!({}))
            .await
            .problem(503, "unavailable");
    }
    let approval = client
        .post(&format!("{one}/approval"), json!({"approved": true}))
        .await;
    approval.problem(503, "unavailable");
    let create = client
        .post("/api/v1/deployments", deployment(json!({})))
        .await;
    create.problem(503, "unavailable");
    let plan = client.post(PLAN, deployment(json!({}))).await;
    plan.problem(503, "unavailable");
    client
        .wasm(Method::PUT, V1, HELLO_V1)
        .await
        .problem(503, "unavailable");
    client
        .wasm(Method::POST, "/api/v1/strategies", HALVES)
        .await
        .problem(503, "unavailable");
    client
        .wasm(Method::POST, "/api/v1/backends", DISCOVERY_PROBE)
        .await
        .problem(503, "unavailable");
    client
        .delete("/api/v1/backends/discovery-probe")
        .await
        .problem(503, "unavailable");
    client
        .delete("/api/v1/strategies/halves")
        .await
        .problem(503, "unavailable");
    client
        .put(ENVIRONMENT, json!({"policy": {"deadline": 5000}}))
        .await
        .problem(503, "unavailable");
    for path in [one, V1, RETIRE, ENVIRONMENT] {
        client.delete(path).await.problem(503, "unavailable");
    }
    client
        .delete("/api/v1/nodes/node-1")
        .await
        .problem(503, "unavailable");
    // The first is cordoned.
    for (node, verb) in [
        ("node-4", "cordon"),
        ("node-1", "drain"),
        ("node-1", "uncordon"),
    ] {
        let path = format!("/api/v1/nodes/{node}/{verb}");
        let failed = client.post(&path, json!({})).await;
        failed.problem(503, "unavailable");
    }
    let register = node.put("/api/v1/nodes/node-9", registration("qa")).await;
    register.problem(503, "unavailable");
    let beat = json!({"health": "passing", "highestFence": 1_u64 << 40});
    node.post("/api/v1/nodes/node-1/heartbeat", beat)
        .await
        .problem(503, "unavailable");
    // These need no store.
    client.get("/health/live").await.ok();
    client.get("/api/v1/nodes").await.ok();
}
