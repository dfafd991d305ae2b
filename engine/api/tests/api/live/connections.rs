//! Negotiation, handshakes, and how connections end.

use std::time::{Duration, Instant};

use hotswap_api::{Limits, Role};
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{
    DEPLOYMENTS, HubClient, METRICS, ManualDeployment, SUBSCRIBE, SocketClient, SseClient, TIMEOUT,
    negotiate, rejected_upgrade,
};
use super::{start, start_with};
use crate::client::Client;
use crate::fixture::Fixture;

/// Waits until `/metrics` shows this many connections of the hub.
async fn wait_for_connections(engine: &Fixture, hub: &str, count: usize) {
    let line = format!("hotswap_hub_connections{{hub=\"{hub}\"}} {count}");
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let text = engine.get("/metrics").await.text();
        if text.lines().any(|other| other == line) {
            return;
        }
        assert!(Instant::now() < deadline, "{line} is not in {text}");
    }
}

#[tokio::test]
async fn negotiation_supports_versions_0_and_1() {
    let engine = start().await;
    for (query, version) in [
        ("", 0),
        ("negotiateVersion=0", 0),
        ("negotiateVersion=1", 1),
        ("negotiateVersion=7", 1),
    ] {
        let response = negotiate(&engine, DEPLOYMENTS, query).await;
        assert_eq!(response["negotiateVersion"], version, "{query}");
        let transports = response["availableTransports"].as_array().unwrap();
        let names = transports.iter().map(|it| &it["transport"]);
        let expected = ["WebSockets", "ServerSentEvents", "LongPolling"];
        assert!(names.eq(&expected.map(Value::from)), "{response}");
        assert!(response.get("useStatefulReconnect").is_none(), "{response}");
        // Version 0 connects with the connection id, version 1 with the connection token.
        let (id, token) = (&response["connectionId"], &response["connectionToken"]);
        let opens = if version == 0 { id } else { token };
        assert_eq!(token.is_null(), version == 0, "{response}");
        assert_ne!(id, token);
        let path = |id: &Value| format!("{DEPLOYMENTS}?id={}", id.as_str().unwrap());
        let mut hub = HubClient::connect(&engine, &path(opens)).await;
        hub.assert_no_events().await;
        if version > 0 {
            let unknown = rejected_upgrade(&engine, &path(id)).await;
            unknown.problem(404, "unknown-connection");
        }
    }
    let query = "negotiateVersion=1&useStatefulReconnect=true";
    let response = negotiate(&engine, METRICS, query).await;
    assert_eq!(response["useStatefulReconnect"], true);
    for (version, expected) in [("one", "non-integer"), ("-1", "'-1'"), ("", "non-integer")] {
        let query = format!("negotiateVersion={version}");
        let rejected = negotiate(&engine, DEPLOYMENTS, &query).await;
        let error = rejected["error"].as_str().unwrap();
        assert!(error.contains(expected), "{version}: {error}");
        assert_eq!(rejected.as_object().unwrap().len(), 1, "{rejected}");
    }
    engine.stop().await;
}

#[tokio::test]
async fn connections_are_counted_until_they_end() {
    let engine = start().await;
    let mut hubs = vec![
        HubClient::connect(&engine, DEPLOYMENTS).await,
        HubClient::connect_negotiated(&engine, DEPLOYMENTS).await,
        // A former name of the hub.
        HubClient::connect(&engine, "/hubs/deployment").await,
        HubClient::connect_negotiated(&engine, "/hubs/deployment").await,
    ];
    let metrics = HubClient::connect_negotiated(&engine, METRICS).await;
    for hub in &mut hubs {
        hub.assert_no_events().await;
    }
    wait_for_connections(&engine, "deployments", 4).await;
    wait_for_connections(&engine, "metrics", 1).await;
    // With a Close message, or without.
    hubs[0].send(&json!({"type": 7})).await;
    hubs.truncate(2);
    let (events, close, code) = hubs.remove(0).until_closed().await;
    assert_eq!(
        (events, close, code),
        (vec![], json!({"type": 7}), Some(1000))
    );
    wait_for_connections(&engine, "deployments", 1).await;
    drop((hubs, metrics));
    wait_for_connections(&engine, "deployments", 0).await;
    wait_for_connections(&engine, "metrics", 0).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_connection_has_at_most_one_transport() {
    let engine = start().await;
    let response = negotiate(&engine, DEPLOYMENTS, "negotiateVersion=1").await;
    let token = response["connectionToken"].as_str().unwrap();
    let path = format!("{DEPLOYMENTS}?id={token}");
    let mut hub = HubClient::connect(&engine, &path).await;
    rejected_upgrade(&engine, &path)
        .await
        .problem(409, "connection-in-use");
    // Other transports are rejected, too.
    let events = engine.send(Method::GET, &path, |it| {
        it.header("accept", "text/event-stream")
    });
    events.await.problem(400, "bad-request");
    let poll = engine.get(&path).await;
    poll.problem(400, "bad-request");
    let post = engine.post(&path, json!({})).await;
    assert_eq!(post.header("allow"), "GET");
    post.problem(405, "method-not-allowed");
    engine.delete(&path).await.problem(400, "bad-request");
    hub.assert_no_events().await;
    wait_for_connections(&engine, "deployments", 1).await;
    drop(hub);
    wait_for_connections(&engine, "deployments", 0).await;
    rejected_upgrade(&engine, &path)
        .await
        .problem(404, "unknown-connection");
    engine.stop().await;
}

#[tokio::test]
async fn connections_of_other_users_look_unknown() {
    let engine = start().await;
    let ada = engine.signed("ada", Role::Viewer);
    let bob = engine.signed("bob", Role::Admin);
    let response = negotiate(&ada, DEPLOYMENTS, "negotiateVersion=1").await;
    let id = response["connectionToken"].as_str().unwrap();
    let detail = async |client: &Client, hub: &str, id: &str| {
        let response = rejected_upgrade(client, &format!("{hub}?id={id}")).await;
        response.problem(404, "unknown-connection")["detail"].clone()
    };
    let unknown = detail(&bob, DEPLOYMENTS, "AAAAAAAAAAAAAAAAAAAAAAAA").await;
    assert_eq!(detail(&bob, DEPLOYMENTS, id).await, unknown);
    // The same for a connection of another hub.
    assert_eq!(detail(&ada, METRICS, id).await, unknown);
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let path = format!("{DEPLOYMENTS}?id={id}");
        let answer = bob.send(method, &path, |it| it).await;
        answer.problem(404, "unknown-connection");
    }
    let mut hub = HubClient::connect(&ada, &format!("{DEPLOYMENTS}?id={id}")).await;
    hub.assert_no_events().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_rejected_handshake_is_answered_and_closes_the_connection() {
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
            let mut hub = HubClient::new(SocketClient::open(&engine, hub).await);
            hub.send(&handshake).await;
            assert_eq!(hub.message().await, Ok(json!({"error": error})));
            assert_eq!(hub.message().await, Err(Some(1000)));
        }
    }
    wait_for_connections(&engine, "deployments", 0).await;
    wait_for_connections(&engine, "metrics", 0).await;
    engine.stop().await;
}

#[tokio::test]
async fn silent_clients_time_out() {
    let soon = Duration::from_millis(200);
    let engine = start_with(|config| {
        config.live.hubs.handshake_timeout = soon;
        config.live.hubs.client_timeout = soon;
        config.live.hubs.keep_alive_interval = soon;
    })
    .await;
    let mut without_handshake = HubClient::new(SocketClient::open(&engine, DEPLOYMENTS).await);
    let with_handshake = HubClient::connect(&engine, DEPLOYMENTS).await;
    let (_, close, code) = with_handshake.until_closed().await;
    assert_eq!((&close["allowReconnect"], code), (&json!(true), Some(1000)));
    let error = close["error"].as_str().unwrap();
    assert!(error.contains("sent nothing"), "{error}");
    assert!(without_handshake.message().await.is_err());
    wait_for_connections(&engine, "deployments", 0).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_shutdown_asks_clients_to_reconnect_and_waits_at_most_the_grace_period() {
    let grace = Duration::from_millis(300);
    let engine = start_with(|config| {
        config.limits = Limits {
            grace,
            ..Limits::default()
        };
    })
    .await;
    let deployment = ManualDeployment::start(&engine).await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let subscribed = hub.invoke(SUBSCRIBE, deployment.arguments());
    subscribed.await.unwrap();
    let metrics = HubClient::connect(&engine, METRICS).await;
    let unresponsive = HubClient::connect(&engine, DEPLOYMENTS).await;
    let client = engine.client.clone();
    let started = Instant::now();
    let stop = async {
        engine.stop().await;
        started.elapsed()
    };
    let (elapsed, hub, metrics) = tokio::join!(stop, hub.until_closed(), metrics.until_closed());
    let close = json!({"type": 7, "allowReconnect": true});
    let expected = (vec![], close, Some(1000));
    assert_eq!((hub, metrics), (expected.clone(), expected));
    assert!(
        grace <= elapsed && elapsed < grace + Duration::from_secs(5),
        "{elapsed:?}"
    );
    drop(unresponsive);
    let again = reqwest::get(format!("{}{DEPLOYMENTS}", client.base)).await;
    assert!(again.is_err(), "{again:?}");
}

#[tokio::test]
async fn all_connections_end_when_the_server_is_killed() {
    let engine = start().await;
    let deployment = ManualDeployment::start(&engine).await;
    let mut hub = HubClient::connect(&engine, DEPLOYMENTS).await;
    let subscribed = hub.invoke(SUBSCRIBE, deployment.arguments());
    subscribed.await.unwrap();
    let mut socket =
        SocketClient::open(&engine, &format!("{}/socket", deployment.events_path())).await;
    let mut sse = SseClient::open(&engine, &deployment.events_path(), None).await;
    for expected in ["requested", "live"] {
        let (message, event) = (socket.message().await.unwrap(), sse.event().await.unwrap());
        let of_socket = message["body"]["type"].as_str();
        let of_sse = event.data["body"]["type"].as_str();
        assert_eq!(of_socket.unwrap_or("live"), expected);
        assert_eq!(of_sse.unwrap_or(&event.name), expected);
    }
    engine.kill().await;
    let killed = Instant::now();
    assert!(hub.message().await.is_err());
    assert_eq!(sse.event().await, None);
    assert!(socket.message().await.is_err());
    // They end at once, not at the next heartbeat.
    assert!(killed.elapsed() < Duration::from_secs(10));
}
