use hotswap_guests::{CANARY, HELLO_V1, HELLO_V2};
use hotswap_protocol::Version;

use crate::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_goes_through_the_slots() {
    let bed = Bed::new().await;
    let v1 = bed.run("1.0.0", HELLO_V1).await;
    assert_eq!(bed.get("/x").await, (200, "hello from v1: /x\n".to_owned()));

    let v2 = bed.engine.push("2.0.0", HELLO_V2);
    bed.done(&stage(&v2)).await;
    assert_eq!(bed.get("/x").await.1, "hello from v1: /x\n");
    bed.done(&promote(&v2)).await;
    assert_eq!(bed.get("/x").await.1, "hello from v2: /x\n");
    let status = bed.status().await;
    assert_eq!(
        (status.active, status.previous),
        (Some(v2), Some(v1.clone()))
    );

    bed.done(&revert(Some(&v1))).await;
    assert_eq!(bed.get("/x").await.1, "hello from v1: /x\n");
    bed.done(&settle()).await;
    let status = bed.status().await;
    assert_eq!(
        (status.active, status.staged, status.previous),
        (Some(v1), None, None)
    );

    bed.done(&revert(None)).await;
    assert_eq!(bed.get("/x").await.0, 503);
    bed.node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_is_carried_out_once_across_restarts() {
    let bed = Bed::new().await;
    let v1 = bed.run("1.0.0", HELLO_V1).await;
    let v2 = bed.engine.push("2.0.0", HELLO_V2);
    bed.done(&stage(&v2)).await;
    assert_eq!(bed.order("promote-v2", 1, &promote(&v2)).await.0, 204);
    bed.done(&revert(Some(&v1))).await;
    bed.done(&stage(&v2)).await;

    assert_eq!(bed.order("promote-v2", 1, &promote(&v2)).await.0, 204);
    assert_eq!(
        bed.status().await.active,
        Some(v1.clone()),
        "not done again"
    );
    let bed = bed.restart().await;
    assert_eq!(bed.order("promote-v2", 1, &promote(&v2)).await.0, 204);
    assert_eq!(
        bed.status().await.active,
        Some(v1),
        "not after a restart either"
    );

    let (status, body) = bed.order("promote-v2", 1, &settle()).await;
    assert_eq!(status, 422);
    assert_eq!(body["type"], "urn:hotswap:problem:operation-reused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_that_failed_may_be_repeated() {
    let bed = Bed::new().await;
    let version = bed.engine.push("1.0.0", HELLO_V1);
    assert_eq!(bed.order("promote", 1, &promote(&version)).await.0, 422);
    bed.done(&stage(&version)).await;
    assert_eq!(bed.order("promote", 1, &promote(&version)).await.0, 204);
    assert_eq!(bed.status().await.active, Some(version));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_fence_is_refused() {
    let bed = Bed::new().await;
    let v1 = bed.run("1.0.0", HELLO_V1).await;
    let v2 = bed.engine.push("2.0.0", HELLO_V2);
    assert_eq!(bed.order("new", 7, &stage(&v2)).await.0, 204);
    let (status, body) = bed.order("old", 6, &promote(&v2)).await;
    assert_eq!(status, 409);
    assert_eq!(body["type"], "urn:hotswap:problem:fenced");
    assert!(
        body["detail"].as_str().unwrap().contains("fence 7"),
        "{body}"
    );
    assert_eq!(bed.status().await.active, Some(v1));

    // What fails raises the fence too.
    assert_eq!(bed.order("unfit", 9, &shift(&v2, 10)).await.0, 204);
    let absent = Version {
        version: "9.0.0".to_owned(),
        ..v2.clone()
    };
    assert_eq!(bed.order("unfit-2", 11, &promote(&absent)).await.0, 422);
    assert_eq!(bed.order("older", 10, &promote(&v2)).await.0, 409);
    let bed = bed.restart().await;
    assert_eq!(bed.order("older", 10, &promote(&v2)).await.0, 409);
    assert_eq!(bed.status().await.fence, 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_run_is_refused_with_the_reason() {
    let bed = Bed::new().await;
    let refused = async |bytes: &[u8]| {
        let version = bed.engine.push("1.0.0", bytes);
        bed.refused(422, "refused", &stage(&version)).await
    };
    let core = b"\0asm\x01\0\0\0";
    assert!(refused(core).await.contains("core module"));
    assert!(refused(b"#!/bin/sh").await.contains("no WebAssembly"));
    let strategy = refused(CANARY).await;
    assert!(
        strategy.contains("import") && strategy.contains("hotswap:"),
        "{strategy}"
    );
    let empty = b"\0asm\x0d\0\x01\0";
    let empty = refused(empty).await;
    assert!(empty.contains("incoming-handler"), "{empty}");
    let half = &HELLO_V1[..HELLO_V1.len() / 2];
    assert!(refused(half).await.contains("compile"));

    let version = |version: &str, digest: &str| Version {
        version: version.to_owned(),
        digest: digest.to_owned(),
    };
    let digest = bed.engine.push("1.0.0", HELLO_V1).digest;
    for (bad, says) in [
        (version("one", &digest), "semantic version"),
        (version("1.0.0", "sha256:12"), "64 hexadecimal digits"),
        (
            version("1.0.0", "sha256:../../../etc"),
            "64 hexadecimal digits",
        ),
    ] {
        let detail = bed.refused(422, "refused", &stage(&bad)).await;
        assert!(detail.contains(says), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_artifact_that_was_changed_is_refused() {
    let bed = Bed::new().await;
    let version = bed.engine.push("1.0.0", HELLO_V1);
    bed.engine.put(&version.digest, HELLO_V2);
    let detail = bed.refused(422, "refused", &stage(&version)).await;
    assert!(detail.contains(&version.digest), "{detail}");
    bed.engine.push("1.0.0", HELLO_V1);
    bed.done(&stage(&version)).await;

    let missing = Version {
        version: "1.0.0".to_owned(),
        digest: format!("sha256:{:064}", 7),
    };
    let detail = bed.refused(422, "refused", &stage(&missing)).await;
    assert!(detail.contains("push the version first"), "{detail}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_asks_the_staged_version_and_is_not_counted() {
    let bed = Bed::new().await;
    let v2 = bed.engine.push("2.0.0", HELLO_V2);
    bed.done(&stage(&v2)).await;
    let probe = async |version: &Version, path: &str| {
        let url = bed.control(&format!("/v1/modules/{MODULE}/probe"));
        let body = serde_json::json!({
            "version": version, "path": path, "timeoutMillis": 5000
        });
        let request = bed.client.post(url).bearer_auth(TOKEN).json(&body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<serde_json::Value>().await.unwrap())
    };
    let (status, answer) = probe(&v2, "/health?deep").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["status"], 200);
    assert_eq!(answer["body"], "hello from v2: /health?deep\n");
    assert_eq!(bed.counters().await.requests, 0);

    assert_eq!(probe(&v2, "health").await.0, 400);
    bed.done(&promote(&v2)).await;
    assert_eq!(probe(&v2, "/health").await.0, 422, "not staged any more");
}
