use std::time::Duration;

use hyper::Method;
use serde_json::json;

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_registers_sends_heartbeats_and_registers_again_when_unknown() {
    let engine = FakeEngine::start().await;
    let mut requests = engine.subscribe();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &engine);
    config.advertise = Some("node.example".to_owned());
    let node = hotswap_node::Node::start_with(runtime(), config)
        .await
        .unwrap();

    let mut next_request = async || {
        let next = tokio::time::timeout(Duration::from_secs(10), requests.recv());
        next.await.unwrap().unwrap()
    };
    let registration = next_request().await;
    assert_eq!(
        (registration.method, &*registration.path),
        (Method::PUT, "/api/v1/nodes/node-1")
    );
    let expected = json!({
        "environment": "testing",
        "zone": "here",
        "labels": { "rack": "7" },
        "controlUrl": format!("http://node.example:{}", node.control_addr().port()),
        "dataUrl": format!("http://node.example:{}", node.data_addr().port()),
        "highestFence": 0,
    });
    assert_eq!(registration.body, expected);
    let heartbeat = next_request().await;
    assert_eq!(
        (heartbeat.method, &*heartbeat.path),
        (Method::POST, "/api/v1/nodes/node-1/heartbeat")
    );
    assert_eq!(
        heartbeat.body,
        json!({ "health": "passing", "highestFence": 0 })
    );

    engine.forget_node();
    while next_request().await.method != Method::PUT {}
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_without_its_engine_and_retries() {
    let engine = FakeEngine::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &engine);
    // An address where nothing listens yet.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = closed.local_addr().unwrap();
    drop(closed);
    config.engine_url = Some(format!("http://{addr}/"));
    let node = hotswap_node::Node::start_with(runtime(), config)
        .await
        .unwrap();
    let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
    let accepted = tokio::time::timeout(Duration::from_secs(20), listener.accept()).await;
    assert!(accepted.is_ok(), "no retry");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_engine_url_is_rejected_at_the_start() {
    let engine = FakeEngine::start().await;
    for url in ["engine:5000", "ftp://engine", "https://engine", ""] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &engine);
        config.engine_url = Some(url.to_owned());
        let error = hotswap_node::Node::start_with(runtime(), config)
            .await
            .unwrap_err();
        assert!(
            matches!(error, hotswap_node::Error::EngineUrl(_)),
            "{url}: {error}"
        );
    }
}
