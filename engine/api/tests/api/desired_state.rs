//! What should run on each node, as the API shows it.

use std::time::Duration;

use hotswap_api::Role;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::Fixture;
use crate::fleet::BROKEN;
use crate::live::support::{DEPLOYMENTS, HubClient, SUBSCRIBE_TO_ALL};

const CLUSTER: &str = "/api/v1/clusters/qa";
const MODULE: &str = "/api/v1/clusters/qa/modules/hello";

/// Two nodes of `qa` that run 1.0.0 of `hello`.
async fn start() -> Fixture {
    let engine = Fixture::start().await;
    engine.furnish().await;
    let id = engine.deploy(json!({})).await;
    assert_eq!(engine.ended(&id).await["status"], "succeeded");
    engine
}

/// Waits until a node's module is in this state, and returns it.
async fn module_of(engine: &Fixture, node: &str, state: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let node = engine.get(&format!("/api/v1/nodes/{node}")).await.ok();
        let module = &node["modules"][0];
        if module["state"] == state {
            return module.clone();
        }
        assert!(Instant::now() < deadline, "{node}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn messages(engine: &Fixture) -> Vec<Value> {
    let events = engine.get(&format!("{CLUSTER}/events")).await.ok();
    let events = events["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["message"].clone())
        .collect()
}

#[tokio::test]
async fn a_newcomer_is_brought_along_and_everybody_sees_it() {
    let engine = start().await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let start = hub.invoke(SUBSCRIBE_TO_ALL, json!([])).await.unwrap();
    engine.node_in("qa", "node-3").await;
    let module = module_of(&engine, "node-3", "inStep").await;
    assert_eq!(module["desired"], "1.0.0");
    assert_eq!(module["actual"], "1.0.0");
    assert_eq!(engine.active("node-3", "hello").as_deref(), Some("1.0.0"));
    let cluster = engine.get(CLUSTER).await.ok();
    assert_eq!(cluster["nodes"][2]["modules"][0], module);
    let expected = [
        "node-3 ran no version of hello and was updated to 1.0.0",
        "node-3 runs no version of hello and is updated to 1.0.0",
    ];
    assert_eq!(messages(&engine).await, expected);

    let events = hub.events(2).await;
    for (event, expected) in events.iter().zip(expected.iter().rev()) {
        assert_eq!(event.target, "EnvironmentChanged");
        assert_eq!(event.argument["message"], *expected);
        assert_eq!(event.argument["environment"], "qa");
        assert_eq!(event.argument["nodeId"], "node-3");
    }
    // A client that comes back gets what it missed.
    let mut again = HubClient::connect(&engine, DEPLOYMENTS).await;
    let resume = json!([{ "epoch": start["epoch"], "offset": start["offset"] }]);
    let answer = again.invoke(SUBSCRIBE_TO_ALL, resume).await.unwrap();
    assert_eq!(answer["recovered"], true, "{answer}");
    let missed = again.events(2).await;
    assert_eq!(missed[1].argument, events[1].argument);
    engine.stop().await;
}

#[tokio::test]
async fn a_node_that_cannot_be_changed_is_reported_with_the_reason() {
    let engine = start().await;
    engine.node_in("qa", BROKEN).await;
    let module = module_of(&engine, BROKEN, "retrying").await;
    assert_eq!(module["desired"], "1.0.0");
    assert_eq!(module["actual"], Value::Null);
    let reason = module["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("it runs no version and should run 1.0.0; one attempt")
            && reason.ends_with("refused: it is broken"),
        "{reason}"
    );
    assert!(module["retryAt"].is_u64());
    let failed = "broken could not be updated to 1.0.0: refused: it is broken";
    assert!(messages(&engine).await.contains(&failed.into()));
    engine.stop().await;
}

#[tokio::test]
async fn a_retired_module_is_removed() {
    let engine = start().await;
    let operator = engine.signed("eve", Role::Operator);
    operator.delete(MODULE).await.problem(403, "forbidden");
    let ada = engine.signed("ada", Role::Admin);
    assert_eq!(ada.delete(MODULE).await.status, 204);
    for node in ["node-1", "node-2"] {
        let module = module_of(&engine, node, "inStep").await;
        assert_eq!(
            (&module["desired"], &module["actual"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(engine.active(node, "hello"), None);
    }
    assert_eq!(engine.get(CLUSTER).await.ok()["modules"], json!([]));
    assert_eq!(
        messages(&engine).await.last(),
        Some(&"hello was retired by ada".into())
    );
    ada.delete(MODULE).await.problem(404, "unknown-module");
    let mars = "/api/v1/clusters/mars/modules/hello";
    ada.delete(mars).await.problem(404, "unknown-module");

    let id = engine.deploy(json!({})).await;
    assert_eq!(engine.ended(&id).await["status"], "succeeded");
    assert_eq!(
        engine.get(CLUSTER).await.ok()["modules"][0]["version"],
        "1.0.0"
    );
    engine.stop().await;
}

#[tokio::test]
async fn a_module_that_is_being_deployed_is_not_retired() {
    let engine = start().await;
    let id = engine.deploy(json!({ "requireApproval": true })).await;
    engine.asking(&id).await;
    let problem = engine
        .delete(MODULE)
        .await
        .problem(409, "deployment-running");
    assert_eq!(problem["deployment"], id);
    engine.stop().await;
}

#[tokio::test]
async fn events_come_in_pages() {
    let engine = start().await;
    engine.node_in("qa", "node-3").await;
    module_of(&engine, "node-3", "inStep").await;
    let first = engine.get(&format!("{CLUSTER}/events?limit=1")).await.ok();
    assert_eq!(first["events"][0]["type"], "repaired");
    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = engine
        .get(&format!("{CLUSTER}/events?cursor={cursor}"))
        .await
        .ok();
    assert_eq!(rest["events"][0]["type"], "repairing");
    assert_eq!(rest["nextCursor"], Value::Null);
    for limit in ["0", "501", "many"] {
        let page = engine.get(&format!("{CLUSTER}/events?limit={limit}")).await;
        page.problem(400, "bad-request");
    }
    let page = engine.get(&format!("{CLUSTER}/events?cursor=7")).await;
    page.problem(400, "bad-request");
    engine.stop().await;
}
