use hotswap_guests::{DIRECT, HALVES, HELLO_V1};
use reqwest::Method;
use serde_json::json;

use crate::fixture::Fixture;

const ALL: &str = "/api/v1/strategies";

#[tokio::test]
async fn an_uploaded_strategy_can_be_used_and_deleted() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let uploaded = engine.wasm(Method::POST, ALL, HALVES).await;
    assert_eq!(uploaded.status, 201);
    let location = uploaded.header("location").to_owned();
    assert_eq!(location, "/api/v1/strategies/halves");
    let uploaded = uploaded.json();
    assert_eq!(uploaded["builtIn"], false);
    assert_eq!(uploaded["configSchema"]["type"], "object", "{uploaded}");
    assert_eq!(engine.get(&location).await.ok(), uploaded);
    let names: Vec<_> = engine.get(ALL).await.ok()["strategies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|strategy| strategy["name"].clone())
        .collect();
    assert_eq!(json!(names), json!(["direct", "halves", "rolling"]));

    let id = engine
        .deploy(json!({"strategy": "halves", "requireApproval": true}))
        .await;
    assert_eq!(engine.asking(&id).await["strategy"], "halves");
    assert_eq!(engine.delete(&location).await.status, 204);
    engine
        .delete(&location)
        .await
        .problem(404, "unknown-strategy");
    engine.get(&location).await.problem(404, "unknown-strategy");
    let approval = format!("/api/v1/deployments/{id}/approval");
    engine.post(&approval, json!({"approved": true})).await.ok();
    let ended = engine.until(&id, |state| {
        state["status"] != "awaitingApproval" && state["status"] != "pending"
    });
    assert_eq!(ended.await["strategyCode"]["digest"], uploaded["digest"]);
    engine.stop().await;
}

#[tokio::test]
async fn built_in_strategies_cannot_be_replaced_or_deleted() {
    let engine = Fixture::start().await;
    let problem = engine.delete("/api/v1/strategies/direct").await;
    problem.problem(409, "built-in-strategy");
    let problem = engine.wasm(Method::POST, ALL, DIRECT).await;
    problem.problem(409, "built-in-strategy");
    let direct = engine.get("/api/v1/strategies/direct").await.ok();
    assert_eq!(direct["builtIn"], true);
    engine.stop().await;
}

#[tokio::test]
async fn a_file_that_is_not_a_strategy_is_rejected_with_the_reason() {
    let engine = Fixture::start().await;
    for (body, word) in [(HELLO_V1, "import"), (b"\x7fELF".as_slice(), "WebAssembly")] {
        let problem = engine
            .wasm(Method::POST, ALL, body)
            .await
            .problem(422, "not-a-strategy");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(word), "{detail}");
    }
    let problem = engine
        .wasm(Method::POST, ALL, vec![0_u8; (16 << 20) + 1])
        .await;
    problem.problem(413, "payload-too-large");
    engine.stop().await;
}
