//! Versions in slots that cannot be loaded any more.

use std::fs;

use hotswap_guests::{HELLO_V1, HELLO_V2};
use hotswap_node::Runtime;
use hotswap_protocol::{Slot, Version};

use crate::fixture::*;

/// Loses an artifact: the engine has deleted it, and so has the disk.
fn lose(node: &TestNode, version: &Version) {
    node.engine.delete(&version.digest);
    let hex = version.digest.trim_start_matches("sha256:");
    fs::remove_file(node.folder.path().join("artifacts").join(hex)).unwrap();
}

/// Restarts a node on a runtime that has nothing compiled.
async fn restart(node: TestNode) -> (TestNode, tempfile::TempDir) {
    let compiled = tempfile::tempdir().unwrap();
    let runtime = Runtime::new(compiled.path()).unwrap();
    (node.restart_with(runtime).await, compiled)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_cannot_be_loaded_blocks_neither_its_replacement_nor_a_revert() {
    let node = TestNode::start().await;
    let component = unique_component(HELLO_V1, "lost", 0);
    let old = node.activate("1.0.0", &component).await;
    lose(&node, &old);
    let (node, _compiled) = restart(node).await;
    assert_eq!(node.get("/").await.0, 503);

    let v2 = node.engine.push("2.0.0", HELLO_V2);
    node.apply(&stage(&v2)).await;
    // The rollout is given up: the node is as before.
    node.apply(&revert(Some(&old))).await;
    let status = node.status().await;
    assert_eq!(
        (&status.active, &status.staged),
        (&Some(old.clone()), &None)
    );
    let fault = &status.faults[0];
    assert_eq!((fault.slot, &fault.version), (Slot::Active, &old));
    assert!(fault.reason.contains("404"), "{}", fault.reason);

    node.apply(&stage(&v2)).await;
    node.apply(&promote(&v2)).await;
    assert_eq!(node.get("/x").await.1, "hello from v2: /x\n");
    let detail = node
        .apply_rejected(422, "refused", &revert(Some(&old)))
        .await;
    assert!(
        detail.starts_with("version 1.0.0 of module hello cannot be loaded: "),
        "{detail}"
    );
    assert_eq!(node.get("/x").await.0, 200, "still served by what it has");
    node.apply(&settle()).await;
    assert!(node.status().await.faults.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_staged_or_previous_version_leaves_the_active_one_running() {
    for slot in [Slot::Staged, Slot::Previous] {
        let node = TestNode::start().await;
        let good = node.engine.push("1.0.0", HELLO_V1);
        let component = unique_component(HELLO_V2, slot.as_str(), 0);
        let broken = node.engine.push("2.0.0", &component);
        let order = match slot {
            Slot::Previous => [&broken, &good],
            _ => [&good, &broken],
        };
        node.apply(&stage(order[0])).await;
        node.apply(&promote(order[0])).await;
        node.apply(&stage(order[1])).await;
        match slot {
            Slot::Previous => node.apply(&promote(order[1])).await,
            _ => node.apply(&shift(order[1], 50)).await,
        }
        lose(&node, &broken);
        let mut requests = node.engine.subscribe();
        let (node, _compiled) = restart(node).await;
        for _ in 0..4 {
            assert_eq!(node.get("/").await.1, "hello from v1: /\n", "{slot:?}");
        }
        let heartbeat = loop {
            let request = requests.recv().await.unwrap();
            if request.body["health"] == "warning" {
                break request.body;
            }
        };
        let reason = heartbeat["reason"].as_str().unwrap();
        let name = format!(
            "version 2.0.0 of module hello ({}) is not loaded: ",
            slot.as_str()
        );
        assert!(reason.starts_with(&name), "{reason}");
        let module = &heartbeat["modules"][0];
        assert_eq!(module["active"], wire_version(&good));
        assert_eq!(module["faults"][0]["slot"], slot.as_str());
        assert_eq!(node.readiness().await.0, 200, "{slot:?}");

        // What is mended is not complained about.
        node.engine.put(&broken.digest, &component);
        wait_until("all is loaded", async || {
            node.status().await.faults.is_empty()
        })
        .await;
        while requests.recv().await.unwrap().body["health"] != "passing" {}
    }
}
