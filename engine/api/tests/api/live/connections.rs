//! Connecting, shaking hands, and the ends of connections.

use std::time::{Duration, Instant};

use hotswap_api::{Limits, Role};
use reqwest::Method;
use serde_json::{Value, json};

use super::hub::{DEPLOYMENTS, Hub, METRICS, SUBSCRIBE, negotiate};
use super::socket::{PATIENCE, Socket, refused};
use super::sse::Sse;
use super::written::Written;
use super::{configured, start};
use crate::client::Client;
use crate::fixture::Fixture;

/// Waits until `/metrics` tells this many connections of the hub.
async fn connections(engine: &Fixture, hub: &str, count: usize) {
    let line = format!("hotswap_hub_connections{{hub=\"{hub}\"}} {count}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = engine.get("/metrics").await.text();
        if text.lines().any(|one| one == line) {
            return;
        }
        assert!(Instant::now() < deadline, "{line} is not in {text}");
    }
}

#[tokio::test]
async fn negotiation_speaks_versions_0_and_1() {
    let engine = start().await;
    for (query, version) in [
        ("", 0),
        ("negotiateVersion=0", 0),
        ("negotiateVersion=1", 1),
        ("negotiateVersion=7", 1),
    ] {
        let offer = negotiate(&engine, DEPLOYMENTS, query).await;
        assert_eq!(offer["negotiateVersion"], version, "{query}");
        let transports = offer["availableTransports"].as_array().unwrap();
        let names = transports.iter().map(|one| &one["transport"]);
        let expected = ["WebSockets", "ServerSentEvents", "LongPolling"];
        assert!(names.eq(&expected.map(Value::from)), "{offer}");
        assert!(offer.get("useStatefulReconnect").is_none(), "{offer}");
        // In version 0 the id is all there is; since then it opens nothing.
        let (id, token) = (&offer["connectionId"], &offer["connectionToken"]);
        let opens = if version == 0 { id } else { token };
        assert_eq!(token.is_null(), version == 0, "{offer}");
        assert_ne!(id, token);
        let path = |id: &Value| format!("{DEPLOYMENTS}?id={}", id.as_str().unwrap());
        let mut hub = Hub::connect(&engine, &path(opens)).await;
        hub.hears_nothing().await;
        if version > 0 {
            let unknown = refused(&engine, &path(id)).await;
            unknown.problem(404, "unknown-connection");
        }
    }
    let query = "negotiateVersion=1&useStatefulReconnect=true";
    let offer = negotiate(&engine, METRICS, query).await;
    assert_eq!(offer["useStatefulReconnect"], true);
    for (version, said) in [("one", "non-integer"), ("-1", "'-1'"), ("", "non-integer")] {
        let query = format!("negotiateVersion={version}");
        let declined = negotiate(&engine, DEPLOYMENTS, &query).await;
        let error = declined["error"].as_str().unwrap();
        assert!(error.contains(said), "{version}: {error}");
        assert_eq!(declined.as_object().unwrap().len(), 1, "{declined}");
    }
    engine.stop().await;
}

#[tokio::test]
async fn connections_are_counted_until_they_have_gone() {
    let engine = start().await;
    let mut hubs = vec![
        Hub::connect(&engine, DEPLOYMENTS).await,
        Hub::negotiated(&engine, DEPLOYMENTS).await,
        // What the hub was called once.
        Hub::connect(&engine, "/hubs/deployment").await,
        Hub::negotiated(&engine, "/hubs/deployment").await,
    ];
    let metrics = Hub::negotiated(&engine, METRICS).await;
    for hub in &mut hubs {
        hub.hears_nothing().await;
    }
    connections(&engine, "deployments", 4).await;
    connections(&engine, "metrics", 1).await;
    // Whether it says so or just goes.
    hubs[0].say(&json!({"type": 7})).await;
    hubs.truncate(2);
    let (told, close, code) = hubs.remove(0).rest().await;
    assert_eq!(
        (told, close, code),
        (vec![], json!({"type": 7}), Some(1000))
    );
    connections(&engine, "deployments", 1).await;
    drop((hubs, metrics));
    connections(&engine, "deployments", 0).await;
    connections(&engine, "metrics", 0).await;
    engine.stop().await;
}

#[tokio::test]
async fn an_id_carries_one_socket() {
    let engine = start().await;
    let offer = negotiate(&engine, DEPLOYMENTS, "negotiateVersion=1").await;
    let token = offer["connectionToken"].as_str().unwrap();
    let path = format!("{DEPLOYMENTS}?id={token}");
    let mut hub = Hub::connect(&engine, &path).await;
    refused(&engine, &path)
        .await
        .problem(409, "connection-in-use");
    // Nor anything else.
    let events = engine.send(Method::GET, &path, |it| {
        it.header("accept", "text/event-stream")
    });
    events.await.problem(400, "bad-request");
    let poll = engine.get(&path).await;
    poll.problem(400, "bad-request");
    let said = engine.post(&path, json!({})).await;
    assert_eq!(said.header("allow"), "GET");
    said.problem(405, "method-not-allowed");
    engine.delete(&path).await.problem(400, "bad-request");
    hub.hears_nothing().await;
    connections(&engine, "deployments", 1).await;
    drop(hub);
    connections(&engine, "deployments", 0).await;
    refused(&engine, &path)
        .await
        .problem(404, "unknown-connection");
    engine.stop().await;
}

#[tokio::test]
async fn anothers_id_looks_like_none() {
    let engine = start().await;
    let ada = engine.signed("ada", Role::Viewer);
    let bob = engine.signed("bob", Role::Admin);
    let offer = negotiate(&ada, DEPLOYMENTS, "negotiateVersion=1").await;
    let id = offer["connectionToken"].as_str().unwrap();
    let detail = async |client: &Client, hub: &str, id: &str| {
        let refused = refused(client, &format!("{hub}?id={id}")).await;
        refused.problem(404, "unknown-connection")["detail"].clone()
    };
    let unknown = detail(&bob, DEPLOYMENTS, "AAAAAAAAAAAAAAAAAAAAAAAA").await;
    assert_eq!(detail(&bob, DEPLOYMENTS, id).await, unknown);
    // Of the hub beside, too.
    assert_eq!(detail(&ada, METRICS, id).await, unknown);
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let path = format!("{DEPLOYMENTS}?id={id}");
        let answer = bob.send(method, &path, |it| it).await;
        answer.problem(404, "unknown-connection");
    }
    let mut hub = Hub::connect(&ada, &format!("{DEPLOYMENTS}?id={id}")).await;
    hub.hears_nothing().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_handshake_that_cannot_be_agreed_to_is_told_and_the_last() {
    let engine = start().await;
    for (handshake, error) in [
        (
            json!({"protocol": "xml", "version": 1}),
            "The protocol 'xml' is not supported.",
        ),
        (
            json!({"protocol": "json", "version": 9}),
            "The server does not support version 9 of the 'json' protocol.",
        ),
        (
            json!({"type": 6}),
            "An unexpected error occurred during connection handshake.",
        ),
    ] {
        for hub in [DEPLOYMENTS, METRICS] {
            let mut hub = Hub::of(Socket::open(&engine, hub).await);
            hub.say(&handshake).await;
            assert_eq!(hub.record().await, Ok(json!({"error": error})));
            assert_eq!(hub.record().await, Err(Some(1000)));
        }
    }
    connections(&engine, "deployments", 0).await;
    connections(&engine, "metrics", 0).await;
    engine.stop().await;
}

#[tokio::test]
async fn whoever_says_nothing_is_given_up() {
    let soon = Duration::from_millis(200);
    let engine = configured(|config| {
        config.live.hubs.handshake_timeout = soon;
        config.live.hubs.client_timeout = soon;
        config.live.hubs.keep_alive = soon;
    })
    .await;
    let mut strangers = Hub::of(Socket::open(&engine, DEPLOYMENTS).await);
    let acquainted = Hub::connect(&engine, DEPLOYMENTS).await;
    let (_, close, code) = acquainted.rest().await;
    assert_eq!((&close["allowReconnect"], code), (&json!(true), Some(1000)));
    let error = close["error"].as_str().unwrap();
    assert!(error.contains("heard"), "{error}");
    assert!(strangers.record().await.is_err());
    connections(&engine, "deployments", 0).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_shutdown_asks_all_to_come_back_and_does_not_wait_for_those_who_do_not_listen() {
    let grace = Duration::from_millis(300);
    let engine = configured(|config| {
        config.limits = Limits {
            grace,
            ..Limits::default()
        };
    })
    .await;
    let deployment = Written::begin(&engine).await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    let subscribed = hub.call(SUBSCRIBE, deployment.argument());
    subscribed.await.unwrap();
    let metrics = Hub::connect(&engine, METRICS).await;
    let deaf = Hub::connect(&engine, DEPLOYMENTS).await;
    let client = engine.client.clone();
    let started = Instant::now();
    let stop = async {
        engine.stop().await;
        started.elapsed()
    };
    let (took, hub, metrics) = tokio::join!(stop, hub.rest(), metrics.rest());
    let close = json!({"type": 7, "allowReconnect": true});
    let expected = (vec![], close, Some(1000));
    assert_eq!((hub, metrics), (expected.clone(), expected));
    assert!(
        grace <= took && took < grace + Duration::from_secs(5),
        "{took:?}"
    );
    drop(deaf);
    let again = reqwest::get(format!("{}{DEPLOYMENTS}", client.base)).await;
    assert!(again.is_err(), "{again:?}");
}

#[tokio::test]
async fn nothing_outlives_a_server_that_is_killed() {
    let engine = start().await;
    let deployment = Written::begin(&engine).await;
    let mut hub = Hub::connect(&engine, DEPLOYMENTS).await;
    let subscribed = hub.call(SUBSCRIBE, deployment.argument());
    subscribed.await.unwrap();
    let mut socket = Socket::open(&engine, &format!("{}/socket", deployment.events())).await;
    let mut sse = Sse::open(&engine, &deployment.events(), None).await;
    for expected in ["requested", "live"] {
        let (message, block) = (socket.message().await.unwrap(), sse.block().await.unwrap());
        let of_socket = message["body"]["type"].as_str();
        let of_sse = block.data["body"]["type"].as_str();
        assert_eq!(of_socket.unwrap_or("live"), expected);
        assert_eq!(of_sse.unwrap_or(&block.name), expected);
    }
    engine.kill().await;
    let killed = Instant::now();
    assert!(hub.record().await.is_err());
    assert_eq!(sse.block().await, None);
    assert!(socket.message().await.is_err());
    // Not at the next beat of a heart.
    assert!(killed.elapsed() < Duration::from_secs(10));
}
