use std::collections::BTreeSet;

use hotswap_guests::{DISCOVERY_PROBE, HALVES, HELLO_V1};
use reqwest::Method;
use serde_json::json;

use super::{ENVIRONMENT, V1};
use crate::fixture::{Fixture, deployment};

/// What an engine with a full disk refuses. Returns the statuses that it answered.
pub async fn answer() -> BTreeSet<(String, String)> {
    let engine = Fixture::full().await;
    engine.node_in("qa", "node-1").await;
    let upload = engine.wasm(Method::PUT, V1, HELLO_V1).await;
    let problem = upload.problem(507, "disk-full");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("free some room"), "{detail}");
    engine
        .wasm(Method::POST, "/api/v1/strategies", HALVES)
        .await
        .problem(507, "disk-full");
    engine
        .wasm(Method::POST, "/api/v1/backends", DISCOVERY_PROBE)
        .await
        .problem(507, "disk-full");
    for verb in ["cordon", "drain"] {
        let path = format!("/api/v1/nodes/node-1/{verb}");
        let refused = engine.post(&path, json!({})).await;
        refused.problem(507, "disk-full");
    }
    engine
        .put(ENVIRONMENT, json!({"policy": {}}))
        .await
        .problem(507, "disk-full");
    let node = engine.delete("/api/v1/nodes/node-1").await;
    node.problem(507, "disk-full");
    // The module is in the catalogue from a time when the disk had room.
    let record = hotswap_store::ModuleRecord {
        module: hotswap_core::ModuleVersion {
            name: "hello".parse().unwrap(),
            version: "1.0.0".parse().unwrap(),
            digest: hotswap_core::Digest::of(HELLO_V1),
        },
        size: 1,
        uploaded_at: Default::default(),
        uploaded_by: "ada".to_owned(),
    };
    hotswap_store::Catalogue::put_module(engine.store.as_ref(), record)
        .await
        .unwrap();
    let body = deployment(json!({}));
    engine
        .post("/api/v1/deployments", body)
        .await
        .problem(507, "disk-full");
    assert_eq!(engine.get("/api/v1/store/usage").await.ok()["full"], true);
    let seen = engine.seen();
    engine.stop().await;
    seen
}
