use hotswap_guests::{CONSUL, DIRECT, DNS, HELLO_V2};
use reqwest::Method;
use serde_json::json;

use super::{ENVIRONMENT, NODE_VERBS, PLAN, RETIRE, UNDO, V1, VERBS, path_of, path_to};
use crate::client::Client;
use crate::fixture::{Fixture, deployment, registration};

/// What the present state does not allow, and what it allows after a change. `finished` is a
/// deployment that has ended, `open` one that asks for its approval.
pub async fn answer(engine: &Fixture, node: &Client, finished: &str, open: String) {
    let nobody = deployment(json!({"selector": "zone=nowhere"}));
    engine
        .post(PLAN, nobody)
        .await
        .problem(409, "none-selected");
    let mut held = registration("qa");
    for key in ["boot", "instance"] {
        held[key] = json!("first");
    }
    node.put("/api/v1/nodes/node-3", held.clone()).await.ok();
    for key in ["boot", "instance"] {
        held[key] = json!("second");
    }
    node.put("/api/v1/nodes/node-3", held).await;
    let other = json!({"health": "passing", "boot": "second"});
    node.post("/api/v1/nodes/node-3/heartbeat", other).await;
    let old = engine.send(Method::PUT, ENVIRONMENT, |it| {
        it.header("if-match", "\"0\"").json(&json!({"policy": {}}))
    });
    old.await.problem(412, "policy-changed");
    let old = engine.send(Method::DELETE, ENVIRONMENT, |it| {
        it.header("if-match", "\"0\"")
    });
    old.await.problem(412, "policy-changed");
    for verb in NODE_VERBS {
        let path = format!("/api/v1/nodes/node-3/{verb}");
        engine.post(&path, json!({})).await.ok();
    }
    engine.delete("/api/v1/nodes/node-3").await;
    engine
        .post("/api/v1/nodes/node-2/drain", json!({}))
        .await
        .ok();
    engine
        .post("/api/v1/nodes/node-1/drain", json!({}))
        .await
        .problem(409, "too-many-unavailable");
    engine
        .post("/api/v1/nodes/node-2/uncordon", json!({}))
        .await
        .ok();
    engine
        .post("/api/v1/deployments", deployment(json!({})))
        .await;
    engine.wasm(Method::PUT, V1, HELLO_V2).await;
    engine
        .wasm(Method::POST, "/api/v1/strategies", DIRECT)
        .await;
    engine.delete("/api/v1/strategies/direct").await;
    engine
        .wasm(Method::POST, "/api/v1/backends", CONSUL)
        .await
        .problem(409, "built-in-backend");
    engine
        .wasm(Method::POST, "/api/v1/backends", DNS)
        .await
        .ok();
    engine
        .delete("/api/v1/backends/dns")
        .await
        .problem(409, "in-use");
    for verb in VERBS {
        engine.post(&path_of(finished, verb), json!({})).await;
    }
    // Nothing was before.
    engine
        .post(UNDO, json!({}))
        .await
        .problem(409, "nothing-before");
    engine
        .get(&path_of(finished, "diff"))
        .await
        .problem(409, "nothing-before");
    engine
        .post(&path_of(finished, "approval"), json!({"approved": true}))
        .await;
    engine.post(&path_of(&open, "pause"), json!({})).await.ok();
    engine.post(&path_of(&open, "resume"), json!({})).await.ok();
    engine
        .post(&path_of(&open, "approval"), json!({"approved": true}))
        .await
        .ok();
    engine.ended(&open).await;
    let open = engine.deploy(json!({"requireApproval": true})).await;
    engine.asking(&open).await;
    engine.post(&path_of(&open, "abort"), json!({})).await.ok();
    engine.ended(&open).await;
    engine.get(&path_of(&open, "diff")).await.ok();
    let again = engine.post(&path_of(&open, "retry"), json!({})).await;
    assert_eq!(again.status, 202);
    let again = again.json()["executionId"].as_str().unwrap().to_owned();
    engine.asking(&again).await;
    engine.post(&path_of(&again, "abort"), json!({})).await.ok();
    engine.ended(&again).await;
    let undone = engine.post(UNDO, json!({ "to": "1.0.0" })).await;
    assert_eq!(undone.status, 202);
    engine
        .ended(undone.json()["executionId"].as_str().unwrap())
        .await;
    let config = json!({ "batch": 1, "settle": "1h" });
    let slow = engine
        .deploy(json!({ "strategy": "rolling", "config": config }))
        .await;
    engine
        .until(&slow, |state| !state["waitingUntil"].is_null())
        .await;
    // In full: after the end of one wait it may end before a second request.
    let full = json!({ "full": true });
    engine.post(&path_of(&slow, "promote"), full).await.ok();
    engine.ended(&slow).await;
    let damaged = engine.deploy(json!({"requireApproval": true})).await;
    engine.asking(&damaged).await;
    engine.tamper(
        "UPDATE event SET body = CAST('{' AS BLOB)
         WHERE seq = 1 AND deployment = (SELECT max(number) FROM deployment)",
    );
    let terminate = path_of(&damaged, "terminate");
    engine.post(&terminate, json!({})).await.ok();
    engine.ended(&damaged).await;
    let second = engine.deploy(json!({})).await;
    engine.ended(&second).await;
    let rollback = engine
        .post(&path_of(&second, "rollback"), json!({}))
        .await
        .ok();
    engine
        .ended(rollback["executionId"].as_str().unwrap())
        .await;

    // Not while it is being deployed, and then only once.
    let asking = engine.deploy(json!({"requireApproval": true})).await;
    engine.asking(&asking).await;
    engine
        .delete(RETIRE)
        .await
        .problem(409, "deployment-running");
    engine
        .post(&path_of(&asking, "abort"), json!({}))
        .await
        .ok();
    engine.ended(&asking).await;
    assert_eq!(engine.delete(RETIRE).await.status, 204);
    engine.delete(RETIRE).await.problem(404, "unknown-module");
    let again = engine.deploy(json!({})).await;
    engine.ended(&again).await;

    // It has not ended, and it should run.
    let asking = engine.deploy(json!({"requireApproval": true})).await;
    engine
        .delete(&path_to(&asking))
        .await
        .problem(409, "in-use");
    engine.delete(V1).await.problem(409, "in-use");
    engine
        .post(&path_of(&asking, "abort"), json!({}))
        .await
        .ok();
    engine.ended(&asking).await;
    assert_eq!(engine.delete(&path_to(&asking)).await.status, 204);
    engine.push("hello", "1.1.0", HELLO_V2).await;
    let unneeded = "/api/v1/modules/hello/versions/1.1.0";
    assert_eq!(engine.delete(unneeded).await.status, 204);
}
