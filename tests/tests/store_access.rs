//! Real engines that a server lets in as the guide on scaling has it: over TLS, with certificates of
//! both sides, as a user with the documented rights and no others.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hotswap_tests::{RedisCluster, RedisKind, RedisServer, Replicas, tools, write_certificates};
use serde_json::{Value, json};
use tokio::time::sleep;

const PRODUCTION: &str = "production";
const ENGINES: usize = 3;
const NODES: usize = 3;

/// Time limit of a wait. Generous, because the machine may be busy.
const SOON: Duration = Duration::from_secs(60);

/// The command that makes the user, as the guide has it, with a password.
fn documented_user() -> Result<Vec<String>> {
    let guide = tools::repository_root().join("docs/SCALING.md");
    let guide = std::fs::read_to_string(guide)?;
    let start = guide.find("ACL SETUSER hotswap on").context("no user")?;
    let command = guide[start..].split("```").next().unwrap_or_default();
    let words = command.split_whitespace();
    Ok(words
        .map(|word| word.replace(">PASSWORD", ">swordfish"))
        .collect())
}

/// Makes the user on a server, with these rights besides.
fn add_user(server: &RedisServer, more: &[&str]) -> Result<()> {
    let user = documented_user()?;
    let words = user.iter().map(String::as_str);
    let words: Vec<_> = words.chain(more.iter().copied()).collect();
    let answer = server.command(&words)?;
    ensure!(answer.starts_with("+OK"), "{answer}");
    Ok(())
}

/// The lines of an engine's configuration with which it is this user.
fn credentials(folder: &Path) -> Result<String> {
    let password = folder.join("password");
    std::fs::write(&password, "swordfish")?;
    Ok(format!(
        "username = \"hotswap\"\npasswordFile = \"{}\"\n",
        password.display()
    ))
}

/// The server has let in engines as the user alone, and has refused them nothing.
fn check_access(server: &RedisServer) -> Result<()> {
    let clients = server.command(&["CLIENT", "LIST"])?;
    let users = clients
        .lines()
        .filter_map(|line| line.split(" user=").nth(1));
    let users: Vec<_> = users
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    // This command is that of the test.
    let of_engines = users.iter().filter(|user| **user == "hotswap").count();
    ensure!(
        of_engines > 0 && of_engines + 1 == users.len(),
        "{users:?}: {clients}"
    );
    let refused = server.command(&["ACL", "LOG"])?;
    ensure!(refused.starts_with("*0"), "{refused}");
    Ok(())
}

/// The engine that drives, other than one that is dead.
async fn wait_for_driver(replicas: &Replicas) -> Result<usize> {
    const DRIVEN: &str = "hotswap_store_leases{kind=\"deployment\"}";
    let deadline = Instant::now() + SOON;
    loop {
        for engine in replicas.running() {
            if replicas.metric(engine, DRIVEN).await? > 0.0 {
                return Ok(engine);
            }
        }
        ensure!(Instant::now() < deadline, "no engine drives");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn check_success(replicas: &Replicas, id: &str, version: &str) -> Result<Value> {
    let asked = replicas.running()[0];
    let state = replicas.wait_for_end(asked, id).await?;
    ensure!(state["status"] == "succeeded", "{state}");
    let serving = replicas.serving(asked).await?;
    ensure!(serving == [version; NODES], "{serving:?}");
    Ok(state)
}

/// Rolls out, kills the engine that drives, and sees another one end the rollout.
async fn roll_out_and_take_over(replicas: &mut Replicas) -> Result<()> {
    let id = replicas.deploy(0, "1.0.0", ("direct", json!({}))).await?;
    check_success(replicas, &id, "1.0.0").await?;
    let slowly = ("rolling", json!({ "batch": 1, "settle": "2s" }));
    let id = replicas.deploy(1, "2.0.0", slowly).await?;
    replicas.wait_for_event(2, &id, 4).await?;
    let driver = wait_for_driver(replicas).await?;
    replicas.kill_engine(driver).await?;
    let killed = Instant::now();
    let next = wait_for_driver(replicas).await?;
    println!(
        "engine {next} took over from engine {driver} after {:?}",
        killed.elapsed()
    );
    let state = check_success(replicas, &id, "2.0.0").await?;
    let taken_over = "hotswap_store_take_overs_total";
    let mut take_overs = 0.0;
    for engine in replicas.running() {
        take_overs += replicas.metric(engine, taken_over).await?;
        // Every engine tells the same.
        let seen = replicas.wait_for_end(engine, &id).await?;
        ensure!(seen == state, "{seen} and not {state}");
    }
    ensure!(take_overs > 0.0, "nobody took anything over");
    Ok(())
}

// The Valkey of the tests is built without TLS.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster_over_tls_a_documented_user_is_enough_for_engines_to_take_over() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    write_certificates(folder.path())?;
    let mut cluster = RedisCluster::start_with(RedisKind::Redis, 3, Some(folder.path()))?;
    for node in &cluster.nodes {
        add_user(node, &[])?;
    }
    let (_, owner) = cluster.place("{hotswap}:meta")?;
    // Another node names the one that has the keys.
    let url = cluster.url(&[(owner + 1) % 3, (owner + 2) % 3]);
    let file = |name: &str| folder.path().join(name).display().to_string();
    let lines = format!(
        "{}caFile = \"{}\"\ncertFile = \"{}\"\nkeyFile = \"{}\"\n",
        credentials(folder.path())?,
        file("ca.pem"),
        file("client.pem"),
        file("client.key")
    );
    let keys = cluster.nodes.swap_remove(owner);
    let store = (keys, (url, lines));
    let mut replicas = Replicas::start_on(store, PRODUCTION, (ENGINES, NODES), &[]).await?;
    roll_out_and_take_over(&mut replicas).await?;
    for node in &cluster.nodes {
        let refused = node.command(&["ACL", "LOG"])?;
        ensure!(refused.starts_with("*0"), "{refused}");
    }
    check_access(&replicas.server)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_another_database_with_waits_for_the_disk_a_documented_user_is_enough() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = RedisServer::start_with(RedisKind::Valkey, &RedisServer::EVERY_SECOND)?;
    add_user(&server, &["+waitaof"])?;
    let url = format!("{}/3", server.url());
    let lines = format!("{}waitForDisk = true\n", credentials(folder.path())?);
    let store = (server, (url, lines));
    let mut replicas = Replicas::start_on(store, PRODUCTION, (ENGINES, NODES), &[]).await?;
    roll_out_and_take_over(&mut replicas).await?;
    let server = &replicas.server;
    let calls = server.command(&["INFO", "commandstats"])?;
    ensure!(calls.contains("cmdstat_waitaof:calls="), "{calls}");
    let keyspace = server.command(&["INFO", "keyspace"])?;
    ensure!(
        keyspace.contains("db3:") && !keyspace.contains("db0:"),
        "{keyspace}"
    );
    check_access(server)
}
