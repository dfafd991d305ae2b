use std::time::Duration;

use hyper::{Method, StatusCode};
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
    let mut body = registration.body;
    let boot = body["boot"].clone();
    assert_eq!(boot.as_str().unwrap().len(), 16);
    let instance = body["instance"].take();
    assert_eq!(instance.as_str().unwrap().len(), 32);
    let expected = json!({
        "environment": "testing",
        "zone": "here",
        "labels": { "rack": "7" },
        "controlUrl": format!("http://node.example:{}", node.control_addr().port()),
        "dataUrl": format!("http://node.example:{}", node.data_addr().port()),
        "highestFence": 0,
        "boot": boot,
        "instance": null,
        "modules": [],
    });
    assert_eq!(body, expected);
    let heartbeat = next_request().await;
    assert_eq!(
        (heartbeat.method, &*heartbeat.path),
        (Method::POST, "/api/v1/nodes/node-1/heartbeat")
    );
    let beat = json!({
        "health": "passing",
        "highestFence": 0,
        "boot": boot,
        "controlUrl": expected["controlUrl"],
        "dataUrl": expected["dataUrl"],
        "modules": [],
        "readiness": { "ready": true, "inFlight": 0 },
        "traffic": {
            "received": 0,
            "malformed": 0,
            "unroutable": 0,
            "client": { "left": 0, "slowUploads": 0, "slowReaders": 0 },
        },
    });
    assert_eq!(heartbeat.body, beat);

    engine.forget_node();
    while next_request().await.method != Method::PUT {}
    node.shutdown().await;
    let last = loop {
        let request = next_request().await;
        if request.body["health"] == "stopping" {
            break request.body;
        }
    };
    assert_eq!(last["boot"], boot, "its id is free at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_has_another_boot_id_and_the_same_instance_key() {
    let mut node = TestNode::start().await;
    let mut requests = node.engine.subscribe();
    let mut registrations = Vec::new();
    for _ in 0..2 {
        node = node.restart().await;
        let registration = loop {
            let request = requests.recv().await.unwrap();
            if request.method == Method::PUT {
                break request.body;
            }
        };
        registrations.push(registration);
    }
    let [first, second] = &registrations[..] else {
        panic!("{registrations:?}");
    };
    assert_eq!(first["instance"], second["instance"]);
    assert_ne!(first["boot"], second["boot"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_id_is_taken_tries_again_until_it_is_free() {
    let node = TestNode::start().await;
    let taken = json!({ "detail": "the id is held by another node" });
    for method in [Method::PUT, Method::POST] {
        node.engine
            .answer_next(method, StatusCode::CONFLICT, taken.clone());
    }
    let mut requests = node.engine.subscribe();
    while requests.recv().await.unwrap().method != Method::PUT {}
    while requests.recv().await.unwrap().method != Method::PUT {}
    let accepted = json!({ "heartbeatMillis": 100 });
    node.engine
        .answer_next(Method::PUT, StatusCode::OK, accepted);
    while requests.recv().await.unwrap().method != Method::POST {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_all_addresses_registers_the_one_by_which_it_reaches_its_engine() {
    let engine = FakeEngine::start().await;
    let mut requests = engine.subscribe();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &engine);
    config.control_addr = "0.0.0.0:0".parse().unwrap();
    config.data_addr = "0.0.0.0:0".parse().unwrap();
    let node = hotswap_node::Node::start_with(runtime(), config)
        .await
        .unwrap();
    let registration = requests.recv().await.unwrap().body;
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    assert_eq!(registration["controlUrl"], url(node.control_addr().port()));
    assert_eq!(registration["dataUrl"], url(node.data_addr().port()));
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_nobody_can_reach_is_rejected_at_the_start() {
    let engine = FakeEngine::start().await;
    for host in ["0.0.0.0", "[::]", "host:80"] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &engine);
        config.advertise = Some(host.to_owned());
        let error = hotswap_node::Node::start_with(runtime(), config)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("--advertise"), "{error}");
    }
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
    for url in ["engine:5000", "ftp://engine", ""] {
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
