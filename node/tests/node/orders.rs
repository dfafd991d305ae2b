use hotswap_guests::{CANARY, HELLO_V1, HELLO_V2, MODULE_PROBE};
use hotswap_protocol::Version;

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_move_a_version_through_the_slots() {
    let node = TestNode::start().await;
    let v1 = node.activate("1.0.0", HELLO_V1).await;
    assert_eq!(
        node.get("/x").await,
        (200, "hello from v1: /x\n".to_owned())
    );

    let v2 = node.engine.push("2.0.0", HELLO_V2);
    node.apply(&stage(&v2)).await;
    assert_eq!(node.get("/x").await.1, "hello from v1: /x\n");
    node.apply(&promote(&v2)).await;
    assert_eq!(node.get("/x").await.1, "hello from v2: /x\n");
    let status = node.status().await;
    assert_eq!(
        (status.active, status.previous),
        (Some(v2), Some(v1.clone()))
    );

    node.apply(&revert(Some(&v1))).await;
    assert_eq!(node.get("/x").await.1, "hello from v1: /x\n");
    node.apply(&settle()).await;
    let status = node.status().await;
    assert_eq!(
        (status.active, status.staged, status.previous),
        (Some(v1), None, None)
    );

    node.apply(&revert(None)).await;
    assert_eq!(node.get("/x").await.0, 503);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_is_carried_out_once_across_restarts() {
    let node = TestNode::start().await;
    let v1 = node.activate("1.0.0", HELLO_V1).await;
    let v2 = node.engine.push("2.0.0", HELLO_V2);
    node.apply(&stage(&v2)).await;
    assert_eq!(node.send_order("promote-v2", 1, &promote(&v2)).await.0, 204);
    node.apply(&revert(Some(&v1))).await;
    node.apply(&stage(&v2)).await;

    assert_eq!(node.send_order("promote-v2", 1, &promote(&v2)).await.0, 204);
    assert_eq!(
        node.status().await.active,
        Some(v1.clone()),
        "not carried out again"
    );
    let node = node.restart().await;
    assert_eq!(node.send_order("promote-v2", 1, &promote(&v2)).await.0, 204);
    assert_eq!(
        node.status().await.active,
        Some(v1),
        "not after a restart either"
    );

    let (status, body) = node.send_order("promote-v2", 1, &settle()).await;
    assert_eq!(status, 422);
    assert_eq!(body["type"], "urn:hotswap:problem:operation-reused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_operation_can_be_repeated() {
    let node = TestNode::start().await;
    let version = node.engine.push("1.0.0", HELLO_V1);
    assert_eq!(
        node.send_order("promote", 1, &promote(&version)).await.0,
        422
    );
    node.apply(&stage(&version)).await;
    assert_eq!(
        node.send_order("promote", 1, &promote(&version)).await.0,
        204
    );
    assert_eq!(node.status().await.active, Some(version));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lower_fence_is_rejected() {
    let node = TestNode::start().await;
    let v1 = node.activate("1.0.0", HELLO_V1).await;
    let v2 = node.engine.push("2.0.0", HELLO_V2);
    assert_eq!(node.send_order("new", 7, &stage(&v2)).await.0, 204);
    let (status, body) = node.send_order("old", 6, &promote(&v2)).await;
    assert_eq!(status, 409);
    assert_eq!(body["type"], "urn:hotswap:problem:fenced");
    assert!(
        body["detail"].as_str().unwrap().contains("fence 7"),
        "{body}"
    );
    assert_eq!(node.status().await.active, Some(v1));

    // A failed order raises the fence, too.
    assert_eq!(node.send_order("shift", 9, &shift(&v2, 10)).await.0, 204);
    let absent = Version {
        version: "9.0.0".to_owned(),
        ..v2.clone()
    };
    assert_eq!(
        node.send_order("failed", 11, &promote(&absent)).await.0,
        422
    );
    assert_eq!(node.send_order("older", 10, &promote(&v2)).await.0, 409);
    let node = node.restart().await;
    assert_eq!(node.send_order("older", 10, &promote(&v2)).await.0, 409);
    assert_eq!(node.status().await.fence, 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_that_cannot_run_are_rejected_with_the_reason() {
    let node = TestNode::start().await;
    let stage_rejected = async |bytes: &[u8]| {
        let version = node.engine.push("1.0.0", bytes);
        node.apply_rejected(422, "refused", &stage(&version)).await
    };
    let core = b"\0asm\x01\0\0\0";
    assert!(stage_rejected(core).await.contains("core module"));
    assert!(
        stage_rejected(b"#!/bin/sh")
            .await
            .contains("not a WebAssembly component")
    );
    let strategy = stage_rejected(CANARY).await;
    assert!(
        strategy.contains("import") && strategy.contains("hotswap:"),
        "{strategy}"
    );
    let empty = b"\0asm\x0d\0\x01\0";
    let empty = stage_rejected(empty).await;
    assert!(empty.contains("incoming-handler"), "{empty}");
    let half = &HELLO_V1[..HELLO_V1.len() / 2];
    assert!(stage_rejected(half).await.contains("compile"));

    let version = |version: &str, digest: &str| Version {
        version: version.to_owned(),
        digest: digest.to_owned(),
    };
    let digest = node.engine.push("1.0.0", HELLO_V1).digest;
    for (invalid, message) in [
        (version("one", &digest), "semantic version"),
        (version("1.0.0", "sha256:12"), "64 hexadecimal digits"),
        (
            version("1.0.0", "sha256:../../../etc"),
            "64 hexadecimal digits",
        ),
    ] {
        let detail = node.apply_rejected(422, "refused", &stage(&invalid)).await;
        assert!(detail.contains(message), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_artifact_with_the_wrong_digest_is_rejected() {
    let node = TestNode::start().await;
    let version = node.engine.push("1.0.0", HELLO_V1);
    node.engine.put(&version.digest, HELLO_V2);
    let detail = node.apply_rejected(422, "refused", &stage(&version)).await;
    assert!(detail.contains(&version.digest), "{detail}");
    node.engine.push("1.0.0", HELLO_V1);
    node.apply(&stage(&version)).await;

    let missing = Version {
        version: "1.0.0".to_owned(),
        digest: format!("sha256:{:064}", 7),
    };
    let detail = node.apply_rejected(422, "refused", &stage(&missing)).await;
    assert!(detail.contains("push the version first"), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_reaches_the_staged_or_the_active_version_and_is_not_counted() {
    let node = TestNode::start().await;
    let v2 = node.engine.push("2.0.0", HELLO_V2);
    node.apply(&stage(&v2)).await;
    let probe = async |version: &Version, path: &str| {
        let url = node.control_url(&format!("/v1/modules/{MODULE}/probe"));
        let body = serde_json::json!({
            "version": version, "path": path, "timeoutMillis": 5000
        });
        let request = node.client.post(url).bearer_auth(TOKEN).json(&body);
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<serde_json::Value>().await.unwrap())
    };
    let (status, response) = probe(&v2, "/health?deep").await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(response["status"], 200);
    assert_eq!(response["body"], "hello from v2: /health?deep\n");
    assert_eq!(node.counters().await.requests, 0);

    assert_eq!(probe(&v2, "health").await.0, 400);
    let v1 = node.engine.push("1.0.0", HELLO_V1);
    assert_eq!(
        probe(&v1, "/health").await.0,
        422,
        "neither staged nor active"
    );
    node.apply(&promote(&v2)).await;
    node.apply(&stage(&v2)).await;
    let (status, response) = probe(&v2, "/health").await;
    assert_eq!(
        (status, &response["status"]),
        (200, &200.into()),
        "it is active already"
    );
}

/// A version that is active can be loaded anew, to start as a new one does. Nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_active_version_is_restarted_without_losing_a_request() {
    let node = TestNode::start().await;
    let v1 = node.activate("1.0.0", MODULE_PROBE).await;
    let v2 = node.engine.push("2.0.0", HELLO_V2);
    node.apply(&stage(&v2)).await;
    let counted = async || {
        let versions = node.status().await.versions.into_iter();
        let mut versions = versions.filter(|counted| counted.version == v1);
        versions.next().unwrap()
    };
    let before = (node.status().await, counted().await);
    let (client, url) = (client(), node.data_url("/sleep/1500"));
    let in_flight = tokio::spawn(async move { client.get(url).send().await.unwrap().status() });
    wait_until("the request to be in flight", || async {
        counted().await.in_flight == 1
    })
    .await;

    assert_eq!(node.send_order("restart", 1, &restart(&v1)).await.0, 204);
    let now = counted().await;
    assert_eq!((now.loads, now.in_flight), (2, 1), "it goes on");
    assert_eq!(node.get("/x").await.0, 200);
    assert_eq!(in_flight.await.unwrap(), 200);
    wait_until("both to be counted", || async {
        counted().await.in_flight == 0
    })
    .await;
    let (status, now) = (node.status().await, counted().await);
    assert_eq!(status.active, before.0.active);
    assert_eq!(status.staged, before.0.staged);
    assert_eq!(now.generation, before.1.generation);
    assert_eq!((now.requests, now.errors, now.received), (2, 0, 2));

    assert_eq!(node.send_order("restart", 1, &restart(&v1)).await.0, 204);
    assert_eq!(counted().await.loads, 2, "once");
    let says = node.apply_rejected(422, "refused", &restart(&v2)).await;
    assert!(says.contains("version 1.0.0"), "{says}");
    node.shutdown().await;
}

/// The engine compares crashes with the time in which a version has served, over all starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_versions_have_served_outlasts_the_node() {
    let node = TestNode::start().await;
    let v1 = node.activate("1.0.0", HELLO_V1).await;
    let lifetime = async |node: &TestNode, version: &Version| {
        let status = node.status().await;
        let mut versions = status.versions.into_iter();
        let found = versions.find(|held| held.version == *version);
        found.expect("a version").lifetime
    };
    let first = lifetime(&node, &v1).await.expect("a lifetime");
    let node = node.restart().await;
    let v2 = node.engine.push("2.0.0", HELLO_V2);
    node.apply(&stage(&v2)).await;
    let later = lifetime(&node, &v1).await.expect("a lifetime");
    assert!(later.millis > first.millis, "{first:?} {later:?}");
    assert_eq!(later.crashes, 0, "it was shut down");
    assert_eq!(lifetime(&node, &v2).await, None, "it does not serve");
    node.apply(&promote(&v2)).await;
    let ended = lifetime(&node, &v1).await.expect("a lifetime");
    assert!(ended.millis >= later.millis, "{later:?} {ended:?}");
    assert_eq!(lifetime(&node, &v1).await, Some(ended), "it has ended");
    assert!(lifetime(&node, &v2).await.is_some());
    node.apply(&revert(Some(&v1))).await;
    let back = lifetime(&node, &v1).await.expect("a lifetime");
    assert!(back.millis >= ended.millis, "{ended:?} {back:?}");
    node.shutdown().await;
}
