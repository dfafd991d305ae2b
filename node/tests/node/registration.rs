use std::time::Duration;

use hyper::Method;
use serde_json::json;

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_registers_reports_in_and_registers_again_when_forgotten() {
    let engine = Engine::start().await;
    let mut heard = engine.listen();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &engine);
    config.advertise = Some("node.example".to_owned());
    let node = hotswap_node::Node::start_with(runtime(), config)
        .await
        .unwrap();

    let mut next = async || {
        let next = tokio::time::timeout(Duration::from_secs(10), heard.recv());
        next.await.unwrap().unwrap()
    };
    let registration = next().await;
    assert_eq!(
        (registration.method, &*registration.path),
        (Method::PUT, "/api/v1/nodes/node-1")
    );
    let wanted = json!({
        "environment": "testing",
        "zone": "here",
        "labels": { "rack": "7" },
        "controlUrl": format!("http://node.example:{}", node.control_addr().port()),
        "dataUrl": format!("http://node.example:{}", node.data_addr().port()),
    });
    assert_eq!(registration.body, wanted);
    let heartbeat = next().await;
    assert_eq!(
        (heartbeat.method, &*heartbeat.path),
        (Method::POST, "/api/v1/nodes/node-1/heartbeat")
    );
    assert_eq!(heartbeat.body, json!({ "health": "passing" }));

    engine.forget();
    while next().await.method != Method::PUT {}
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_without_its_engine_and_finds_it_later() {
    let engine = Engine::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &engine);
    // Nothing listens there any more.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = gone.local_addr().unwrap();
    drop(gone);
    config.engine_url = Some(format!("http://{addr}/"));
    let node = hotswap_node::Node::start_with(runtime(), config)
        .await
        .unwrap();
    let late = tokio::net::TcpListener::bind(addr).await.unwrap();
    let found = tokio::time::timeout(Duration::from_secs(20), late.accept()).await;
    assert!(found.is_ok(), "it tries on");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_that_is_none_is_refused_at_the_start() {
    let engine = Engine::start().await;
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
