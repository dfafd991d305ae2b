//! CORS: requests from pages of other origins.

use hotswap_api::Config;
use reqwest::{Method, RequestBuilder};

use crate::client::Answer;
use crate::fixture::Fixture;

const ALLOWED: &str = "http://localhost:3000";
const OTHER: &str = "http://localhost:3001";

fn allow_one_origin(config: &mut Config) {
    config.cors_origins = vec![ALLOWED.parse().unwrap()];
}

fn from_origin(origin: &'static str) -> impl FnOnce(RequestBuilder) -> RequestBuilder {
    move |request| request.header("origin", origin)
}

fn preflight(origin: &'static str) -> impl FnOnce(RequestBuilder) -> RequestBuilder {
    move |request| {
        request
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,x-signalr-user-agent",
            )
    }
}

#[track_caller]
fn assert_granted(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), ALLOWED);
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    let exposed = answer.header("access-control-expose-headers");
    assert!(exposed.contains("x-request-id") && exposed.contains("location"));
    assert_eq!(answer.header("vary"), "origin");
}

#[track_caller]
fn assert_not_granted(answer: &Answer) {
    let granted = answer
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("access-control"));
    assert_eq!(granted.count(), 0, "{answer:?}");
}

#[tokio::test]
async fn a_preflight_needs_no_token() {
    let engine = Fixture::configured(allow_one_origin).await;
    let open = engine.with_token(None);
    // On every path: the paths are no secret, and the actual request needs a token.
    for path in ["/api/v1/deployments", "/hubs/deployments/negotiate"] {
        let answer = open.send(Method::OPTIONS, path, preflight(ALLOWED)).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_granted(&answer);
        let methods = answer.header("access-control-allow-methods");
        assert_eq!(methods, "GET, POST, PUT, DELETE");
        let headers = answer.header("access-control-allow-headers");
        for name in [
            "authorization",
            "content-type",
            "x-requested-with",
            "x-signalr-user-agent",
            "last-event-id",
            "traceparent",
            "tracestate",
            "idempotency-key",
            "x-request-id",
        ] {
            assert!(headers.split(", ").any(|one| one == name), "{headers}");
        }
        assert_eq!(answer.header("access-control-max-age"), "600");
    }
    let path = "/api/v1/deployments";
    let answer = open.send(Method::OPTIONS, path, preflight(OTHER)).await;
    assert_not_granted(&answer);
    answer.problem(405, "method-not-allowed");
    engine.stop().await;
}

#[tokio::test]
async fn failures_are_granted_too() {
    let engine = Fixture::configured(allow_one_origin).await;
    let answer = engine
        .send(Method::GET, "/api/v1/nodes", from_origin(ALLOWED))
        .await;
    assert_eq!(answer.status, 200);
    assert_granted(&answer);
    for (path, status, slug) in [
        ("/api/v1/nodes/nobody", 404, "unknown-node"),
        ("/api/v1/deployments?limit=0", 400, "bad-request"),
        ("/nowhere", 404, "unknown-route"),
    ] {
        let answer = engine.send(Method::GET, path, from_origin(ALLOWED)).await;
        assert_granted(&answer);
        answer.problem(status, slug);
    }
    let open = engine.with_token(None);
    let answer = open
        .send(Method::GET, "/api/v1/nodes", from_origin(ALLOWED))
        .await;
    assert_granted(&answer);
    answer.problem(401, "unauthorized");
    engine.stop().await;
}

#[tokio::test]
async fn requests_from_unlisted_origins_are_answered_without_a_grant() {
    let engine = Fixture::configured(allow_one_origin).await;
    // Swagger UI sends the server's own origin with requests that have a body.
    let own: &'static str = engine.base.clone().leak();
    for origin in [OTHER, own, "null"] {
        let answer = engine
            .send(Method::GET, "/api/v1/nodes", from_origin(origin))
            .await;
        assert_eq!(answer.status, 200, "{origin}");
        assert_not_granted(&answer);
        assert_eq!(answer.header("vary"), "origin");
    }
    engine.stop().await;
}

#[tokio::test]
async fn without_listed_origins_there_are_no_cors_headers() {
    let engine = Fixture::start().await;
    let answer = engine
        .send(Method::GET, "/api/v1/nodes", from_origin(ALLOWED))
        .await;
    assert_eq!((answer.status, answer.header("vary")), (200, ""));
    assert_not_granted(&answer);
    let path = "/api/v1/nodes";
    let answer = engine.send(Method::OPTIONS, path, preflight(ALLOWED)).await;
    assert_not_granted(&answer);
    answer.problem(405, "method-not-allowed");
    engine.stop().await;
}
