//! A store that is new, or was restored from a backup, has handed out lower fences than its
//! nodes have seen. No deployment may fail for it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_core::{Clock as _, SystemClock, Timestamp};
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

/// An installation whose backup holds a rollout of 2.0.0 over 1.0.0 in its midst. That has ended
/// since, nodes have seen higher fences than the backup knows, and its deadline has passed. Returns
/// its id.
async fn outdated() -> Result<(Installation, String)> {
    let mut installation = Installation::start("qa", 2, &[]).await?;
    let config = installation.folder().join("hotswap.toml");
    let before = std::fs::read_to_string(&config)?;
    let policy = "\n[environments.qa]\ndeadline = \"15s\"\n";
    std::fs::write(&config, format!("{before}{policy}"))?;
    installation.kill_engine().await?;
    installation.restart_engine().await?;
    installation.wait_for_nodes(2).await?;
    roll_out(&installation, "1.0.0").await?;
    let rolling = json!({ "batch": 1, "settle": "5s" });
    let id = installation.propose("2.0.0", "rolling", rolling).await?;
    installation.approve(&id).await?;
    let is_waiting = |state: &Value| {
        let wait = state["waitId"].as_str();
        wait.is_some_and(|wait| wait.starts_with("call-"))
    };
    let state = installation.wait_for_state(&id, is_waiting).await?;
    ensure!(state["endedAt"].is_null(), "{state}");
    let deadline = state["deadline"].as_u64().context("no deadline")?;
    back_up(&mut installation).await?;
    succeed(&installation, &id).await?;
    for version in ["3.0.0", "1.0.0", "3.0.0"] {
        roll_out(&installation, version).await?;
    }
    let left = Timestamp::from_millis(deadline).since(SystemClock.now());
    tokio::time::sleep(left).await;
    Ok((installation, id))
}

/// Its driver reverts before any node has told the engine of a fence.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_a_restored_store_reverts_at_once_ends() -> Result<()> {
    let (mut installation, id) = outdated().await?;
    let seen = seen_fence(&installation).await?;
    restore(&mut installation).await?;
    let ended = installation.wait_for_end(&id).await?;
    ensure!(ended["status"] == "rolledBack", "{ended}");
    ensure!(ended["cause"]["kind"] == "deadline", "{ended}");
    let fence = seen_fence(&installation).await?;
    ensure!(fence > seen, "{fence} is not above {seen}");
    roll_out(&installation, "3.0.0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_of_a_restored_store_can_be_terminated() -> Result<()> {
    let (mut installation, id) = outdated().await?;
    let seen = seen_fence(&installation).await?;
    let file = installation.folder().join(BACKUP).join("engine.db");
    let changed = Connection::open(file)?.execute(
        "UPDATE event SET body = CAST('{' AS BLOB) WHERE seq > 3 AND deployment =
            (SELECT max(number) FROM deployment)",
        [],
    )?;
    ensure!(changed > 0, "no event of a call");
    restore(&mut installation).await?;
    let path = format!("/api/v1/deployments/{id}");
    let state = installation.get(&path).await?;
    ensure!(!state["damage"].is_null(), "{state}");
    installation
        .post(&format!("{path}/terminate"), json!({}))
        .await?;
    // Its events cannot be followed past the damage.
    let ended = async {
        loop {
            let state = installation.get(&path).await?;
            if !state["endedAt"].is_null() {
                return anyhow::Ok(state);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await??;
    ensure!(ended["status"] == "rolledBack", "{ended}");
    let fence = seen_fence(&installation).await?;
    ensure!(fence > seen, "{fence} is not above {seen}");
    roll_out(&installation, "3.0.0").await
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
