use hotswap_core::Digest;
use hotswap_guests::{DIRECT, HELLO_V1, HELLO_V2};
use reqwest::Method;
use serde_json::json;

use crate::fixture::{Fixture, LARGEST};

const V1: &str = "/api/v1/modules/hello/versions/1.0.0";

#[tokio::test]
async fn a_version_never_changes() {
    let engine = Fixture::start().await;
    let first = engine.wasm(Method::PUT, V1, HELLO_V1).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.header("location"), V1);
    let first = first.json();
    assert_eq!(first["size"], HELLO_V1.len());
    let again = engine.wasm(Method::PUT, V1, HELLO_V1).await;
    assert_eq!((again.status, again.json()), (200, first.clone()));

    let problem = engine
        .wasm(Method::PUT, V1, HELLO_V2)
        .await
        .problem(409, "version-taken");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("another version"), "{detail}");
    assert_eq!(engine.get(V1).await.ok(), first);

    engine.push("hello", "1.10.0", HELLO_V2).await;
    engine.push("bye", "0.1.0-rc.1", HELLO_V2).await;
    let module = engine.get("/api/v1/modules/hello").await.ok();
    assert_eq!(module["versions"][0]["version"], "1.10.0");
    assert_eq!(module["versions"][1], first);
    let all = engine.get("/api/v1/modules").await.ok();
    let names: Vec<_> = all["modules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(json!(names), json!(["bye", "hello"]));
    engine.stop().await;
}

#[tokio::test]
async fn a_file_that_nodes_cannot_run_is_rejected() {
    let engine = Fixture::start().await;
    // The engine already stores the strategy itself, so add a custom section to change its
    // digest.
    let strategy = [DIRECT, &[0, 2, 1, b'x']].concat();
    for (body, word) in [
        (b"#!/bin/sh\n".to_vec(), "WebAssembly"),
        (b"\0asm\x01\0\0\0".to_vec(), "wasm-tools component new"),
        (strategy, "incoming-handler"),
        (Vec::new(), "WebAssembly"),
    ] {
        let digest = Digest::of(&body);
        let problem = engine
            .wasm(Method::PUT, V1, body)
            .await
            .problem(422, "not-a-module");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(word), "{detail}");
        let artifact = format!("/api/v1/artifacts/{digest}");
        engine
            .node()
            .get(&artifact)
            .await
            .problem(404, "unknown-artifact");
    }
    engine.get(V1).await.problem(404, "unknown-module");
    engine
        .get("/api/v1/modules/hello")
        .await
        .problem(404, "unknown-module");
    engine.stop().await;
}

#[tokio::test]
async fn an_artifact_is_fetched_as_it_was_uploaded() {
    let engine = Fixture::start().await;
    let uploaded = engine.wasm(Method::PUT, V1, HELLO_V1).await.ok();
    let digest = uploaded["digest"].as_str().unwrap();
    let path = format!("/api/v1/artifacts/{digest}");
    let answer = engine.node().get(&path).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, HELLO_V1);
    assert_eq!(answer.header("content-length"), HELLO_V1.len().to_string());
    assert_eq!(answer.header("content-type"), "application/wasm");
    let tag = answer.header("etag").to_owned();
    assert_eq!(tag, format!("\"{digest}\""));
    let if_none_match = format!("\"other\", {tag}");
    let answer = engine
        .node()
        .send(Method::GET, &path, |request| {
            request.header("if-none-match", if_none_match)
        })
        .await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    engine.stop().await;
}

#[tokio::test]
async fn an_upload_that_is_too_large_is_rejected() {
    let engine = Fixture::start().await;
    let body = vec![0_u8; usize::try_from(LARGEST).unwrap() + 1];
    let problem = engine
        .wasm(Method::PUT, V1, body)
        .await
        .problem(413, "payload-too-large");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(&LARGEST.to_string()), "{detail}");
    engine.get(V1).await.problem(404, "unknown-module");
    engine.stop().await;
}
