//! Real engines on a store that loses what it has acknowledged, in the middle of a rollout: nobody
//! goes on in silence, and everyone sees the same in the end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hotswap_tests::{
    EventStream, HubClient, RedisKind, RedisServer, Replicas, StreamedItem, WatchedServers,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const PRODUCTION: &str = "production";
const TIMEOUT: Duration = Duration::from_secs(120);

/// Long enough, with some hundred tries, for a server to be replaced.
const PATIENCE: &str = "patience = \"60s\"\n";

/// One node after the other, with a wait after each.
fn slowly() -> (&'static str, Value) {
    ("rolling", json!({ "batch": 1, "settle": "4s" }))
}

/// Two engines on a store, and three nodes that run 1.0.0.
async fn start(store: (RedisServer, (String, String))) -> Result<Replicas> {
    let replicas = Replicas::start_on(store, PRODUCTION, (2, 3), &[]).await?;
    let id = replicas.deploy(0, "1.0.0", ("direct", json!({}))).await?;
    replicas.wait_for_end(0, &id).await?;
    Ok(replicas)
}

/// The numbers and the contents of events. A stream also tells whose they are.
fn bodies(events: &[Value]) -> Vec<(&Value, &Value)> {
    let events = events.iter();
    events
        .map(|event| (&event["seq"], &event["body"]))
        .collect()
}

/// What a client has seen of a deployment.
#[derive(Default)]
struct Watched {
    /// The events since the stream has started over for the last time.
    events: Vec<Value>,
    resets: usize,
    heartbeats: usize,
}

/// Follows a deployment to its end, and connects again where the connection ends before.
fn watch(replicas: &Replicas, engine: usize, id: &str) -> JoinHandle<Result<Watched>> {
    let base = replicas.url(engine);
    let id = id.to_owned();
    tokio::spawn(async move {
        let base = base?;
        let mut watched = Watched::default();
        let mut cursor: Option<String> = None;
        let deadline = Instant::now() + 2 * TIMEOUT;
        loop {
            ensure!(Instant::now() < deadline, "the deployment does not end");
            let stream = EventStream::open_at(&base, &id, cursor.as_deref());
            let Ok(mut stream) = stream.await else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            loop {
                match stream.next().await? {
                    StreamedItem::Event(id, event) => {
                        cursor = Some(id);
                        watched.events.push(event);
                    }
                    StreamedItem::Marker(name) if name == "reset" => {
                        watched.events.clear();
                        watched.resets += 1;
                    }
                    StreamedItem::Marker(name) if name == "end" => return Ok(watched),
                    StreamedItem::Marker(name) if name == "damaged" => bail!("damaged"),
                    StreamedItem::Marker(_) => {}
                    StreamedItem::Heartbeat => watched.heartbeats += 1,
                    StreamedItem::Closed => break,
                }
            }
        }
    })
}

/// The deployment has succeeded, every engine and every watcher sees the same journal, and the
/// journal says once that writes are lost if `is_lossy`.
async fn check_end(
    replicas: &Replicas,
    id: &str,
    watchers: Vec<JoinHandle<Result<Watched>>>,
    is_lossy: bool,
) -> Result<()> {
    let state = replicas.wait_for_end(0, id).await?;
    let all = replicas.events(0, id).await?;
    ensure!(state["status"] == "succeeded", "{state} {all:?}");
    let seqs: Vec<_> = all
        .iter()
        .filter_map(|event| event["seq"].as_u64())
        .collect();
    let expected: Vec<u64> = (0..all.len() as u64).collect();
    ensure!(seqs == expected, "{seqs:?}");
    let notes = all.iter().map(|one| &one["body"]);
    let notes: Vec<_> = notes.filter(|body| body["type"] == "writesLost").collect();
    if is_lossy {
        ensure!(!notes.is_empty(), "the journal is silent: {all:?}");
        for note in notes {
            let message = note["data"]["message"].as_str().context("no message")?;
            ensure!(message.contains("run hello 2.0.0"), "{message}");
            ensure!(message.contains("the deployment goes on"), "{message}");
        }
        let log = state["log"].to_string();
        ensure!(log.contains("lost writes"), "{log}");
    }
    for engine in replicas.running() {
        ensure!(replicas.events(engine, id).await? == all);
        let seen = replicas.wait_for_end(engine, id).await?;
        ensure!(seen == state, "{seen} instead of {state}");
    }
    for watcher in watchers {
        let watched = watcher.await??;
        let (seen, there) = (bodies(&watched.events), bodies(&all));
        ensure!(seen == there, "{seen:?} of {there:?}");
        ensure!(
            !is_lossy || watched.resets >= 1,
            "the stream did not start over"
        );
        ensure!(watched.heartbeats < 50, "{} heartbeats", watched.heartbeats);
    }
    let serving = replicas.serving(0).await?;
    ensure!(serving.iter().all(|one| one == "2.0.0"), "{serving:?}");
    for engine in replicas.running() {
        check_readiness(replicas, engine, is_lossy).await?;
    }
    Ok(())
}

/// The engine is ready, and says what to do if the store was found to have lost writes.
async fn check_readiness(replicas: &Replicas, engine: usize, is_lossy: bool) -> Result<()> {
    wait_for_warning(replicas, engine, is_lossy).await?;
    let shown = replicas.metric(engine, "hotswap_store_lost_writes").await?;
    ensure!(shown == f64::from(u8::from(is_lossy)), "{shown}");
    Ok(())
}

async fn wait_for_warning(replicas: &Replicas, engine: usize, is_lossy: bool) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let health = replicas.get(engine, "/health/ready").await?;
        ensure!(health["status"] == "ok", "{health}");
        let warnings = health["warnings"].to_string();
        match is_lossy {
            true if warnings.contains("events say writesLost") => return Ok(()),
            false => {
                ensure!(health["warnings"].is_null(), "{health}");
                return Ok(());
            }
            // It is heard of with the next sign of life.
            true => ensure!(Instant::now() < deadline, "{health}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Policies and cordons of which the store has lost some are the same on all engines.
async fn check_decisions(replicas: &Replicas) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let environment = format!("/api/v1/environments/{PRODUCTION}");
    let node = format!("/api/v1/nodes/{PRODUCTION}-3");
    for engine in replicas.running() {
        loop {
            let settings = replicas.get(engine, &environment).await?;
            let node = replicas.get(engine, &node).await?;
            if settings["version"] == json!(0) && node["cordon"].is_null() {
                break;
            }
            ensure!(Instant::now() < deadline, "{settings} {node}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// Decides what will be lost.
async fn decide(replicas: &Replicas) -> Result<()> {
    let path = format!("/api/v1/environments/{PRODUCTION}");
    let policy = json!({ "policy": { "defaultStrategy": "direct", "maxUnavailable": "1" } });
    replicas.put(0, &path, policy).await?;
    let path = format!("/api/v1/nodes/{PRODUCTION}-3/cordon");
    replicas.post(1, &path, json!({})).await?;
    Ok(())
}

/// A client of a hub is disconnected, and gets a snapshot where it comes back.
async fn check_hub(replicas: &Replicas, mut hub: HubClient, before: &Value) -> Result<()> {
    let closed = async { while hub.next().await.is_ok() {} };
    let closed = tokio::time::timeout(TIMEOUT, closed).await;
    closed.context("it is still connected")?;
    let mut hub = HubClient::connect(replicas, 1).await?;
    let resume = json!({ "epoch": before["epoch"], "offset": before["offset"] });
    let answer = hub.subscribe_to_all(&resume).await?;
    ensure!(answer["recovered"] == false, "{answer}");
    ensure!(answer["epoch"] != before["epoch"], "{answer}");
    ensure!(answer["snapshot"].is_object(), "{answer}");
    Ok(())
}

const EVERY_SECOND: [&str; 6] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--auto-aof-rewrite-percentage",
    "0",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_of_the_server_takes_is_noticed_in_the_middle_of_a_rollout() -> Result<()> {
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let server = RedisServer::start_with(kind, &EVERY_SECOND)?;
        let store = (server.url(), PATIENCE.to_owned());
        let mut replicas = start((server, store)).await?;
        let id = replicas.deploy(1, "2.0.0", slowly()).await?;
        // The nodes that come next have not changed yet.
        replicas.wait_for_event(0, &id, 4).await?;
        let watchers = (0..2).map(|engine| watch(&replicas, engine, &id)).collect();
        let mut hub = HubClient::connect(&replicas, 1).await?;
        let before = hub.subscribe_to_all(&Value::Null).await?;
        let length = replicas.server.log_length()?;
        decide(&replicas).await?;
        let last = replicas.last_event(0, &id).await?;
        replicas.wait_for_event(0, &id, last + 4).await?;
        replicas.server.kill();
        replicas.server.cut_log(length)?;
        replicas.server.restart()?;
        check_end(&replicas, &id, watchers, true).await?;
        check_decisions(&replicas).await?;
        check_hub(&replicas, hub, &before).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_lost_while_no_engine_ran_is_noticed_by_those_that_start() -> Result<()> {
    let server = RedisServer::start_with(RedisKind::Redis, &EVERY_SECOND)?;
    let store = (server.url(), PATIENCE.to_owned());
    let mut replicas = start((server, store)).await?;
    let id = replicas.deploy(1, "2.0.0", slowly()).await?;
    replicas.wait_for_event(0, &id, 4).await?;
    let length = replicas.server.log_length()?;
    decide(&replicas).await?;
    let last = replicas.last_event(0, &id).await?;
    replicas.wait_for_event(0, &id, last + 4).await?;
    // All machines lose their power together.
    for engine in 0..2 {
        replicas.kill_engine(engine).await?;
    }
    replicas.server.kill();
    replicas.server.cut_log(length)?;
    replicas.server.restart()?;
    for engine in 0..2 {
        replicas.start_engine(engine).await?;
    }
    check_end(&replicas, &id, Vec::new(), true).await?;
    check_decisions(&replicas).await?;
    let mut logs = String::new();
    for engine in 0..2 {
        logs += &replicas.terminate_engine(engine).await?;
    }
    // Not only by the fences that nodes remember.
    ensure!(
        logs.contains("the store has lost writes that it had acknowledged"),
        "{logs}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_whose_plan_is_lost_goes_on_or_ends_and_says_why() -> Result<()> {
    let server = RedisServer::start_with(RedisKind::Redis, &EVERY_SECOND)?;
    let store = (server.url(), PATIENCE.to_owned());
    let mut replicas = start((server, store)).await?;
    let before = replicas.server.log_length()?;
    let id = replicas.deploy(1, "2.0.0", slowly()).await?;
    let is_new = |version: &String| version == "2.0.0";
    // The first node has been promoted once the second one changes.
    let is_second = |versions: &[String]| versions.iter().filter(|&one| is_new(one)).count() > 1;
    wait_for_versions(&replicas, is_second).await?;
    replicas.server.kill();
    // The request is left, and nothing that came after it.
    let plan = replicas
        .server
        .find_in_log(before, "\"type\":\"planned\"")?;
    replicas.server.cut_log(plan)?;
    replicas.server.restart()?;
    let state = replicas.wait_for_end(0, &id).await?;
    let all = replicas.events(0, &id).await?;
    let mut bodies = all.iter().map(|event| &event["body"]);
    let note = bodies.find(|body| body["type"] == "writesLost");
    let note = note.context("the journal is silent")?;
    let note = note["data"]["message"].as_str().context("no message")?;
    // The reconciler may have brought the nodes back before they were asked: no node that the
    // deployment has not planned is its own. Then nothing contradicts the journal.
    if note.contains("0 run hello 2.0.0; the deployment goes on") {
        ensure!(state["status"] == "succeeded", "{state} {all:?}");
        return wait_for_versions(&replicas, |versions| versions.iter().all(is_new)).await;
    }
    ensure!(note.contains("the deployment is rolled back"), "{note}");
    // Without a plan it has no nodes that it could revert.
    ensure!(state["status"] == "failed", "{state} {all:?}");
    let why = state["cause"].to_string();
    ensure!(
        why.contains("the store has lost writes, and with them the plan of this deployment"),
        "{state}"
    );
    wait_for_versions(&replicas, |versions| !versions.iter().any(is_new)).await
}

/// Waits until the versions that nodes serve are as they should be.
async fn wait_for_versions(
    replicas: &Replicas,
    are_right: impl Fn(&[String]) -> bool,
) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let versions = replicas.serving(0).await?;
        if are_right(&versions) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{versions:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failover_loses_is_noticed_in_the_middle_of_a_rollout() -> Result<()> {
    let mut watched = WatchedServers::start(RedisKind::Valkey, 1).await?;
    let store = (watched.url()?, PATIENCE.to_owned());
    let primary = watched.servers.remove(0);
    let port = primary.port();
    let mut replicas = start((primary, store)).await?;
    let id = replicas.deploy(1, "2.0.0", slowly()).await?;
    replicas.wait_for_event(0, &id, 4).await?;
    let watchers = (0..2).map(|engine| watch(&replicas, engine, &id)).collect();
    let replica = watched.servers.remove(0);
    WatchedServers::isolate(&replicas.server, &replica).await?;
    decide(&replicas).await?;
    let last = replicas.last_event(0, &id).await?;
    replicas.wait_for_event(0, &id, last + 2).await?;
    replicas.server.kill();
    replica.resume()?;
    watched.failover(port).await?;
    replicas.server = replica;
    check_end(&replicas, &id, watchers, true).await?;
    check_decisions(&replicas).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_replica_that_has_everything_loses_nothing() -> Result<()> {
    let mut watched = WatchedServers::start(RedisKind::Redis, 2).await?;
    let store = (watched.url()?, format!("{PATIENCE}waitForReplicas = 1\n"));
    let primary = watched.servers.remove(0);
    let port = primary.port();
    let mut replicas = start((primary, store)).await?;
    let id = replicas.deploy(1, "2.0.0", slowly()).await?;
    replicas.wait_for_event(0, &id, 4).await?;
    let watchers = (0..2).map(|engine| watch(&replicas, engine, &id)).collect();
    replicas.server.kill();
    watched.failover(port).await?;
    // What a person was told counts: the request is there.
    let pause = format!("/api/v1/deployments/{id}/pause");
    replicas.post(0, &pause, json!({})).await?;
    let resume = format!("/api/v1/deployments/{id}/resume");
    replicas.post(1, &resume, json!({})).await?;
    check_end(&replicas, &id, watchers, false).await?;
    let all = replicas.events(1, &id).await?;
    for name in ["paused", "resumed"] {
        ensure!(
            all.iter().any(|event| event["body"]["type"] == name),
            "{all:?}"
        );
    }
    Ok(())
}
