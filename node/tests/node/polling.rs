//! What a node says to an engine that has found it in a registry.

use hotswap_common::Secret;
use hotswap_guests::HELLO_V1;
use hotswap_protocol::{Identity, NodeHealth, PollAnswer};
use serde_json::{Value, json};

use crate::fixture::*;

const CHALLENGE: &str = "0123456789abcdef";

/// A node that knows no engine.
async fn found_node() -> TestNode {
    TestNode::configured(|config| {
        config.engine_url = None;
        config.is_discovered = true;
    })
    .await
}

async fn identify(node: &TestNode, query: &str, id: &str) -> (u16, Value) {
    let url = node.control_url(&format!("/v1/identity{query}"));
    let answer = node.client.get(url).header("hotswap-node", id).send();
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

async fn poll(node: &TestNode, body: Value, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut request = node.client.post(node.control_url("/v1/poll")).json(&body);
    for &(name, value) in headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

fn bearer() -> (&'static str, String) {
    ("authorization", format!("Bearer {TOKEN}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_proves_who_and_where_it_is_without_a_token() {
    let node = found_node().await;
    let query = format!("?challenge={CHALLENGE}");
    let (status, body) = identify(&node, &query, "node-1").await;
    assert_eq!(status, 200, "{body}");
    let identity: Identity = serde_json::from_value(body).unwrap();
    let addr = node.control_addr().to_string();
    assert_eq!((&*identity.id, &identity.address), ("node-1", &addr));
    assert_eq!(identity.control_url, format!("http://{addr}"));
    let token = Secret::new(TOKEN);
    let is_proven = |identity: &Identity, challenge: &str| {
        token.is_proven_by(&identity.proof, identity.message(challenge).as_bytes())
    };
    assert!(is_proven(&identity, CHALLENGE));
    assert!(!is_proven(&identity, "fedcba9876543210"));
    assert!(!identity.stopping);
    let stopping = Identity {
        stopping: true,
        ..identity.clone()
    };
    assert!(!is_proven(&stopping, CHALLENGE));
    let elsewhere = Identity {
        address: "10.0.0.1:1".to_owned(),
        ..identity
    };
    assert!(!is_proven(&elsewhere, CHALLENGE));
    assert_eq!(identify(&node, &query, "node-2").await.0, 421);
    for bad in [
        "",
        "?challenge=short",
        &format!("?challenge={}", "x".repeat(200)),
    ] {
        assert_eq!(identify(&node, bad, "node-1").await.0, 400, "{bad}");
    }
    let line_break = "?challenge=0123456789abcdef%0Anode-2";
    assert_eq!(identify(&node, line_break, "node-1").await.0, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_found_node_waits_to_be_told_and_fetches_from_the_engine_that_asks() {
    let node = found_node().await;
    assert_eq!(node.readiness().await.0, 503);
    let (name, token) = bearer();
    let auth = (name, token.as_str());
    let (status, _) = poll(&node, json!({}), &[]).await;
    assert_eq!(status, 401, "only for who holds the token");
    let (status, body) = poll(&node, json!({}), &[auth]).await;
    assert_eq!(status, 200, "{body}");
    let answer: PollAnswer = serde_json::from_value(body).unwrap();
    assert_eq!(answer.registration.environment.as_deref(), Some("testing"));
    assert_eq!(answer.registration.labels["rack"], "7");
    let boot = answer.registration.boot.clone().unwrap();
    assert_eq!(answer.heartbeat.health, NodeHealth::Passing);
    let ready = |answer: &PollAnswer| answer.heartbeat.readiness.as_ref().unwrap().ready;
    assert!(!ready(&answer));

    let v1 = node.engine.push("1.0.0", HELLO_V1);
    let (_, refused) = node.send_order("early", 1, &stage(&v1)).await;
    let refused = refused["detail"].as_str().unwrap();
    assert!(refused.contains("no engine to fetch it from"), "{refused}");
    let told = json!({
        "engineUrl": node.engine.url(),
        "told": { "desired": { MODULE: { "version": wire_version(&v1) } } },
    });
    let for_start = [auth, ("hotswap-node", "node-1"), ("hotswap-boot", &*boot)];
    let (status, body) = poll(&node, told.clone(), &for_start).await;
    assert_eq!(status, 200, "{body}");
    node.apply(&stage(&v1)).await;
    node.apply(&promote(&v1)).await;
    let (_, body) = poll(&node, told.clone(), &for_start).await;
    let answer: PollAnswer = serde_json::from_value(body).unwrap();
    assert!(ready(&answer), "{answer:?}");
    let modules = answer.registration.modules.unwrap();
    assert_eq!(modules[0].active, Some(v1));
    let other_start = [auth, ("hotswap-node", "node-1"), ("hotswap-boot", "other")];
    assert_eq!(poll(&node, told, &other_start).await.0, 421);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_an_engine_of_its_own_keeps_that_one() {
    let node = TestNode::start().await;
    let (name, token) = bearer();
    let told = json!({ "engineUrl": "http://127.0.0.1:9" });
    let (status, body) = poll(&node, told, &[(name, &token)]).await;
    assert_eq!(status, 200, "{body}");
    node.activate("1.0.0", HELLO_V1).await;
}
