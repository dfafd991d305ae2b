//! Failures have the same form on all paths.

use hotswap_api::Role;
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{Fixture, deployment};

const ID: &str = "0199e1f3-5b5c-7d5e-9d52-6f1f3a3e8a10";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// An operation under `/api/v1`.
pub struct ProtectedOperation {
    pub method: Method,
    /// The path with valid parameters.
    pub path: String,
    /// The role that it needs; `None` for the node token.
    pub role: Option<Role>,
}

/// Every operation under `/api/v1`, from the OpenAPI document.
pub fn protected_operations() -> Vec<ProtectedOperation> {
    let document: Value = serde_json::from_str(&hotswap_api::openapi()).unwrap();
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let id = if path.contains("/nodes/") {
            "node-1"
        } else {
            ID
        };
        let filled = path
            .replace("{id}", id)
            .replace("{name}", "hello")
            .replace("{version}", "1.0.0")
            .replace("{environment}", "qa")
            .replace("{digest}", DIGEST);
        assert!(!filled.contains('{'), "{filled}");
        for (method, operation) in operations.as_object().unwrap() {
            if filled.starts_with("/api/v1/") {
                let method = method.to_uppercase().parse().unwrap();
                let scheme = operation["security"][0].as_object().unwrap();
                let role = operation["x-required-role"].as_str();
                assert_eq!(scheme.contains_key("nodeToken"), role.is_none());
                found.push(ProtectedOperation {
                    method,
                    path: filled.clone(),
                    role: role.map(|role| role.parse().unwrap()),
                });
            }
        }
    }
    assert!(found.len() >= 25, "{}", found.len());
    found
}

#[tokio::test]
async fn every_operation_needs_the_right_token() {
    let engine = Fixture::start().await;
    for ProtectedOperation { method, path, role } in protected_operations() {
        let none = engine
            .with_token(None)
            .send(method.clone(), &path, |it| it)
            .await;
        assert_eq!(none.header("www-authenticate"), "Bearer", "{method} {path}");
        none.problem(401, "unauthorized");
        let wrong = engine.with_token(Some("api-token-of-these-tesTs"));
        let wrong = wrong.send(method.clone(), &path, |it| it).await;
        assert_eq!(
            wrong.header("www-authenticate"),
            "Bearer",
            "{method} {path}"
        );
        wrong.problem(401, "unauthorized");
        let other = match role {
            None => engine.client.clone(),
            Some(_) => engine.node(),
        };
        other
            .send(method, &path, |it| it)
            .await
            .problem(403, "forbidden");
    }
    let basic = engine.with_token(None);
    let basic = basic.send(Method::GET, "/api/v1/nodes", |it| {
        it.basic_auth("ada", Some("x"))
    });
    basic.await.problem(401, "unauthorized");
    engine.stop().await;
}

#[tokio::test]
async fn an_invalid_parameter_is_named() {
    let engine = Fixture::start().await;
    for (path, parameter) in [
        ("/api/v1/deployments/17", "id"),
        ("/api/v1/deployments/17/events", "id"),
        ("/api/v1/modules/Hello", "name"),
        ("/api/v1/modules/hello/versions/1.x", "version"),
        ("/api/v1/strategies/a%20b", "name"),
        ("/api/v1/clusters/-", "environment"),
        ("/api/v1/nodes/..%2Fx", "id"),
        ("/api/v1/deployments?status=odd", "status"),
        ("/api/v1/deployments?limit=0", "limit"),
        ("/api/v1/deployments?limit=201", "limit"),
        ("/api/v1/deployments?limit=many", "limit"),
        ("/api/v1/deployments?cursor=elsewhere", "cursor"),
        ("/api/v1/deployments?module=A", "module"),
        (&format!("/api/v1/deployments/{ID}/events?wait=61"), "wait"),
        (
            &format!("/api/v1/deployments/{ID}/events?after=-1"),
            "after",
        ),
    ] {
        let problem = engine.get(path).await.problem(400, "bad-request");
        assert_eq!(
            problem["errors"][0]["parameter"], parameter,
            "{path}: {problem}"
        );
        let detail = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(!detail.contains("failed to parse"), "{path}: {detail}");
    }
    let problem = engine.node().get("/api/v1/artifacts/md5:00").await;
    let problem = problem.problem(400, "bad-request");
    assert_eq!(problem["errors"][0]["parameter"], "digest");
    engine.stop().await;
}

#[tokio::test]
async fn an_invalid_body_is_rejected_with_the_place() {
    let engine = Fixture::start().await;
    let path = "/api/v1/deployments";
    let send = async |kind: &'static str, body: &'static str| {
        engine
            .send(Method::POST, path, |it| {
                it.header("content-type", kind).body(body)
            })
            .await
    };
    for (body, word) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("{}", "moduleName"),
        ("[]", "invalid"),
        (r#"{"modulName": "hello"}"#, "modulName"),
        (r#"{"moduleName": 7}"#, "line 1"),
    ] {
        let problem = send("application/json", body)
            .await
            .problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(word), "{body}: {detail}");
    }
    send("text/plain", "{}")
        .await
        .problem(415, "unsupported-media-type");
    let none = engine.send(Method::POST, path, |it| it.body("{}")).await;
    none.problem(415, "unsupported-media-type");

    let body = deployment(json!({"moduleName": "Hello", "requesterEmail": "ada"}));
    let problem = engine
        .post(path, body)
        .await
        .problem(422, "invalid-request");
    let errors = &problem["errors"];
    assert_eq!(errors[0]["pointer"], "/moduleName", "{problem}");
    assert_eq!(errors[1]["pointer"], "/requesterEmail", "{problem}");
    engine.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_rejected() {
    let engine = Fixture::start().await;
    let large = deployment(json!({"description": "x".repeat(2 << 20)})).to_string();
    let whole = |large: String| {
        move |it: reqwest::RequestBuilder| it.header("content-type", "application/json").body(large)
    };
    let answer = engine.send(Method::POST, "/api/v1/deployments", whole(large.clone()));
    answer.await.problem(413, "payload-too-large");
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = large
        .into_bytes()
        .chunks(64 << 10)
        .map(|it| Ok(it.to_vec()))
        .collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let answer = engine.send(Method::POST, "/api/v1/deployments", |it| {
        it.header("content-type", "application/json").body(stream)
    });
    answer.await.problem(413, "payload-too-large");
    engine.stop().await;
}

#[tokio::test]
async fn other_paths_and_methods_are_rejected() {
    let engine = Fixture::start().await;
    for path in [
        "/api",
        "/api/v1",
        "/api/v1/deployment",
        "/api/v2/nodes",
        "/swagger/x",
        "/%ff",
    ] {
        engine.get(path).await.problem(404, "unknown-route");
    }
    for (method, path, allowed) in [
        (Method::DELETE, "/api/v1/deployments", "GET, HEAD, POST"),
        (
            Method::PATCH,
            "/api/v1/nodes/node-1",
            "DELETE, GET, HEAD, PUT",
        ),
        (Method::POST, "/health/live", "GET, HEAD"),
        (Method::TRACE, "/api/v1/modules", "GET, HEAD"),
    ] {
        let answer = engine.send(method, path, |it| it).await;
        assert_eq!(answer.header("allow"), allowed);
        answer.problem(405, "method-not-allowed");
    }
    engine.stop().await;
}

#[tokio::test]
async fn a_harmless_request_id_is_kept() {
    let engine = Fixture::start().await;
    let ask = async |id: &str| {
        let ask = engine.send(Method::GET, "/api/v1/nodes/x", |it| {
            it.header("x-request-id", id)
        });
        ask.await
    };
    assert_eq!(ask("abc-123").await.header("x-request-id"), "abc-123");
    for bad in ["", "two words", "<b>", &"x".repeat(200)] {
        let id = ask(bad).await.header("x-request-id").to_owned();
        assert_eq!(id.len(), 36, "{bad}: {id}");
    }
    engine.stop().await;
}
