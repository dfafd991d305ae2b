//! Several engines on one server of Redis or Valkey, with real nodes: whichever of them dies or
//! stands still, the rollout goes on, and everyone sees the same.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use hotswap_tests::{
    ChildProcess, EventStream, HubClient, RedisKind, RedisProxy, RedisServer, Replicas,
    StreamedItem, tools,
};
use serde_json::{Value, json};
use tokio::time::sleep;

const PRODUCTION: &str = "production";
/// How long a wait may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// What is promised for most take-overs. The leases last 3 seconds, and the engines look twice a
/// second.
const TAKE_OVER: Duration = Duration::from_secs(5);

/// One node after the other, each with a wait in which an engine can be killed.
fn slowly() -> (&'static str, Value) {
    ("rolling", json!({ "batch": 1, "settle": "12s" }))
}

/// No call was answered twice, and the numbers have no gap.
fn check_events(events: &[Value]) -> Result<()> {
    let mut answers: BTreeMap<u64, u32> = BTreeMap::new();
    for (number, event) in events.iter().enumerate() {
        ensure!(event["seq"] == json!(number), "a gap at {number}: {event}");
        let body = &event["body"];
        if body["type"] == "answered"
            && let Some(call) = body["data"]["call"].as_u64()
        {
            *answers.entry(call).or_default() += 1;
        }
    }
    ensure!(answers.values().all(|count| *count == 1), "{answers:?}");
    Ok(())
}

async fn check_success(replicas: &Replicas, engine: usize, id: &str, version: &str) -> Result<()> {
    let state = replicas.wait_for_end(engine, id).await?;
    ensure!(state["status"] == "succeeded", "{state}");
    let serving = replicas.serving(engine).await?;
    ensure!(serving.iter().all(|one| one == version), "{serving:?}");
    check_events(&replicas.events(engine, id).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_ends_on_redis_and_on_valkey() -> Result<()> {
    for kind in [RedisKind::Redis, RedisKind::Valkey] {
        let mut replicas = Replicas::start(kind, 1, PRODUCTION, 2).await?;
        let id = replicas.deploy(0, "1.0.0", ("direct", json!({}))).await?;
        check_success(&replicas, 0, &id, "1.0.0").await?;
        // All of it is in the store: another engine knows it.
        replicas.terminate_engine(0).await?;
        replicas.start_engine(0).await?;
        let rolling = ("rolling", json!({ "batch": 1 }));
        let id = replicas.deploy(0, "2.0.0", rolling).await?;
        check_success(&replicas, 0, &id, "2.0.0").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_killed_is_replaced() -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Redis, 3, PRODUCTION, 3).await?;
    let id = replicas.deploy(0, "1.0.0", ("direct", json!({}))).await?;
    check_success(&replicas, 0, &id, "1.0.0").await?;
    let id = replicas.deploy(1, "2.0.0", slowly()).await?;
    let mut take_overs = Vec::new();
    // Right after the request, when it is planned, and in a wait.
    for seq in [0, 1, 5] {
        let driver = replicas.wait_for_driver(&id, None).await?;
        let other = (driver + 1) % 3;
        replicas.wait_for_event(other, &id, seq).await?;
        let driver = replicas.wait_for_driver(&id, None).await?;
        replicas.kill_engine(driver).await?;
        let killed = Instant::now();
        let next = replicas.wait_for_driver(&id, Some(driver)).await?;
        let took = killed.elapsed();
        println!("engine {next} took over from engine {driver} after {took:?}");
        take_overs.push(took);
        replicas.start_engine(driver).await?;
    }
    // A busy machine may delay one of them.
    take_overs.sort();
    ensure!(take_overs[1] <= TAKE_OVER, "{take_overs:?}");
    let asked = replicas.running()[0];
    check_success(&replicas, asked, &id, "2.0.0").await
}

/// In how many environments each of these engines works, as soon as that is as expected.
async fn wait_for_environments(replicas: &Replicas, expected: &[(usize, f64)]) -> Result<()> {
    let deadline = Instant::now() + SOON;
    loop {
        let mut held = Vec::new();
        for (engine, _) in expected {
            let series = "hotswap_store_leases{kind=\"environment\"}";
            held.push((*engine, replicas.metric(*engine, series).await?));
        }
        if held == expected {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{held:?} and not {expected:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_are_spread_over_the_engines() -> Result<()> {
    const ENVIRONMENTS: [&str; 6] = ["first", "second", "third", "fourth", "fifth", "sixth"];
    let server = RedisServer::start(RedisKind::Valkey)?;
    let store = (server.url(), "lease = \"5s\"\n".to_owned());
    let mut replicas = Replicas::start_on((server, store), PRODUCTION, (3, 0), &[]).await?;
    for environment in ENVIRONMENTS {
        replicas.start_node_in(environment, environment)?;
    }
    for engine in 0..3 {
        replicas.wait_for_nodes(engine, ENVIRONMENTS.len()).await?;
    }
    let deploy = async |replicas: &Replicas, engine: usize, version: &str| -> Result<()> {
        let mut ids = Vec::new();
        for environment in ENVIRONMENTS {
            let (to, direct) = ((engine, environment), ("direct", json!({})));
            ids.push(replicas.deploy_to(to, version, direct).await?);
        }
        for id in ids {
            let state = replicas.wait_for_end(engine, &id).await?;
            ensure!(state["status"] == "succeeded", "{state}");
        }
        Ok(())
    };
    deploy(&replicas, 0, "1.0.0").await?;
    wait_for_environments(&replicas, &[(0, 2.0), (1, 2.0), (2, 2.0)]).await?;

    replicas.kill_engine(1).await?;
    wait_for_environments(&replicas, &[(0, 3.0), (2, 3.0)]).await?;
    // Engines that start later take a part of the work.
    replicas.start_engine(1).await?;
    wait_for_environments(&replicas, &[(0, 2.0), (1, 2.0), (2, 2.0)]).await?;
    deploy(&replicas, 1, "2.0.0").await?;
    let serving = replicas.serving(2).await?;
    ensure!(serving.iter().all(|one| one == "2.0.0"), "{serving:?}");
    // What has no open deployment may move, and what is at work stays where it is.
    wait_for_environments(&replicas, &[(0, 2.0), (1, 2.0), (2, 2.0)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_stood_still_is_fenced_when_it_comes_back() -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Valkey, 3, PRODUCTION, 3).await?;
    let id = replicas.deploy(0, "1.0.0", ("direct", json!({}))).await?;
    check_success(&replicas, 0, &id, "1.0.0").await?;
    let id = replicas.deploy(0, "2.0.0", slowly()).await?;
    let paused = replicas.wait_for_driver(&id, None).await?;
    let other = (paused + 1) % 3;
    replicas.wait_for_event(other, &id, 4).await?;
    replicas.pause_engine(paused)?;
    let next = replicas.wait_for_driver(&id, Some(paused)).await?;
    // It comes back while the other one is at work.
    let last = replicas.last_event(next, &id).await?;
    replicas.wait_for_event(next, &id, last + 1).await?;
    replicas.continue_engine(paused)?;
    check_success(&replicas, next, &id, "2.0.0").await?;
    // It serves requests as before, and drives what it gets from now on.
    let state = replicas.wait_for_end(paused, &id).await?;
    ensure!(state["status"] == "succeeded", "{state}");
    let seen = replicas.events(paused, &id).await?;
    ensure!(seen == replicas.events(next, &id).await?);
    let log = replicas.terminate_engine(paused).await?;
    ensure!(log.contains("session with the store has expired"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_stops_hands_over_at_once() -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Redis, 2, PRODUCTION, 2).await?;
    let id = replicas.deploy(0, "1.0.0", slowly()).await?;
    let driver = replicas.wait_for_driver(&id, None).await?;
    replicas.wait_for_event(1 - driver, &id, 3).await?;
    replicas.terminate_engine(driver).await?;
    let stopped = Instant::now();
    let next = replicas.wait_for_driver(&id, Some(driver)).await?;
    let took = stopped.elapsed();
    println!("engine {next} took over after {took:?}");
    ensure!(
        took < Duration::from_secs(3),
        "its lease was waited for: {took:?}"
    );
    check_success(&replicas, next, &id, "1.0.0").await
}

/// The last event of a deployment as the store has it, without the length that goes before.
fn last_event(replicas: &Replicas, id: &str) -> Result<String> {
    let answer = (replicas.server).command(&["LINDEX", &format!("{{hotswap}}:e:{id}"), "-1"])?;
    let (_, event) = answer.split_once("\r\n").context("no last event")?;
    Ok(event.trim_end().to_owned())
}

/// Replaces the last event of a deployment.
fn write_last_event(replicas: &Replicas, id: &str, event: &str) -> Result<()> {
    let key = format!("{{hotswap}}:e:{id}");
    let answer = (replicas.server).command(&["LSET", &key, "-1", event])?;
    ensure!(answer.starts_with("+OK"), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_leaves_what_it_cannot_read_to_one_of_a_newer_release() -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Redis, 2, PRODUCTION, 2).await?;
    let id = replicas.deploy(0, "1.0.0", ("direct", json!({}))).await?;
    check_success(&replicas, 0, &id, "1.0.0").await?;
    let id = replicas.deploy(0, "2.0.0", slowly()).await?;
    replicas.wait_for_event(0, &id, 4).await?;
    for engine in [0, 1] {
        replicas.kill_engine(engine).await?;
    }
    // Engine 1 stands for the newer release: the event is one that it can read when it starts.
    let event = last_event(&replicas, &id)?;
    let newer = event.replacen("\"schema\":", "\"schema\":9", 1);
    ensure!(newer != event, "no schema version: {event}");
    write_last_event(&replicas, &id, &newer)?;
    replicas.start_engine(0).await?;
    let path = format!("/api/v1/deployments/{id}");
    let state = replicas.get(0, &path).await?;
    ensure!(state["damage"]["needsUpgrade"] == true, "{state}");
    let deadline = Instant::now() + SOON;
    while replicas.driver_of(&id)?.is_some() || replicas.owner_of(PRODUCTION)?.is_some() {
        ensure!(Instant::now() < deadline, "the older engine keeps it");
        sleep(Duration::from_millis(20)).await;
    }
    write_last_event(&replicas, &id, &event)?;
    replicas.start_engine(1).await?;
    ensure!(replicas.wait_for_driver(&id, None).await? == 1);
    check_success(&replicas, 1, &id, "2.0.0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_store_rolls_nothing_back() -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Redis, 3, PRODUCTION, 3).await?;
    let id = replicas.deploy(0, "1.0.0", ("direct", json!({}))).await?;
    check_success(&replicas, 0, &id, "1.0.0").await?;
    let id = replicas.deploy(0, "2.0.0", slowly()).await?;
    replicas.wait_for_event(0, &id, 4).await?;
    replicas.server.kill();
    // Longer than the strategy waits, and than a node may be silent: each engine has nodes of which
    // the others hear nothing meanwhile.
    sleep(Duration::from_secs(20)).await;
    replicas.server.restart()?;
    for engine in 0..3 {
        wait_for_readiness(&replicas, engine, |problem| problem.is_none()).await?;
    }
    check_success(&replicas, 0, &id, "2.0.0").await
}

/// When an engine has last heard of each node, and whether all of them pass.
async fn last_seen(replicas: &Replicas, engine: usize) -> Result<(Vec<String>, bool)> {
    let nodes = replicas.get(engine, "/api/v1/nodes").await?;
    let nodes = nodes["nodes"].as_array().context("no nodes")?;
    let seen = nodes.iter().map(|node| node["lastSeen"].to_string());
    let pass = nodes.iter().all(|node| node["health"] == "passing");
    Ok((seen.collect(), pass))
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_leave_an_engine_that_alone_is_cut_off_from_the_store() -> Result<()> {
    let server = RedisServer::start(RedisKind::Redis)?;
    let proxy = RedisProxy::start(server.port()).await?;
    let url = server.url();
    let store = (server, (proxy.url(), String::new()));
    let mut replicas = Replicas::start_on(store, PRODUCTION, (1, 2), &[]).await?;
    // The connections of the nodes lead to the first one, and stay open.
    replicas.start_engine_at(1, &url, "").await?;
    proxy.refuse(true);
    proxy.disconnect();
    wait_for_readiness(&replicas, 0, |problem| {
        problem.is_some_and(|problem| problem.contains("no sign of life"))
    })
    .await?;
    replicas.leave_out(0);
    let (before, _) = last_seen(&replicas, 1).await?;
    let deadline = Instant::now() + SOON;
    loop {
        let (now, pass) = last_seen(&replicas, 1).await?;
        if pass && now.len() == 2 && now.iter().zip(&before).all(|(now, before)| now != before) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{now:?}, as before: {before:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_ask_of_one_engine_another_one_does() -> Result<()> {
    let replicas = Replicas::start(RedisKind::Redis, 2, PRODUCTION, 2).await?;
    let id = replicas.deploy(0, "1.0.0", ("direct", json!({}))).await?;
    check_success(&replicas, 0, &id, "1.0.0").await?;
    let strategy = ("rolling", json!({ "batch": 1, "settle": "1h" }));
    let id = replicas.deploy(0, "2.0.0", strategy).await?;
    let driver = replicas.wait_for_driver(&id, None).await?;
    let other = 1 - driver;
    replicas.wait_for_event(other, &id, 4).await?;
    let path = format!("/api/v1/deployments/{id}/abort");
    replicas.post(other, &path, json!({})).await?;
    let state = replicas.wait_for_end(other, &id).await?;
    ensure!(state["status"] == "rolledBack", "{state}");
    let serving = replicas.serving(other).await?;
    ensure!(serving.iter().all(|one| one == "1.0.0"), "{serving:?}");
    // So is a node that is cordoned through one of them cordoned for both.
    let cordon = format!("/api/v1/nodes/{PRODUCTION}-1/cordon");
    replicas.post(other, &cordon, json!({})).await?;
    let deadline = Instant::now() + SOON;
    loop {
        let node = replicas
            .get(driver, &format!("/api/v1/nodes/{PRODUCTION}-1"))
            .await?;
        if !node["cordon"].is_null() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{node}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_set_on_one_engine_counts_on_all() -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Redis, 2, PRODUCTION, 2).await?;
    // A file of an engine that says something else is reported as soon as it does not count.
    replicas.terminate_engine(1).await?;
    let file = format!("[environments.{PRODUCTION}]\nmaxUnavailable = 2\n");
    replicas.start_engine_with(1, &file).await?;
    let path = format!("/api/v1/environments/{PRODUCTION}");
    let policy = json!({ "policy": { "defaultStrategy": "direct", "maxUnavailable": "1" } });
    let set = replicas.put(0, &path, policy).await?;
    let deadline = Instant::now() + SOON;
    loop {
        let settings = replicas.get(1, &path).await?;
        if settings["version"] == set["version"] {
            ensure!(settings["policy"] == set["policy"], "{settings}");
            break;
        }
        ensure!(Instant::now() < deadline, "{settings}");
        sleep(Duration::from_millis(20)).await;
    }
    let log = replicas.terminate_engine(1).await?;
    ensure!(log.contains("does not count"), "{log}");
    // So it is at the start.
    replicas.start_engine_with(1, &file).await?;
    let settings = replicas.get(1, &path).await?;
    ensure!(settings["policy"] == set["policy"], "{settings}");
    ensure!(settings["ignored"]["maxUnavailable"] == "2", "{settings}");
    let log = replicas.terminate_engine(1).await?;
    ensure!(log.contains("does not count"), "{log}");
    Ok(())
}

/// Waits until every engine says that the node of the test belongs to an environment.
async fn wait_for_environment(replicas: &Replicas, environment: &str) -> Result<()> {
    let deadline = Instant::now() + SOON;
    for engine in replicas.running() {
        loop {
            let nodes = replicas.get(engine, "/api/v1/nodes").await?;
            let node = &nodes["nodes"][0];
            if node["environment"] == environment && node["health"] == "passing" {
                break;
            }
            ensure!(Instant::now() < deadline, "engine {engine}: {nodes}");
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selector_that_is_set_on_one_engine_counts_on_all_and_moves_nodes() -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Redis, 2, PRODUCTION, 0).await?;
    // The file of one engine says something else. Nodes come to either engine.
    replicas.terminate_engine(1).await?;
    let file = "[environments.edge]\nselector = \"zone=north\"\n";
    replicas.start_engine_with(1, file).await?;
    let select = async |replicas: &Replicas, engine, environment: &str, selector: &str| {
        let path = format!("/api/v1/environments/{environment}");
        let body = json!({ "policy": {}, "selector": selector });
        let set = replicas.put(engine, &path, body).await?;
        let deadline = Instant::now() + SOON;
        for engine in replicas.running() {
            while replicas.get(engine, &path).await?["version"] != set["version"] {
                ensure!(
                    Instant::now() < deadline,
                    "engine {engine} has not heard of it"
                );
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    };
    select(&replicas, 0, "edge", "zone=south").await?;
    select(&replicas, 1, PRODUCTION, "zone=north").await?;
    let settings = replicas.get(1, "/api/v1/environments/edge").await?;
    ensure!(settings["selector"] == "zone=south", "{settings}");
    ensure!(settings["ignoredSelector"] == "zone=north", "{settings}");
    replicas.start_node_with(&["--zone", "north"], "a")?;
    wait_for_environment(&replicas, PRODUCTION).await?;
    // It moves without a restart of anything.
    select(&replicas, 1, PRODUCTION, "zone=east").await?;
    select(&replicas, 0, "edge", "zone=north").await?;
    wait_for_environment(&replicas, "edge").await?;
    let log = replicas.terminate_engine(1).await?;
    ensure!(log.contains("does not count"), "{log}");
    // An engine that starts has it from the store, not from its file.
    replicas
        .start_engine_with(1, &file.replace("north", "west"))
        .await?;
    let settings = replicas.get(1, "/api/v1/environments/edge").await?;
    ensure!(settings["selector"] == "zone=north", "{settings}");
    wait_for_environment(&replicas, "edge").await?;
    Ok(())
}

/// Whether each node is drained, as an engine knows it.
async fn drained(replicas: &Replicas, engine: usize) -> Result<Vec<bool>> {
    let nodes = replicas.get(engine, "/api/v1/nodes").await?;
    let nodes = nodes["nodes"].as_array().context("no nodes")?;
    let drained = nodes.iter().map(|node| node["cordon"]["drained"] == true);
    Ok(drained.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn drains_on_all_engines_at_once_keep_max_unavailable() -> Result<()> {
    const ENGINES: usize = 3;
    const NODES: usize = 4;
    const ROUNDS: usize = 12;
    let replicas = Replicas::start(RedisKind::Redis, ENGINES, PRODUCTION, NODES).await?;
    let path = format!("/api/v1/environments/{PRODUCTION}");
    let policy = json!({ "policy": { "defaultStrategy": "direct", "maxUnavailable": "1" } });
    let set = replicas.put(0, &path, policy).await?;
    let deadline = Instant::now() + SOON;
    for engine in 1..ENGINES {
        while replicas.get(engine, &path).await?["version"] != set["version"] {
            ensure!(Instant::now() < deadline, "engine {engine} has no policy");
            sleep(Duration::from_millis(20)).await;
        }
    }
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let verb = |node: usize, verb: &str| format!("/api/v1/nodes/{PRODUCTION}-{node}/{verb}");
    for round in 0..ROUNDS {
        let drains = (1..=NODES).map(|node| {
            let engine = (node + round) % ENGINES;
            let delay = Duration::from_micros(rng.u64(..3000));
            let (replicas, path) = (&replicas, verb(node, "drain"));
            async move {
                sleep(delay).await;
                (node, replicas.post(engine, &path, json!({})).await)
            }
        });
        let answers = join_all(drains.collect::<Vec<_>>()).await;
        let mut accepted = Vec::new();
        for (node, answer) in answers {
            match answer {
                Ok(_) => accepted.push(node),
                Err(error) => {
                    let text = format!("{error:#}");
                    ensure!(text.contains("too-many-unavailable"), "seed {seed}: {text}");
                }
            }
        }
        let [one] = accepted[..] else {
            anyhow::bail!("seed {seed}, round {round}: {accepted:?} are drained at the same time");
        };
        // Right after the answer of one engine, another one ends the drain.
        let engine = rng.usize(..ENGINES);
        let uncordon = verb(one, "uncordon");
        replicas.post(engine, &uncordon, json!({})).await?;
        let drained = drained(&replicas, engine).await?;
        ensure!(drained == [false; NODES], "seed {seed}: {drained:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn store_check_says_what_each_failure_costs() -> Result<()> {
    let replicas = Replicas::start(RedisKind::Valkey, 1, PRODUCTION, 0).await?;
    let check = async |more: &[&str]| {
        let mut command = tools::hotswap()?;
        command
            .current_dir(replicas.folder())
            .args(["store", "check", "--config", "engine-1.toml"])
            .args(more);
        ChildProcess::start(command)?.wait_for_exit().await
    };
    let exit = check(&[]).await?;
    ensure!(exit.code == Some(0), "{exit:?}");
    let text = exit.stdout.join("\n");
    for expected in [
        "durable   yes",
        "in the median of 50",
        "engines   engine-1",
        "the server's machine, which comes back        nothing",
    ] {
        ensure!(text.contains(expected), "{text}");
    }
    // What it may lose is told by the server, not by the configuration.
    replicas
        .server
        .command(&["CONFIG", "SET", "appendonly", "no"])?;
    let exit = check(&["--json"]).await?;
    ensure!(exit.code == Some(1), "{exit:?}");
    let report: Value = serde_json::from_str(&exit.stdout.join("\n"))?;
    ensure!(report["durable"] == json!(false), "{report}");
    ensure!(
        report["faults"][0]
            .as_str()
            .is_some_and(|fault| fault.contains("appendonly"))
    );
    ensure!(report["losses"][2]["what"] == "everything", "{report}");
    Ok(())
}

/// Waits until a series of an engine is as expected, and returns its value.
async fn wait_for_metric(
    replicas: &Replicas,
    engine: usize,
    series: &str,
    is_expected: impl Fn(f64) -> bool,
) -> Result<f64> {
    let deadline = Instant::now() + SOON;
    loop {
        let value = replicas.metric(engine, series).await?;
        if is_expected(value) {
            return Ok(value);
        }
        ensure!(Instant::now() < deadline, "{series} is {value}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_leases_take_overs_and_the_connection_to_the_store() -> Result<()> {
    const DRIVEN: &str = "hotswap_store_leases{kind=\"deployment\"}";
    const WORKED_IN: &str = "hotswap_store_leases{kind=\"environment\"}";
    const TAKE_OVERS: &str = "hotswap_store_take_overs_total";
    const RECONNECTS: &str = "hotswap_store_reconnects_total";
    const LAG: &str = "hotswap_store_tail_lag_seconds";
    // A busy machine must not move what an engine drives.
    const LEASE: &str = "lease = \"15s\"\n";
    let server = RedisServer::start(RedisKind::Redis)?;
    let store = (server.url(), LEASE.to_owned());
    let mut replicas = Replicas::start_on((server, store), PRODUCTION, (1, 2), &[]).await?;
    let strategy = ("rolling", json!({ "batch": 1, "settle": "1h" }));
    let id = replicas.deploy(0, "1.0.0", strategy).await?;
    ensure!(replicas.wait_for_driver(&id, None).await? == 0);
    let proxy = RedisProxy::start(replicas.server.port()).await?;
    replicas.start_engine_at(1, &proxy.url(), LEASE).await?;
    replicas.wait_for_event(1, &id, 4).await?;
    for (engine, leases) in [(0, 1.0), (1, 0.0)] {
        for series in [DRIVEN, WORKED_IN] {
            wait_for_metric(&replicas, engine, series, |held| held == leases).await?;
        }
        ensure!(replicas.metric(engine, TAKE_OVERS).await? == 0.0);
        ensure!(replicas.metric(engine, RECONNECTS).await? == 0.0);
        wait_for_metric(&replicas, engine, LAG, |lag| lag == 0.0).await?;
    }

    proxy.disconnect();
    // The one that follows the log, and the one by which the engine gives its signs of life.
    wait_for_metric(&replicas, 1, RECONNECTS, |count| count >= 2.0).await?;
    ensure!(replicas.metric(0, RECONNECTS).await? == 0.0);

    proxy.stall(true);
    let lag = wait_for_metric(&replicas, 1, LAG, |lag| lag > 0.0).await?;
    wait_for_metric(&replicas, 1, LAG, |later| later > lag + 1.0).await?;
    ensure!(replicas.metric(0, LAG).await? == 0.0);
    proxy.stall(false);
    wait_for_metric(&replicas, 1, LAG, |lag| lag == 0.0).await?;

    replicas.kill_engine(0).await?;
    ensure!(replicas.wait_for_driver(&id, Some(0)).await? == 1);
    for series in [TAKE_OVERS, DRIVEN, WORKED_IN] {
        wait_for_metric(&replicas, 1, series, |value| value == 1.0).await?;
    }
    let path = format!("/api/v1/deployments/{id}/abort");
    replicas.post(1, &path, json!({})).await?;
    replicas.wait_for_end(1, &id).await?;
    wait_for_metric(&replicas, 1, DRIVEN, |held| held == 0.0).await?;
    ensure!(replicas.metric(1, TAKE_OVERS).await? == 1.0);
    Ok(())
}

/// Waits until an engine's answer to a probe of readiness is as expected, and returns the problem
/// where it is not ready.
async fn wait_for_readiness(
    replicas: &Replicas,
    engine: usize,
    is_expected: impl Fn(Option<&str>) -> bool,
) -> Result<()> {
    let deadline = Instant::now() + SOON;
    loop {
        let answer = replicas.get(engine, "/health/ready").await;
        let problem = answer.err().map(|error| error.to_string());
        if is_expected(problem.as_deref()) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{problem:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_say_what_the_server_of_their_store_promises_no_more() -> Result<()> {
    const DURABLE: &str = "hotswap_store_durable";
    let replicas = Replicas::start(RedisKind::Valkey, 2, PRODUCTION, 0).await?;
    for (policy, promises) in [
        ("noeviction", 1.0),
        ("allkeys-lru", 0.0),
        ("noeviction", 1.0),
    ] {
        let set = ["CONFIG", "SET", "maxmemory-policy", policy];
        let set = replicas.server.command(&set)?;
        ensure!(set == "+OK\r\n", "{set}");
        for engine in 0..2 {
            wait_for_metric(&replicas, engine, DURABLE, |shown| shown == promises).await?;
            let ready = replicas.get(engine, "/health/ready").await?;
            let is_warned = ready["warnings"].to_string().contains("noeviction");
            ensure!(is_warned == (promises == 0.0), "{ready}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_with_different_limits_and_selectors_both_say_so() -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Redis, 2, PRODUCTION, 0).await?;
    for engine in 0..2 {
        let ready = replicas.get(engine, "/health/ready").await?;
        let warnings = ready["warnings"].to_string();
        ensure!(!warnings.contains("limits.calls"), "{ready}");
    }
    replicas.terminate_engine(1).await?;
    let other = "[limits]\ncalls = 77\n\n[environments.qa]\nselector = \"zone=north\"\n";
    replicas.start_engine_with(1, other).await?;
    for (engine, name) in [(0, "engine-2"), (1, "engine-1")] {
        let deadline = Instant::now() + SOON;
        let expected = [
            "limits.calls is '".to_owned(),
            "environments.qa.selector is ".to_owned(),
            format!("on {name}"),
        ];
        loop {
            let warnings = replicas.get(engine, "/health/ready").await?["warnings"].to_string();
            if expected.iter().all(|part| warnings.contains(part)) {
                break;
            }
            ensure!(Instant::now() < deadline, "{engine}: {warnings}");
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_whose_store_refuses_writes_is_not_ready_and_says_why() -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Redis, 1, PRODUCTION, 0).await?;
    let set = |replicas: &Replicas, command: &[&str]| -> Result<()> {
        let answer = replicas.server.command(command)?;
        ensure!(!answer.starts_with('-'), "{command:?}: {answer}");
        Ok(())
    };
    wait_for_readiness(&replicas, 0, |problem| problem.is_none()).await?;
    // All of them answer reads as before.
    for (spoil, repair, reason) in [
        (
            &["CONFIG", "SET", "maxmemory", "1"][..],
            &["CONFIG", "SET", "maxmemory", "0"][..],
            "its memory is full",
        ),
        (
            &["REPLICAOF", "127.0.0.1", "1"],
            &["REPLICAOF", "NO", "ONE"],
            "it is a replica",
        ),
        (
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
            "too few replicas",
        ),
    ] {
        set(&replicas, spoil)?;
        let says_why = |problem: Option<&str>| {
            problem.is_some_and(|problem| problem.contains("503") && problem.contains(reason))
        };
        wait_for_readiness(&replicas, 0, says_why).await?;
        set(&replicas, repair)?;
        wait_for_readiness(&replicas, 0, |problem| problem.is_none()).await?;
    }
    // No file can take the place of a folder, so the server cannot save.
    let snapshot = replicas.server.folder().join("dump.rdb");
    std::fs::create_dir_all(snapshot.join("a"))?;
    set(&replicas, &["CONFIG", "SET", "save", "3600 1000000"])?;
    set(&replicas, &["BGSAVE"])?;
    let says_why = |problem: Option<&str>| {
        problem.is_some_and(|problem| problem.contains("cannot save to its disk"))
    };
    wait_for_readiness(&replicas, 0, says_why).await?;
    std::fs::remove_dir_all(&snapshot)?;
    set(&replicas, &["BGSAVE"])?;
    wait_for_readiness(&replicas, 0, |problem| problem.is_none()).await?;
    // A server that stands still is noticed by its silence, too.
    replicas.server.pause()?;
    wait_for_readiness(&replicas, 0, |problem| {
        problem.is_some_and(|problem| problem.contains("no sign of life"))
    })
    .await?;
    replicas.server.resume()?;
    wait_for_readiness(&replicas, 0, |problem| problem.is_none()).await?;
    let log = replicas.terminate_engine(0).await?;
    ensure!(log.contains("cannot renew the session"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_every_event_once_on_whichever_engine_it_returns_to() -> Result<()> {
    let replicas = Replicas::start(RedisKind::Redis, 3, PRODUCTION, 2).await?;
    let strategy = ("rolling", json!({ "batch": 1, "settle": "1s" }));
    let id = replicas.deploy(0, "1.0.0", strategy).await?;
    let driver = replicas.wait_for_driver(&id, None).await?;
    let (mut seen, mut cursor) = (Vec::new(), None);
    // After every two events to the next engine.
    for engine in (driver + 1..).map(|number| number % 3) {
        let mut stream = EventStream::open(&replicas, engine, &id, cursor.as_deref()).await?;
        let mut count = 0;
        while count < 2 {
            match stream.next().await? {
                StreamedItem::Event(id, event) => {
                    cursor = Some(id);
                    seen.push(event);
                    count += 1;
                }
                StreamedItem::Marker(name) if name == "end" => break,
                StreamedItem::Marker(name) if name == "reset" => anyhow::bail!("it starts over"),
                StreamedItem::Closed => break,
                StreamedItem::Marker(_) | StreamedItem::Heartbeat => {}
            }
        }
        if seen
            .last()
            .is_some_and(|event| event["body"]["type"] == "ended")
        {
            break;
        }
        ensure!(count == 2, "the stream ended early: {seen:?}");
    }
    let numbers: Vec<_> = seen
        .iter()
        .filter_map(|event| event["seq"].as_u64())
        .collect();
    let all = replicas.events(driver, &id).await?;
    let expected: Vec<u64> = (0..all.len() as u64).collect();
    ensure!(numbers == expected, "{numbers:?} of {expected:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_client_misses_nothing_on_whichever_engine_it_returns_to() -> Result<()> {
    let replicas = Replicas::start(RedisKind::Valkey, 3, PRODUCTION, 2).await?;
    let mut stays = HubClient::connect(&replicas, 0).await?;
    let mut position = stays.subscribe_to_all(&Value::Null).await?;
    let strategy = ("rolling", json!({ "batch": 1, "settle": "1s" }));
    replicas.deploy(0, "1.0.0", strategy).await?;
    let is_end = |(target, _): &(String, Value)| target == "DeploymentCompleted";
    let mut seen = Vec::new();
    // After every two messages to the next engine.
    for engine in (1..).map(|number| number % 3) {
        let mut client = HubClient::connect(&replicas, engine).await?;
        let resume = json!({ "epoch": position["epoch"], "offset": position["offset"] });
        let answer = client.subscribe_to_all(&resume).await?;
        ensure!(answer["recovered"] == true, "{answer}");
        for _ in 0..2 {
            let message = client.next().await?;
            position = message.1.clone();
            seen.push(message);
            if seen.last().is_some_and(is_end) {
                break;
            }
        }
        if seen.last().is_some_and(is_end) {
            break;
        }
    }
    let mut expected = Vec::new();
    while !expected.last().is_some_and(is_end) {
        expected.push(stays.next().await?);
    }
    ensure!(seen == expected, "{seen:?} instead of {expected:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_all_events_goes_on_on_whichever_engine_a_client_returns_to() -> Result<()> {
    let replicas = Replicas::start(RedisKind::Redis, 3, PRODUCTION, 2).await?;
    let mut stays = EventStream::open_all(&replicas, 0, None).await?;
    // Where it begins.
    let first = stays.next().await?;
    ensure!(
        first == StreamedItem::Marker("live".to_owned()),
        "{first:?}"
    );
    let strategy = ("rolling", json!({ "batch": 1, "settle": "1s" }));
    replicas.deploy(0, "1.0.0", strategy).await?;
    let is_end = |item: Option<&(String, Value)>| {
        item.is_some_and(|(_, event)| event["body"]["type"] == "ended")
    };
    let mut expected = Vec::new();
    while !is_end(expected.last()) {
        if let StreamedItem::Event(cursor, event) = stays.next().await? {
            expected.push((cursor, event));
        }
    }
    let mut seen = vec![expected[0].clone()];
    for engine in (1..).map(|number| number % 3) {
        let cursor = seen.last().map(|(cursor, _)| cursor.clone());
        let mut stream = EventStream::open_all(&replicas, engine, cursor.as_deref()).await?;
        let end = seen.len() + 2;
        while seen.len() < end && !is_end(seen.last()) {
            match stream.next().await? {
                StreamedItem::Event(cursor, event) => seen.push((cursor, event)),
                StreamedItem::Marker(name) if name == "live" => {}
                StreamedItem::Heartbeat => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
        if is_end(seen.last()) {
            break;
        }
    }
    ensure!(seen == expected, "{seen:?} instead of {expected:?}");
    Ok(())
}

async fn next_sample_time(client: &mut HubClient) -> Result<u64> {
    let (target, sample) = client.next().await?;
    ensure!(target == "MetricsUpdated", "{target} {sample}");
    sample["timestamp"].as_u64().context("no time")
}

/// Waits until two clients of different engines get the same samples: the same readings, for no two
/// engines read in the same millisecond twice.
async fn wait_for_equal_samples(one: &mut HubClient, other: &mut HubClient) -> Result<()> {
    let deadline = Instant::now() + SOON;
    let mut in_a_row = 0;
    let (mut first, mut second) = (next_sample_time(one).await?, next_sample_time(other).await?);
    while in_a_row < 2 {
        ensure!(
            Instant::now() < deadline,
            "two readings: {first} and {second}"
        );
        match first.cmp(&second) {
            Ordering::Less => {
                first = next_sample_time(one).await?;
                in_a_row = 0;
            }
            Ordering::Greater => {
                second = next_sample_time(other).await?;
                in_a_row = 0;
            }
            Ordering::Equal => {
                in_a_row += 1;
                first = next_sample_time(one).await?;
                second = next_sample_time(other).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_engine_reads_the_metrics_of_the_nodes_for_all() -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Redis, 3, PRODUCTION, 1).await?;
    let mut clients = Vec::new();
    for engine in 0..3 {
        clients.push(HubClient::connect_to_metrics(&replicas, engine, PRODUCTION).await?);
    }
    let [oldest, older, young] = clients.as_mut_slice() else {
        unreachable!("there are three");
    };
    wait_for_equal_samples(oldest, older).await?;
    wait_for_equal_samples(older, young).await?;
    replicas.kill_engine(0).await?;
    wait_for_equal_samples(older, young).await
}

/// Starts an engine by a file of [`Replicas::write_config`], and waits until it has tried its store in
/// vain.
async fn start_without_store(replicas: &Replicas, file: &str) -> Result<ChildProcess> {
    let mut command = tools::hotswap()?;
    command.current_dir(replicas.folder()).args([
        "serve",
        "--config",
        file,
        "--listen",
        "127.0.0.1:0",
    ]);
    let mut engine = ChildProcess::start(command)?;
    let waits = |line: &str| {
        line.contains("the store is not available yet")
            .then_some(())
    };
    engine.find_in_stderr(waits).await?;
    Ok(engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_starts_before_the_server_of_its_store_waits_for_it() -> Result<()> {
    let server = RedisServer::start(RedisKind::Valkey)?;
    let (url, patience) = (server.url(), "patience = \"1s\"\n");
    let store = (url.clone(), patience.to_owned());
    let mut replicas = Replicas::start_on((server, store), PRODUCTION, (1, 0), &[]).await?;
    replicas.terminate_engine(0).await?;
    replicas.server.kill();
    let config = format!("[store]\nurl = \"{url}\"\nengine = \"e\"\n{patience}");
    let file = replicas.write_config(0, &config)?;

    let waiting = start_without_store(&replicas, &file).await?;
    waiting.terminate()?;
    let ended = waiting.wait_for_exit().await?;
    ensure!(ended.code == Some(0), "{}", ended.stderr);

    let mut waiting = start_without_store(&replicas, &file).await?;
    replicas.server.restart()?;
    let serves = |line: &str| line.contains("api listening").then_some(());
    waiting.find_in_stderr(serves).await?;
    waiting.terminate()?;
    waiting.wait_for_exit().await?;

    // No wait where a person has to act.
    replicas.server.kill();
    let waiting = start_without_store(&replicas, &file).await?;
    let with_password = ["--appendonly", "yes", "--requirepass", "another"];
    replicas.server.restart_with(&with_password)?;
    let ended = waiting.wait_for_exit().await?;
    ensure!(ended.code != Some(0), "{}", ended.stderr);
    ensure!(
        ended.stderr.contains("password is wrong"),
        "{}",
        ended.stderr
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_starts_waits_for_a_store_that_is_full_or_lacks_its_replica() -> Result<()> {
    let mut replicas = Replicas::start(RedisKind::Valkey, 1, PRODUCTION, 0).await?;
    replicas.terminate_engine(0).await?;
    let url = replicas.server.url();
    let serves = |line: &str| line.contains("api listening").then_some(());
    let set = ["CONFIG", "SET", "maxmemory"];
    let config = format!("[store]\nurl = \"{url}\"\nengine = \"e\"\n");
    let file = replicas.write_config(0, &config)?;
    replicas.server.command(&[&set[..], &["1"]].concat())?;
    let mut waiting = start_without_store(&replicas, &file).await?;
    replicas.server.command(&[&set[..], &["0"]].concat())?;
    waiting.find_in_stderr(serves).await?;
    waiting.terminate()?;
    waiting.wait_for_exit().await?;

    let file = replicas.write_config(0, &format!("{config}waitForReplicas = 1\n"))?;
    let mut waiting = start_without_store(&replicas, &file).await?;
    let port = replicas.server.port().to_string();
    let replica = ["--replicaof", "127.0.0.1", &port];
    let durable = RedisServer::DURABLE;
    let _replica = RedisServer::start_with(RedisKind::Valkey, &[&replica[..], &durable].concat())?;
    waiting.find_in_stderr(serves).await?;
    waiting.terminate()?;
    waiting.wait_for_exit().await?;
    Ok(())
}
