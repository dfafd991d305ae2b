use hotswap_api::Role;
use hotswap_core::Digest;
use hotswap_guests::{CONSUL, DIRECT, DISCOVERY_PROBE, DNS, ETCD};
use hotswap_store::Blobs;
use reqwest::Method;
use serde_json::json;

use crate::fixture::{Fixture, LARGEST};

const ALL: &str = "/api/v1/backends";

#[tokio::test]
async fn an_uploaded_backend_is_kept_with_who_uploaded_it_and_where_its_secrets_go() {
    let engine = Fixture::start().await;
    let ada = engine.signed("ada", Role::Admin);
    let uploaded = ada.wasm(Method::POST, ALL, ETCD).await;
    assert_eq!(uploaded.status, 201);
    let location = uploaded.header("location").to_owned();
    assert_eq!(location, "/api/v1/backends/etcd");
    let uploaded = uploaded.json();
    assert_eq!(uploaded["uploadedBy"], "ada");
    assert_eq!(uploaded["canRegister"], true);
    assert_eq!(uploaded["digest"], Digest::of(ETCD).to_string());
    assert_eq!(uploaded["secrets"][0]["name"], "password");
    assert_eq!(
        uploaded["secrets"][0]["place"],
        "bodies to /v3/auth/authenticate"
    );
    assert_eq!(uploaded["configSchema"]["type"], "object", "{uploaded}");
    assert_eq!(engine.get(&location).await.ok(), uploaded);
    let list = engine.get(ALL).await.ok();
    assert_eq!(list, json!({ "backends": [uploaded] }));
    // The same again is the same upload.
    let again = engine.wasm(Method::POST, ALL, ETCD).await;
    assert_eq!(again.json(), uploaded);
    let blobs = Blobs::open_folder(engine.blobs_folder(), LARGEST).await;
    let kept = blobs.unwrap().read(Digest::of(ETCD)).await.unwrap();
    assert_eq!(kept.as_deref(), Some(ETCD));

    assert_eq!(engine.delete(&location).await.status, 204);
    for gone in [engine.delete(&location).await, engine.get(&location).await] {
        gone.problem(404, "unknown-backend");
    }
    engine.stop().await;
}

#[tokio::test]
async fn only_an_admin_uploads_and_deletes_backends() {
    let engine = Fixture::start().await;
    let operator = engine.signed("bob", Role::Operator);
    let refused = operator.wasm(Method::POST, ALL, DISCOVERY_PROBE).await;
    refused.problem(403, "forbidden");
    assert_eq!(
        operator.get(ALL).await.ok(),
        json!({ "backends": [] }),
        "nothing was uploaded"
    );
    engine.stop().await;
}

#[tokio::test]
async fn backends_of_the_engine_and_those_that_a_source_runs_stay() {
    let engine = Fixture::start().await;
    let problem = engine.wasm(Method::POST, ALL, CONSUL).await;
    problem.problem(409, "built-in-backend");
    engine.wasm(Method::POST, ALL, DNS).await.ok();
    let problem = engine.delete("/api/v1/backends/dns").await;
    let problem = problem.problem(409, "in-use");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("'main'"), "{detail}");
    engine.stop().await;
}

#[tokio::test]
async fn a_file_that_is_not_a_backend_is_rejected_with_the_reason() {
    let engine = Fixture::start().await;
    for (body, word) in [(DIRECT, "strategy"), (b"\x7fELF".as_slice(), "WebAssembly")] {
        let problem = engine.wasm(Method::POST, ALL, body).await;
        let problem = problem.problem(422, "not-a-backend");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(word), "{detail}");
    }
    engine.stop().await;
}
