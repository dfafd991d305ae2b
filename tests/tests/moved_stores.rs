//! The state of an installation moves from a server into a file and back, by the commands of an
//! operator. A rollout that was under way goes on.

use std::time::Duration;

use anyhow::{Result, ensure};
use hotswap_tests::{ChildProcess, ProcessExit, RedisKind, Replicas, tools};
use serde_json::{Value, json};
use tokio::time::sleep;

const PRODUCTION: &str = "production";

fn start(replicas: &Replicas, arguments: &[&str]) -> Result<ChildProcess> {
    let mut command = tools::hotswap()?;
    command
        .current_dir(replicas.folder())
        .args(["store", "--json"])
        .args(arguments);
    ChildProcess::start(command)
}

async fn run(replicas: &Replicas, arguments: &[&str]) -> Result<ProcessExit> {
    start(replicas, arguments)?.wait_for_exit().await
}

/// What a command that must succeed says of the archive.
async fn summary(replicas: &Replicas, arguments: &[&str]) -> Result<Value> {
    let exit = run(replicas, arguments).await?;
    ensure!(exit.code == Some(0), "{exit:?}");
    Ok(serde_json::from_str(&exit.stdout.join("\n"))?)
}

async fn check_success(replicas: &Replicas, engine: usize, id: &str, version: &str) -> Result<()> {
    let state = replicas.wait_for_end(engine, id).await?;
    ensure!(state["status"] == "succeeded", "{state}");
    let serving = replicas.serving(engine).await?;
    ensure!(serving.iter().all(|one| one == version), "{serving:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_goes_on_after_its_store_has_moved() -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Redis, 1, PRODUCTION, 2).await?;
    let id = replicas.deploy(0, "1.0.0", ("direct", json!({}))).await?;
    check_success(&replicas, 0, &id, "1.0.0").await?;
    let strategy = ("rolling", json!({ "batch": 1, "settle": "5s" }));
    let id = replicas.deploy(0, "2.0.0", strategy).await?;
    replicas.wait_for_event(0, &id, 4).await?;

    // While an engine lives, nothing moves. Its own folder is in use besides.
    let url = replicas.server.url();
    let elsewhere = format!("[store]\nurl = \"{url}\"\n");
    let other = replicas.write_config(1, &elsewhere)?;
    for arguments in [["export", "early"], ["import", "engine-1.toml"]] {
        let exit = run(&replicas, &[&arguments[..], &["--config", &other]].concat()).await?;
        ensure!(exit.code == Some(1), "{exit:?}");
        let is_refused = exit.stderr.contains("in use by engine-1")
            || exit.stderr.contains("no archive of a store");
        ensure!(is_refused, "{exit:?}");
    }
    ensure!(!replicas.folder().join("early").exists());
    let exit = run(&replicas, &["export", "early", "--config", "engine-1.toml"]).await?;
    ensure!(exit.code == Some(1), "{exit:?}");
    ensure!(exit.stderr.contains("stop it"), "{exit:?}");

    replicas.terminate_engine(0).await?;
    let export = ["export", "one", "--config", "engine-1.toml"];
    let exported = summary(&replicas, &export).await?;
    let file = replicas.write_config(1, "")?;
    let import = ["import", "one", "--config", &file];
    ensure!(summary(&replicas, &import).await? == exported);
    let exit = run(&replicas, &import).await?;
    ensure!(exit.stderr.contains("not empty"), "{exit:?}");

    replicas.run_engine(1).await?;
    check_success(&replicas, 1, &id, "2.0.0").await?;
    let id = replicas.deploy(1, "3.0.0", ("direct", json!({}))).await?;
    check_success(&replicas, 1, &id, "3.0.0").await?;
    replicas.terminate_engine(1).await?;

    // Back to the server, to another place there.
    let exported = summary(&replicas, &["export", "two", "--config", &file]).await?;
    let back = format!("[store]\nurl = \"{url}\"\nkeyPrefix = \"back\"\n");
    let config = replicas.write_config(2, &back)?;
    import_and_kill(
        &replicas,
        &["import", "two", "--config", &config],
        &exported,
    )
    .await?;
    let export = ["export", "three", "--config", &config];
    ensure!(summary(&replicas, &export).await? == exported);
    replicas.run_engine(2).await?;
    let id = replicas.deploy(2, "1.0.0", ("direct", json!({}))).await?;
    check_success(&replicas, 2, &id, "1.0.0").await?;
    replicas.terminate_engine(2).await?;

    // The same into a file.
    let config = replicas.write_config(3, "")?;
    import_and_kill(
        &replicas,
        &["import", "two", "--config", &config],
        &exported,
    )
    .await?;
    let export = ["export", "four", "--config", &config];
    ensure!(summary(&replicas, &export).await? == exported);
    Ok(())
}

/// Imports, and kills the command a little later each time, until it has ended before. Until then
/// there is nothing, and after that everything.
async fn import_and_kill(replicas: &Replicas, import: &[&str], expected: &Value) -> Result<()> {
    for round in 0_u32.. {
        let process = start(replicas, import)?;
        sleep(Duration::from_millis(5) * round).await;
        process.kill().await?;
        let probe = format!("{}-{round}", import[3]);
        let exit = run(replicas, &["export", &probe, "--config", import[3]]).await?;
        if exit.code != Some(0) {
            let is_told = exit.stderr.contains("an import into the store")
                || exit.stderr.contains("there is no store");
            ensure!(is_told, "{exit:?}");
            continue;
        }
        let found: Value = serde_json::from_str(&exit.stdout.join("\n"))?;
        if found == *expected {
            println!("it had ended after {} ms", 5 * round);
            return Ok(());
        }
        ensure!(found["deployments"] == 0, "a part of it is there: {found}");
    }
    Ok(())
}
