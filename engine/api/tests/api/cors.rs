//! Pages of other origins.

use hotswap_api::Config;
use reqwest::{Method, RequestBuilder};

use crate::client::Answer;
use crate::fixture::Fixture;

const OURS: &str = "http://localhost:3000";
const THEIRS: &str = "http://localhost:3001";

fn one(config: &mut Config) {
    config.cors_origins = vec![OURS.parse().unwrap()];
}

fn of(origin: &'static str) -> impl FnOnce(RequestBuilder) -> RequestBuilder {
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
fn shown(answer: &Answer) {
    assert_eq!(answer.header("access-control-allow-origin"), OURS);
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    let exposed = answer.header("access-control-expose-headers");
    assert!(exposed.contains("x-request-id") && exposed.contains("location"));
    assert_eq!(answer.header("vary"), "origin");
}

#[track_caller]
fn hidden(answer: &Answer) {
    let granted = answer
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with("access-control"));
    assert_eq!(granted.count(), 0, "{answer:?}");
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_token() {
    let engine = Fixture::configured(one).await;
    let open = engine.with_token(None);
    // Whatever the path: what is there is no secret, and the request itself is checked.
    for path in ["/api/v1/deployments", "/hubs/deployments/negotiate"] {
        let answer = open.send(Method::OPTIONS, path, preflight(OURS)).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        shown(&answer);
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
            "x-request-id",
        ] {
            assert!(headers.split(", ").any(|one| one == name), "{headers}");
        }
        assert_eq!(answer.header("access-control-max-age"), "600");
    }
    let path = "/api/v1/deployments";
    let answer = open.send(Method::OPTIONS, path, preflight(THEIRS)).await;
    hidden(&answer);
    answer.problem(405, "method-not-allowed");
    engine.stop().await;
}

#[tokio::test]
async fn the_page_is_shown_failures_too() {
    let engine = Fixture::configured(one).await;
    let answer = engine.send(Method::GET, "/api/v1/nodes", of(OURS)).await;
    assert_eq!(answer.status, 200);
    shown(&answer);
    for (path, status, slug) in [
        ("/api/v1/nodes/nobody", 404, "unknown-node"),
        ("/api/v1/deployments?limit=0", 400, "bad-request"),
        ("/nowhere", 404, "unknown-route"),
    ] {
        let answer = engine.send(Method::GET, path, of(OURS)).await;
        shown(&answer);
        answer.problem(status, slug);
    }
    let open = engine.with_token(None);
    let answer = open.send(Method::GET, "/api/v1/nodes", of(OURS)).await;
    shown(&answer);
    answer.problem(401, "unauthorized");
    engine.stop().await;
}

#[tokio::test]
async fn a_page_that_is_not_listed_is_told_apart_by_its_browser_alone() {
    let engine = Fixture::configured(one).await;
    // Swagger UI says the server's own origin whenever it sends something.
    let own: &'static str = engine.base.clone().leak();
    for origin in [THEIRS, own, "null"] {
        let answer = engine.send(Method::GET, "/api/v1/nodes", of(origin)).await;
        assert_eq!(answer.status, 200, "{origin}");
        hidden(&answer);
        assert_eq!(answer.header("vary"), "origin");
    }
    engine.stop().await;
}

#[tokio::test]
async fn without_a_list_there_is_no_word_of_it() {
    let engine = Fixture::start().await;
    let answer = engine.send(Method::GET, "/api/v1/nodes", of(OURS)).await;
    assert_eq!((answer.status, answer.header("vary")), (200, ""));
    hidden(&answer);
    let path = "/api/v1/nodes";
    let answer = engine.send(Method::OPTIONS, path, preflight(OURS)).await;
    hidden(&answer);
    answer.problem(405, "method-not-allowed");
    engine.stop().await;
}
