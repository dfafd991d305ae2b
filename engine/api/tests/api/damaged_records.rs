//! Records of the catalogue that cannot be read: each is in nobody's way.

use serde_json::{Value, json};

use crate::fixture::Fixture;

fn names(items: &Value, key: &str) -> Vec<String> {
    let items = items.as_array().unwrap().iter();
    items
        .map(|item| item[key].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn one_record_that_cannot_be_read_stops_nothing_else() {
    let engine = Fixture::start().await;
    engine.furnish().await;
    engine.push("torn", "1.0.0", hotswap_guests::HELLO_V2).await;
    let engine = engine
        .restart_after(|database| {
            for sql in [
                "UPDATE module SET digest = '?' WHERE name = 'torn'",
                "UPDATE node SET labels = '{' WHERE id = 'node-1'",
                "UPDATE strategy SET config_schema = '{' WHERE name = 'direct'",
                "UPDATE strategy SET wit = '?' WHERE name = 'rolling'",
            ] {
                assert_eq!(database.execute(sql, []).unwrap(), 1, "{sql}");
            }
        })
        .await;
    let nodes = engine.get("/api/v1/nodes").await.ok();
    assert_eq!(names(&nodes["nodes"], "id"), ["node-2"], "{nodes}");
    let modules = engine.get("/api/v1/modules").await.ok();
    let text = modules.to_string();
    assert!(text.contains("hello") && !text.contains("torn"), "{text}");
    // Those that came with the engine are recorded anew.
    let strategies = engine.get("/api/v1/strategies").await.ok();
    let strategies = names(&strategies["strategies"], "name");
    for name in ["direct", "rolling"] {
        assert!(strategies.iter().any(|one| one == name), "{strategies:?}");
    }
    // So are nodes once they register again.
    for node in ["node-1", "node-2"] {
        engine.node_in("qa", node).await;
    }
    let nodes = engine.get("/api/v1/nodes").await.ok();
    assert_eq!(names(&nodes["nodes"], "id"), ["node-1", "node-2"]);
    let id = engine.deploy(json!({ "strategy": "rolling" })).await;
    let ended = engine.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");

    let torn = "/api/v1/modules/torn/versions/1.0.0";
    engine.get(torn).await.problem(404, "unknown-module");
    let deleted = engine.delete(torn).await;
    assert_eq!(deleted.status, 204);
    engine.delete(torn).await.problem(404, "unknown-module");
    engine.push("torn", "1.0.0", hotswap_guests::HELLO_V1).await;
    engine.stop().await;
}
