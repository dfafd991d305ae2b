//! A store that is new, or was restored from a backup, has handed out lower fences than its
//! nodes have seen. No deployment may fail for it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::Installation;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

const BACKUP: &str = "backup";
const DATA: &str = "engine";

fn epoch(folder: &Path) -> Result<String> {
    let file = folder.join(DATA).join("engine.db");
    let store = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    Ok(store.query_row("SELECT word FROM epoch", [], |row| row.get(0))?)
}

/// The highest fence that the node has seen. The store may have handed out higher ones: leases
/// under which nobody ordered anything.
async fn seen_fence(installation: &Installation) -> Result<u64> {
    let nodes = installation.get("/api/v1/nodes").await?;
    let control = nodes["nodes"][0]["controlUrl"].as_str();
    let url = format!("{}/v1/status", control.context("no control URL")?);
    let token = std::fs::read_to_string(installation.folder().join(DATA).join("node-token"))?;
    let request = reqwest::Client::new().get(url).bearer_auth(token.trim());
    let status: Value = request.send().await?.json().await?;
    let fence = status["modules"][0]["fence"].as_u64();
    fence.with_context(|| format!("no fence: {status}"))
}

fn copy(folder: &Path, from: &str, to: &str) -> Result<()> {
    let to = folder.join(to);
    if to.exists() {
        std::fs::remove_dir_all(&to)?;
    }
    let mut copy = Command::new("cp");
    ensure!(
        copy.arg("-r")
            .arg(folder.join(from))
            .arg(to)
            .status()?
            .success()
    );
    Ok(())
}

async fn back_up(installation: &mut Installation) -> Result<()> {
    installation.kill_engine().await?;
    copy(installation.folder(), DATA, BACKUP)?;
    installation.restart_engine().await
}

async fn restore(installation: &mut Installation) -> Result<()> {
    installation.kill_engine().await?;
    copy(installation.folder(), BACKUP, DATA)?;
    installation.restart_engine().await
}

async fn roll_out(installation: &Installation, version: &str) -> Result<()> {
    let id = installation.propose(version, "direct", json!({})).await?;
    installation.approve(&id).await?;
    succeed(installation, &id).await
}

async fn succeed(installation: &Installation, id: &str) -> Result<()> {
    let ended = installation.wait_for_end(id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_deployment_of_a_restored_store_succeeds() -> Result<()> {
    let mut installation = Installation::start("qa", 1, &[]).await?;
    back_up(&mut installation).await?;
    for version in ["1.0.0", "2.0.0"] {
        roll_out(&installation, version).await?;
    }
    let seen = seen_fence(&installation).await?;
    let old_epoch = epoch(installation.folder())?;
    restore(&mut installation).await?;
    roll_out(&installation, "3.0.0").await?;
    let fence = seen_fence(&installation).await?;
    ensure!(fence > seen, "{fence} is not above {seen}");
    // What clients remember of the lost events means nothing now.
    ensure!(epoch(installation.folder())? != old_epoch, "{old_epoch}");
    Ok(())
}

/// Its driver has its lease before any node has told the engine of a fence.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_deployment_of_a_restored_store_succeeds() -> Result<()> {
    let mut installation = Installation::start("qa", 1, &[]).await?;
    let id = installation.propose("1.0.0", "direct", json!({})).await?;
    back_up(&mut installation).await?;
    installation.approve(&id).await?;
    succeed(&installation, &id).await?;
    restore(&mut installation).await?;
    installation.approve(&id).await?;
    succeed(&installation, &id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_deployment_of_a_new_store_succeeds() -> Result<()> {
    let mut installation = Installation::start("qa", 1, &[]).await?;
    roll_out(&installation, "1.0.0").await?;
    let seen = seen_fence(&installation).await?;
    installation.kill_engine().await?;
    for file in std::fs::read_dir(installation.folder().join(DATA))? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with("engine.db") {
            std::fs::remove_file(file.path())?;
        }
    }
    installation.restart_engine().await?;
    installation.wait_for_nodes(1).await?;
    installation.upload_samples().await?;
    roll_out(&installation, "2.0.0").await?;
    let fence = seen_fence(&installation).await?;
    ensure!(fence > seen, "{fence} is not above {seen}");
    Ok(())
}
