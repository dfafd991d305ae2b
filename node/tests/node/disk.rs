use std::fs;
use std::path::PathBuf;

use hotswap_guests::{HELLO_V1, HELLO_V2, MODULE_PROBE};
use hotswap_node::{Node, Runtime};

use crate::fixture::*;

fn files(folder: PathBuf) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_restores_the_slots() {
    let node = TestNode::start().await;
    node.activate("1.0.0", HELLO_V1).await;
    let v2 = node.engine.push("2.0.0", HELLO_V2);
    node.apply(&stage(&v2)).await;
    node.apply(&shift(&v2, 100)).await;
    let before = node.status().await;
    let fetches = node.engine.fetches();

    let node = node.restart().await;
    let after = node.status().await;
    assert_eq!(node.get("/").await.1, "hello from v2: /\n");
    assert_ne!(before.boot, after.boot);
    assert_eq!((before.active, before.staged), (after.active, after.staged));
    assert_eq!((before.percent, before.fence), (after.percent, after.fence));
    node.apply(&promote(&v2)).await;
    let node = node.restart().await;
    assert_eq!(node.status().await.active, Some(v2));
    assert_eq!(node.engine.fetches(), fetches, "all was on disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_machine_code_is_compiled_again() {
    let compiled = tempfile::tempdir().unwrap();
    let node = TestNode::start().await;
    let node = node
        .restart_with(Runtime::new(compiled.path()).unwrap())
        .await;
    node.activate("1.0.0", HELLO_V1).await;
    let file = &files(compiled.path().to_owned())[0];
    let good = fs::read(file).unwrap();
    for position in [good.len() / 2, good.len() - 1, 0, 40] {
        let mut damaged = good.clone();
        damaged[position] ^= 1;
        fs::write(file, &damaged).unwrap();
        let runtime = Runtime::new(compiled.path()).unwrap();
        let other = TestNode::start_on(runtime, node.engine.clone()).await;
        other.activate("1.0.0", HELLO_V1).await;
        assert_eq!(other.get("/").await.1, "hello from v1: /\n");
        assert!(fs::read(file).unwrap() != damaged, "byte {position}");
        other.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_artifact_is_fetched_again() {
    let node = TestNode::start().await;
    node.activate("1.0.0", HELLO_V1).await;
    let artifact = &files(node.folder.path().join("artifacts"))[0];
    fs::write(artifact, b"junk").unwrap();
    let compiled = tempfile::tempdir().unwrap();
    let node = node
        .restart_with(Runtime::new(compiled.path()).unwrap())
        .await;
    assert_eq!(node.get("/").await.1, "hello from v1: /\n");
    assert_eq!(fs::read(artifact).unwrap(), HELLO_V1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_counts_until_the_module_is_deployed_again() {
    let node = TestNode::start().await;
    let v1 = node.activate("1.0.0", HELLO_V1).await;
    let record = node.folder.path().join(format!("modules/{MODULE}.json"));
    fs::write(&record, b"{\"slots\":").unwrap();
    let sound = node.folder.path().join("modules/sound.json");
    fs::write(&sound, br#"{"slots":{"active":null,"staged":null,"previous":null,"percent":0},"fence":1,"operations":[],"recent":[]}"#).unwrap();
    let mut requests = node.engine.subscribe();
    let mut next_health = async |health: &str| {
        loop {
            let request = requests.recv().await.unwrap();
            if request.path.ends_with("/heartbeat") && request.body["health"] == health {
                break request.body;
            }
        }
    };
    // Not forgotten by another restart.
    let node = node.restart().await.restart().await;
    let heartbeat = next_health("warning").await;
    let reason = heartbeat["reason"].as_str().unwrap();
    assert!(
        reason.contains("the record of module hello was damaged"),
        "{reason}"
    );
    let (status, body) = node.readiness().await;
    assert_eq!(status, 503);
    assert!(body.contains("module hello"), "{body}");
    assert!(record.with_extension("damaged").exists());

    node.apply(&stage(&v1)).await;
    node.apply(&promote(&v1)).await;
    next_health("passing").await;
    assert_eq!(node.readiness().await.0, 200);
    let node = node.restart().await;
    next_health("passing").await;
    assert_eq!(node.get("/").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_that_cannot_be_loaded_at_the_start_is_loaded_later() {
    let node = TestNode::start().await;
    let component = unique_component(MODULE_PROBE, "late", 0);
    let version = node.activate("1.0.0", &component).await;
    fs::remove_file(&files(node.folder.path().join("artifacts"))[0]).unwrap();
    node.engine.put(&version.digest, b"not now");
    let compiled = tempfile::tempdir().unwrap();
    let node = node
        .restart_with(Runtime::new(compiled.path()).unwrap())
        .await;
    assert_eq!(node.get("/fine").await.0, 503);
    assert_eq!(node.status().await.active, Some(version.clone()));
    node.engine.put(&version.digest, &component);
    wait_until("the module is loaded", async || {
        node.get("/fine").await.0 == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_artifacts_are_removed() {
    let node = TestNode::start().await;
    let mut versions = Vec::new();
    for number in 0..8_u8 {
        // A custom section makes each component different.
        let mut component = HELLO_V1.to_vec();
        component.extend_from_slice(&[0, 2, 1, b'a' + number]);
        versions.push(node.activate(&format!("1.0.{number}"), &component).await);
        node.apply(&settle()).await;
    }
    let remaining = files(node.folder.path().join("artifacts"));
    assert_eq!(remaining.len(), 6, "the active one and five before it");
    let fetches = node.engine.fetches();
    node.apply(&revert(Some(&versions[2]))).await;
    assert_eq!(
        node.engine.fetches(),
        fetches,
        "a rollback needs no transfer"
    );
    node.apply(&revert(Some(&versions[0]))).await;
    assert_eq!(node.engine.fetches(), fetches + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_cannot_share_a_data_directory() {
    let node = TestNode::start().await;
    let config = config(node.folder.path(), &node.engine);
    let error = Node::start_with(runtime(), config).await.unwrap_err();
    assert!(
        matches!(error, hotswap_node::Error::DataDirInUse(_)),
        "{error}"
    );
}
