//! Artifacts that take long to fetch.

use std::fs;
use std::path::PathBuf;

use hotswap_guests::{HELLO_V1, HELLO_V2};
use hotswap_protocol::Version;

use crate::fixture::*;

const HALF: usize = 500_000;

/// Pushes a version of a million bytes, of which only the first half passes.
fn push_large(node: &TestNode, name: &str) -> Version {
    node.engine.open_line(HALF);
    let component = unique_component(HELLO_V2, name, 2 * HALF);
    node.engine.push("2.0.0", &component)
}

/// Polls the order to stage a version until what the engine lets pass has arrived.
async fn stage_half(node: &TestNode, operation: &str, version: &Version) {
    wait_until("half of the artifact has arrived", async || {
        let (status, body) = node.poll_order(operation, &stage(version)).await;
        assert_eq!(status, 202, "{body}");
        assert_eq!(body["phase"], "fetching");
        body["receivedBytes"] == HALF && body["totalBytes"].as_u64() > Some(1_000_000)
    })
    .await;
}

/// What has arrived of an artifact.
fn partial_file(node: &TestNode, version: &Version) -> PathBuf {
    let hex = version.digest.trim_start_matches("sha256:");
    node.folder.path().join(format!("artifacts/{hex}.partial"))
}

async fn wait_for_stage(node: &TestNode, operation: &str, version: &Version) {
    wait_until("the version is staged", async || {
        node.poll_order(operation, &stage(version)).await.0 == 204
    })
    .await;
    assert_eq!(node.status().await.staged.as_ref(), Some(version));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_takes_long_says_how_far_it_is_and_is_fetched_once() {
    let node = TestNode::start().await;
    let version = push_large(&node, "once");
    stage_half(&node, "s", &version).await;
    // An engine that has taken over sends the same order with a higher fence.
    let mut higher = order(7, &stage(&version));
    higher.wait_millis = Some(1);
    assert_eq!(node.send("s", higher, &[]).await.0, 202);
    assert_eq!(node.status().await.fence, 7);
    node.engine.open_line(usize::MAX);
    let (status, body) = node.send_order("s", 7, &stage(&version)).await;
    assert_eq!(status, 204, "{body}");
    assert_eq!(node.engine.fetched_from(), [0]);
    assert_eq!(node.status().await.fence, 7);
    let (status, body) = node.send_order("s", 7, &settle()).await;
    assert_eq!(status, 422, "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_goes_on_where_the_line_was_cut() {
    let node = TestNode::start().await;
    let version = push_large(&node, "cut");
    stage_half(&node, "s", &version).await;
    node.engine.cut_line();
    node.engine.open_line(usize::MAX);
    wait_for_stage(&node, "s", &version).await;
    assert_eq!(node.engine.fetched_from(), [0, HALF]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_goes_on_after_a_restart_and_damage_is_fetched_anew() {
    for damages in [false, true] {
        let node = TestNode::start().await;
        let version = push_large(&node, &format!("restart {damages}"));
        stage_half(&node, "s", &version).await;
        if damages {
            let partial = partial_file(&node, &version);
            let mut bytes = fs::read(&partial).unwrap();
            bytes[7] ^= 1;
            fs::write(&partial, bytes).unwrap();
        }
        let node = node.restart().await;
        node.engine.open_line(usize::MAX);
        wait_for_stage(&node, "s", &version).await;
        let fetched_from = node.engine.fetched_from();
        if damages {
            assert_eq!(fetched_from, [0, HALF, 0]);
        } else {
            assert_eq!(fetched_from, [0, HALF]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revert_does_not_wait_for_a_fetch_which_goes_on_with_the_next_order() {
    let node = TestNode::start().await;
    let v1 = node.activate("1.0.0", HELLO_V1).await;
    let version = push_large(&node, "revert");
    let client = node.client.clone();
    let url = node.control_url(&format!("/v1/modules/{MODULE}/operations/s"));
    let waiting = client.put(url).bearer_auth(TOKEN);
    let waiting = waiting.json(&order(1, &stage(&version)));
    let waiting = tokio::spawn(waiting.send());
    wait_until("half of the artifact has arrived", async || {
        let partial = fs::metadata(partial_file(&node, &version));
        partial.is_ok_and(|partial| partial.len() == HALF as u64)
    })
    .await;
    // The fetch is stuck, and nothing else ends it.
    node.apply(&revert(Some(&v1))).await;
    let superseded = waiting.await.unwrap().unwrap();
    assert_eq!(superseded.status(), 409);
    assert!(
        superseded
            .text()
            .await
            .unwrap()
            .contains("problem:superseded")
    );
    assert_eq!(node.status().await.staged, None);
    assert_eq!(node.get("/").await.1, "hello from v1: /\n");

    node.engine.open_line(usize::MAX);
    wait_for_stage(&node, "again", &version).await;
    let fetched_from = node.engine.fetched_from();
    assert_eq!(fetched_from.last(), Some(&HALF), "{fetched_from:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_is_given_up_when_no_byte_arrives() {
    let node = TestNode::start().await;
    let version = push_large(&node, "stall");
    let mut order = order(1, &stage(&version));
    order.stall_millis = Some(500);
    let (status, body) = node.send("s", order, &[]).await;
    assert_eq!(status, 503, "{body}");
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("500000 bytes have arrived"), "{detail}");
}
