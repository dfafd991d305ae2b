//! Artifacts in a bucket of a real server with the interface of Amazon S3.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::Digest;
use hotswap_store::{Blobs, Bucket};
use hotswap_tests::{
    Authority, BucketServer, ChildProcess, RedisKind, RedisServer, Replicas, tools,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const MIB: usize = 1 << 20;

/// An engine's artifacts, with a cache of its own.
async fn open(server: &BucketServer, prefix: &str) -> Result<(Blobs, TempDir)> {
    let folder = TempDir::new()?;
    let bucket = Bucket::open(&server.config(prefix)).await?;
    let blobs = Blobs::open_folder(folder.path(), 1 << 30).await?;
    Ok((blobs.shared_in(Arc::new(bucket)), folder))
}

async fn write(blobs: &Blobs, content: &[u8]) -> Result<Digest> {
    let mut writer = blobs.writer().await?;
    for part in content.chunks(MIB) {
        writer.write(part).await?;
    }
    Ok(writer.finish(None).await?)
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_share_blobs_of_every_size_in_a_bucket() -> Result<()> {
    let server = BucketServer::start().await?;
    let (here, _here) = open(&server, "production/artifacts").await?;
    let (there, there_folder) = open(&server, "production/artifacts").await?;
    let (other, _other) = open(&server, "").await?;
    let mut digests = Vec::new();
    // Around the size of a part.
    for size in [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 20 * MIB] {
        let content = content(size);
        let digest = write(&here, &content).await?;
        ensure!(
            there.read(digest).await?.as_ref() == Some(&content),
            "{size}"
        );
        // The same again.
        ensure!(write(&there, &content).await? == digest);
        digests.push(digest);
    }
    let mut listed: Vec<_> = there.list().await?;
    listed.sort_by_key(|blob| blob.size);
    let sizes: Vec<_> = listed.iter().map(|blob| blob.size as usize).collect();
    ensure!(
        sizes == [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 20 * MIB],
        "{sizes:?}"
    );
    ensure!(
        listed
            .iter()
            .all(|blob| blob.age < Duration::from_secs(600))
    );
    let objects = server.objects()?;
    let named = |digest: &Digest| format!("production/artifacts/{}", digest.hex());
    ensure!(
        digests
            .iter()
            .all(|digest| objects.contains(&named(digest))),
        "{objects:?}"
    );
    ensure!(server.parts()? == 0, "parts are left");

    // Another installation in the same bucket sees nothing of it.
    ensure!(other.list().await?.is_empty());
    ensure!(other.read(digests[1]).await?.is_none());
    // A damaged copy is fetched again.
    std::fs::write(there_folder.path().join(digests[3].hex()), "damaged")?;
    ensure!(there.read(digests[3]).await?.map(|read| read.len()) == Some(8 * MIB));

    ensure!(there.remove(digests[5]).await?);
    ensure!(!there.remove(digests[5]).await?);
    let (late, _late) = open(&server, "production/artifacts").await?;
    ensure!(late.read(digests[5]).await?.is_none());
    ensure!(late.open(digests[4]).await?.context("gone")?.size == 8 * MIB as u64 + 1);
    Ok(())
}

/// The uploads that end without an error of the server: their writer is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_cut_off_leaves_nothing() -> Result<()> {
    let mut server = BucketServer::start().await?;
    let (blobs, _folder) = open(&server, "").await?;
    let content = content(64 * MIB);
    let digest = Digest::of(&content);
    let mut writer = blobs.writer().await?;
    for part in content.chunks(MIB) {
        writer.write(part).await?;
    }
    let upload = tokio::spawn(writer.finish(None));
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.parts()? == 0 {
        ensure!(
            Instant::now() < deadline && !upload.is_finished(),
            "no part"
        );
        sleep(Duration::from_millis(1)).await;
    }
    upload.abort();
    ensure!(upload.await.is_err_and(|error| error.is_cancelled()));
    while server.parts()? > 0 {
        ensure!(Instant::now() < deadline, "parts are left");
        sleep(Duration::from_millis(20)).await;
    }
    ensure!(blobs.read(digest).await?.is_none());
    ensure!(server.objects()?.is_empty());

    // Without the server nothing is stored, and with it all is well again.
    server.kill().await?;
    ensure!(write(&blobs, b"small").await.is_err());
    ensure!(blobs.read(Digest::of(b"small")).await.is_err(), "not known");
    server.restart().await?;
    let digest = write(&blobs, b"small").await?;
    ensure!(blobs.read(digest).await?.as_deref() == Some(&b"small"[..]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_used_is_told_and_no_key_is_shown() -> Result<()> {
    let server = BucketServer::start().await?;
    let error = |config| async move {
        let opened = Bucket::open(&config).await;
        let error = anyhow::Error::new(opened.err().context("it opens")?);
        anyhow::Ok(format!("{error:#}"))
    };
    let mut no_such = server.config("");
    no_such.name = "no-such-bucket".to_owned();
    let text = error(no_such).await?;
    ensure!(
        text.contains("the bucket no-such-bucket cannot be listed"),
        "{text}"
    );
    let mut wrong_key = server.config("");
    let keys = wrong_key.keys.as_mut().context("no keys")?;
    keys.secret_key = hotswap_common::Secret::new("a-wrong-secret-key");
    let text = error(wrong_key).await?;
    ensure!(
        text.contains("check that it exists, and that the keys"),
        "{text}"
    );
    ensure!(!text.contains("a-wrong-secret-key"), "{text}");
    let mut wrong_prefix = server.config("");
    wrong_prefix.prefix = "a//b".to_owned();
    let text = error(wrong_prefix).await?;
    ensure!(text.contains("not configured right"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_over_https_is_trusted_by_its_authority_alone() -> Result<()> {
    let authority = Authority::new()?;
    let server = BucketServer::start_over_https(&authority).await?;
    let untrusted = Bucket::open(&server.config("")).await;
    ensure!(untrusted.is_err(), "nobody has vouched for it");
    let folder = TempDir::new()?;
    let mut config = server.config("");
    config.ca_file = Some(authority.write(folder.path(), "authority")?);
    let bucket = Bucket::open(&config).await?;
    let blobs = Blobs::open_folder(folder.path().join("blobs"), 1 << 20).await?;
    let blobs = blobs.shared_in(Arc::new(bucket));
    write(&blobs, b"over TLS").await?;
    ensure!(server.objects()? == [Digest::of(b"over TLS").hex()]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_with_a_bucket_keep_no_artifact_on_the_server_of_their_store() -> Result<()> {
    let bucket = BucketServer::start().await?;
    let server = RedisServer::start(RedisKind::Valkey)?;
    let store = (server.url(), bucket.artifacts());
    let replicas = Replicas::start_on((server, store), "production", (2, 2), &[]).await?;
    let id = replicas.deploy(0, "1.0.0", ("direct", json!({}))).await?;
    let ended = replicas.wait_for_end(1, &id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");
    // Three versions, and the built-in strategies.
    ensure!(bucket.objects()?.len() == 7, "{:?}", bucket.objects()?);
    let keys = replicas.server.command(&["KEYS", "*blob*"])?;
    ensure!(keys == "*0\r\n", "{keys}");
    Ok(())
}

/// What `hotswap store` says of the archive that it wrote or read.
async fn store_summary(replicas: &Replicas, arguments: &[&str]) -> Result<Value> {
    let mut command = tools::hotswap()?;
    command
        .current_dir(replicas.folder())
        .args(["store", "--json"])
        .args(arguments);
    let exit = ChildProcess::start(command)?.wait_for_exit().await?;
    ensure!(exit.code == Some(0), "{exit:?}");
    Ok(serde_json::from_str(&exit.stdout.join("\n"))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_moves_the_artifacts_into_the_bucket_of_the_new_configuration() -> Result<()> {
    let bucket = BucketServer::start().await?;
    let mut replicas = Replicas::start(RedisKind::Redis, 1, "production", 2).await?;
    let id = replicas.deploy(0, "1.0.0", ("direct", json!({}))).await?;
    let ended = replicas.wait_for_end(0, &id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");
    replicas.terminate_engine(0).await?;
    let export = ["export", "one", "--config", "engine-1.toml"];
    let exported = store_summary(&replicas, &export).await?;
    ensure!(bucket.objects()?.is_empty());

    let (url, artifacts) = (replicas.server.url(), bucket.artifacts());
    let store = format!("[store]\nurl = \"{url}\"\nkeyPrefix = \"moved\"\n{artifacts}");
    let file = replicas.write_config(1, &store)?;
    let imported = store_summary(&replicas, &["import", "one", "--config", &file]).await?;
    ensure!(imported == exported, "{imported}");
    // Three versions, and the built-in strategies.
    ensure!(bucket.objects()?.len() == 7, "{:?}", bucket.objects()?);
    let keys = replicas.server.command(&["KEYS", "{moved}:blob*"])?;
    ensure!(keys == "*0\r\n", "{keys}");

    let again = store_summary(&replicas, &["export", "two", "--config", &file]).await?;
    ensure!(again == exported, "{again}");
    // What the engine serves comes from the bucket, not from what the export has cached.
    std::fs::remove_dir_all(replicas.folder().join("engine-2"))?;
    replicas.run_engine(1).await?;
    let id = replicas.deploy(1, "2.0.0", ("direct", json!({}))).await?;
    let ended = replicas.wait_for_end(1, &id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");
    let serving = replicas.serving(1).await?;
    ensure!(serving.iter().all(|one| one == "2.0.0"), "{serving:?}");
    Ok(())
}
