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
async fn a_node_comes_back_as_it_was() {
    let bed = Bed::new().await;
    bed.run("1.0.0", HELLO_V1).await;
    let v2 = bed.engine.push("2.0.0", HELLO_V2);
    bed.done(&stage(&v2)).await;
    bed.done(&shift(&v2, 100)).await;
    let before = bed.status().await;
    let fetched = bed.engine.fetches();

    let bed = bed.restart().await;
    let after = bed.status().await;
    assert_eq!(bed.get("/").await.1, "hello from v2: /\n");
    assert_ne!(before.boot, after.boot);
    assert_eq!((before.active, before.staged), (after.active, after.staged));
    assert_eq!((before.percent, before.fence), (after.percent, after.fence));
    bed.done(&promote(&v2)).await;
    let bed = bed.restart().await;
    assert_eq!(bed.status().await.active, Some(v2));
    assert_eq!(bed.engine.fetches(), fetched, "all was on disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_machine_code_is_compiled_again() {
    let compiled = tempfile::tempdir().unwrap();
    let bed = Bed::new().await;
    let bed = bed
        .restart_with(Runtime::new(compiled.path()).unwrap())
        .await;
    bed.run("1.0.0", HELLO_V1).await;
    let file = &files(compiled.path().to_owned())[0];
    let good = fs::read(file).unwrap();
    for damage in [good.len() / 2, good.len() - 1, 0, 40] {
        let mut bad = good.clone();
        bad[damage] ^= 1;
        fs::write(file, &bad).unwrap();
        let runtime = Runtime::new(compiled.path()).unwrap();
        let node = Node::start_with(
            runtime,
            config(&bed.folder.path().join("other"), &bed.engine),
        );
        let other = Bed {
            node: node.await.unwrap(),
            engine: bed.engine.clone(),
            folder: tempfile::tempdir().unwrap(),
            client: bed.client.clone(),
        };
        other.run("1.0.0", HELLO_V1).await;
        assert_eq!(other.get("/").await.1, "hello from v1: /\n");
        assert!(fs::read(file).unwrap() != bad, "byte {damage}");
        other.node.shutdown().await;
        fs::remove_dir_all(bed.folder.path().join("other")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_artifact_is_fetched_again() {
    let bed = Bed::new().await;
    bed.run("1.0.0", HELLO_V1).await;
    let artifact = &files(bed.folder.path().join("artifacts"))[0];
    fs::write(artifact, b"junk").unwrap();
    let compiled = tempfile::tempdir().unwrap();
    let bed = bed
        .restart_with(Runtime::new(compiled.path()).unwrap())
        .await;
    assert_eq!(bed.get("/").await.1, "hello from v1: /\n");
    assert_eq!(fs::read(artifact).unwrap(), HELLO_V1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_does_not_stop_the_others() {
    let bed = Bed::new().await;
    bed.run("1.0.0", HELLO_V1).await;
    let broken = bed.folder.path().join("modules/broken.json");
    fs::write(&broken, b"{\"slots\":").unwrap();
    let mut heard = bed.engine.listen();
    let bed = bed.restart().await;
    assert_eq!(bed.get("/").await.0, 200);
    let ready = bed.client.get(bed.control("/health/ready")).send().await;
    let ready = ready.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("module broken"));
    let heartbeat = loop {
        let told = heard.recv().await.unwrap();
        if told.path.ends_with("/heartbeat") && told.body["health"] == "warning" {
            break told.body;
        }
    };
    assert!(
        heartbeat["reason"]
            .as_str()
            .unwrap()
            .contains("module broken")
    );
    assert!(bed.folder.path().join("modules/broken.damaged").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_loaded_at_the_start_is_loaded_later() {
    let bed = Bed::new().await;
    // Nobody else loads this one from this engine's memory or disk.
    let mut component = MODULE_PROBE.to_vec();
    component.extend_from_slice(b"\0\x05\x04late");
    let version = bed.run("1.0.0", &component).await;
    fs::remove_file(&files(bed.folder.path().join("artifacts"))[0]).unwrap();
    bed.engine.put(&version.digest, b"not now");
    let compiled = tempfile::tempdir().unwrap();
    let bed = bed
        .restart_with(Runtime::new(compiled.path()).unwrap())
        .await;
    assert_eq!(bed.get("/fine").await.0, 503);
    assert_eq!(bed.status().await.active, Some(version.clone()));
    bed.engine.put(&version.digest, &component);
    until("loaded", async || bed.get("/fine").await.0 == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_artifacts_are_removed() {
    let bed = Bed::new().await;
    let mut versions = Vec::new();
    for number in 0..8_u8 {
        // The same component with a custom section that tells them apart.
        let mut component = HELLO_V1.to_vec();
        component.extend_from_slice(&[0, 2, 1, b'a' + number]);
        versions.push(bed.run(&format!("1.0.{number}"), &component).await);
        bed.done(&settle()).await;
    }
    let kept = files(bed.folder.path().join("artifacts"));
    assert_eq!(kept.len(), 6, "the active one and five before it");
    let fetched = bed.engine.fetches();
    bed.done(&revert(Some(&versions[2]))).await;
    assert_eq!(
        bed.engine.fetches(),
        fetched,
        "a rollback needs no transfer"
    );
    bed.done(&revert(Some(&versions[0]))).await;
    assert_eq!(bed.engine.fetches(), fetched + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_serves_one_node() {
    let bed = Bed::new().await;
    let config = config(bed.folder.path(), &bed.engine);
    let error = Node::start_with(runtime(), config).await.unwrap_err();
    assert!(matches!(error, hotswap_node::Error::InUse(_)), "{error}");
}
