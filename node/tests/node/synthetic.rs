//! Requests that a node sends to its own versions.

use hotswap_guests::{HELLO_V1, HELLO_V2};
use hotswap_node::Limits;
use serde_json::{Value, json};

use crate::fixture::*;

fn request(version: &Value, rate: f64, lasting: u64) -> Value {
    json!({
        "version": version, "toVersion": true, "toOthers": true, "path": "/",
        "ratePerSecond": rate, "lastingMillis": lasting,
    })
}

async fn ask(node: &TestNode, body: &Value) -> u16 {
    let url = node.control_url("/v1/modules/hello/synthetic");
    let request = node.client.post(url).bearer_auth(TOKEN).json(body);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_sends_requests_to_both_versions_until_their_time_is_over() {
    let node = TestNode::start_with(Limits::default()).await;
    node.activate("1.0.0", HELLO_V1).await;
    let new = node.engine.push("2.0.0", HELLO_V2);
    node.apply(&stage(&new)).await;
    let wire = wire_version(&new);
    assert_eq!(ask(&node, &request(&wire, 100.0, 3_600_000)).await, 204);
    let sent = async || -> Vec<u64> {
        let status = node.status().await;
        status.versions.iter().map(|one| one.synthetic).collect()
    };
    wait_until("both versions get requests", async || {
        let sent = sent().await;
        sent.len() == 2 && sent.iter().all(|&sent| sent > 5)
    })
    .await;
    // Both get the same number, whatever share of the clients' requests they have.
    let status = node.status().await;
    let counts: Vec<_> = status.versions.iter().map(|one| one.synthetic).collect();
    assert!(counts[0].abs_diff(counts[1]) <= 1, "{counts:?}");
    // Asked again for no time, it ends.
    assert_eq!(ask(&node, &request(&wire, 100.0, 0)).await, 204);
    wait_until("every request is answered and counted", async || {
        let status = node.status().await;
        let answered = |one: &hotswap_protocol::VersionStatus| one.requests == one.synthetic;
        status.versions.iter().all(answered) && status.received == status.finished
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_checks_what_it_is_asked_to_send() {
    let node = TestNode::start_with(Limits::default()).await;
    let version = node.activate("1.0.0", HELLO_V1).await;
    let wire = wire_version(&version);
    for rate in [0.0, -1.0, 1e9] {
        assert_eq!(ask(&node, &request(&wire, rate, 1000)).await, 400, "{rate}");
    }
    let mut elsewhere = request(&wire, 1.0, 1000);
    elsewhere["path"] = json!("http://elsewhere/");
    assert_eq!(ask(&node, &elsewhere).await, 400);
    let url = node.control_url("/v1/modules/other/synthetic");
    let other = node.client.post(url).bearer_auth(TOKEN);
    let other = other.json(&request(&wire, 1.0, 1000)).send().await.unwrap();
    assert_eq!(other.status().as_u16(), 404);
}
