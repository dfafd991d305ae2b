//! Rollouts to nodes that were found only through a registry, with the real programs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::tools;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::contents::{self, registered};
use crate::found::{Found, FoundIn};

/// Time limit of each wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(120);

const FOUR: [&str; 4] = [
    "production-1",
    "production-2",
    "production-3",
    "production-4",
];

async fn a_canary_over_found_nodes(place: FoundIn) -> Result<()> {
    let mut found = Found::start(place, 4).await?;
    found.check_sources().await?;
    found.roll_out("1.0.0").await?;
    found.until_they_run(&FOUR, "1.0.0").await?;
    let id = found.begin_canary("2.0.0", "4s").await?;
    found.start_node("new-1").await?;
    found.start_node("new-2").await?;
    found.kill_node("production-4").await?;
    let state = found.installation.wait_for_end(&id).await?;
    ensure!(state["status"] == "partial", "{state:#}");
    let living = [
        "production-1",
        "production-2",
        "production-3",
        "new-1",
        "new-2",
    ];
    found.until_they_run(&living, "2.0.0").await?;
    // It comes back with the version before, at another port.
    found.start_node("production-4").await?;
    found.until_they_run(&FOUR, "2.0.0").await?;
    found.check_sources().await
}

#[tokio::test]
async fn a_canary_over_nodes_that_only_consul_knows_while_two_join_and_one_dies() -> Result<()> {
    a_canary_over_found_nodes(FoundIn::Consul).await
}

#[tokio::test]
async fn a_canary_over_nodes_that_only_etcd_knows_while_two_join_and_one_dies() -> Result<()> {
    a_canary_over_found_nodes(FoundIn::Etcd).await
}

#[tokio::test]
async fn a_canary_over_nodes_that_only_endpoint_slices_name_while_two_join_and_one_dies()
-> Result<()> {
    a_canary_over_found_nodes(FoundIn::Kubernetes).await
}

#[tokio::test]
async fn a_canary_over_nodes_that_only_dns_knows_while_two_join_and_one_dies() -> Result<()> {
    a_canary_over_found_nodes(FoundIn::Dns).await
}

/// The registry is killed and comes back in the middle of a rollout. Returns once the engine sees
/// the whole fleet there again.
async fn a_rollout_does_not_need_the_registry(place: FoundIn) -> Result<Found> {
    let mut found = Found::start(place, 4).await?;
    found.roll_out("1.0.0").await?;
    let mut source = found.source().await?;
    let id = found.begin_canary("2.0.0", "10s").await?;
    found.server.kill().await?;
    let is_stale = |source: &Value| source["condition"] == "stale";
    source.until("the registry is gone", is_stale).await?;
    found.server.restart().await?;
    let state = found
        .installation
        .get(&format!("/api/v1/deployments/{id}"))
        .await?;
    ensure!(state["endedAt"].is_null(), "it ended too early: {state:#}");
    let state = found.installation.wait_for_end(&id).await?;
    ensure!(state["status"] == "succeeded", "{state:#}");
    found.until_they_run(&FOUR, "2.0.0").await?;
    // A Consul without a disk has lost everything, and gets all registrations again.
    source.until("all are there again", is_whole).await?;
    Ok(found)
}

fn is_whole(source: &Value) -> bool {
    source["condition"] == "healthy" && source["instances"] == 4
}

#[tokio::test]
async fn a_rollout_goes_on_while_consul_is_killed_and_comes_back_without_its_data() -> Result<()> {
    a_rollout_does_not_need_the_registry(FoundIn::Consul)
        .await
        .map(drop)
}

async fn a_rollout_does_not_need_etcd_or_its_data(place: FoundIn) -> Result<()> {
    let found = a_rollout_does_not_need_the_registry(place).await?;
    let mut source = found.source().await?;
    contents::forget_everything(&found.server).await?;
    found.roll_out("3.0.0").await?;
    for node in found.nodes().await? {
        ensure!(node["health"] == "passing", "{node:#}");
    }
    source.until("they register again", is_whole).await?;
    found.until_they_run(&FOUR, "3.0.0").await
}

#[tokio::test]
async fn a_rollout_goes_on_while_etcd_is_killed_and_restarted_and_while_it_forgets_all()
-> Result<()> {
    a_rollout_does_not_need_etcd_or_its_data(FoundIn::Etcd).await
}

#[tokio::test]
async fn a_rollout_goes_on_while_etcd_3_5_is_killed_and_restarted_and_while_it_forgets_all()
-> Result<()> {
    a_rollout_does_not_need_etcd_or_its_data(FoundIn::Etcd35).await
}

/// Its slices are gone, and its account. The nodes still answer the engine.
#[tokio::test]
async fn a_rollout_goes_on_after_kubernetes_has_lost_its_whole_store() -> Result<()> {
    let mut found = Found::start(FoundIn::Kubernetes, 4).await?;
    found.roll_out("1.0.0").await?;
    let mut source = found.source().await?;
    let id = found.begin_canary("2.0.0", "10s").await?;
    found.lose_the_store().await?;
    let is_held = |source: &Value| {
        source["condition"] == "held" && source["held"]["lost"] == 4 && source["held"]["alive"] == 4
    };
    source.until("the loss is held", is_held).await?;
    let state = found.installation.wait_for_end(&id).await?;
    ensure!(state["status"] == "succeeded", "{state:#}");
    found.until_they_run(&FOUR, "2.0.0").await?;
    found.check_sources().await?;
    // The view is held, and not stale: new deployments are not refused.
    found.roll_out("3.0.0").await?;
    found.until_they_run(&FOUR, "3.0.0").await
}

#[tokio::test]
async fn a_rollout_goes_on_while_the_api_server_of_kubernetes_is_killed_and_restarted() -> Result<()>
{
    a_rollout_does_not_need_the_registry(FoundIn::Kubernetes)
        .await
        .map(drop)
}

#[tokio::test]
async fn a_rollout_goes_on_while_the_name_server_is_killed_and_restarted() -> Result<()> {
    a_rollout_does_not_need_the_registry(FoundIn::Dns)
        .await
        .map(drop)
}

/// The registry says that there are no nodes, all of which answer the engine.
async fn a_rollout_does_not_need_the_nodes_to_be_listed(place: FoundIn) -> Result<()> {
    let mut found = Found::start(place, 4).await?;
    found.roll_out("1.0.0").await?;
    let mut source = found.source().await?;
    let id = found.begin_canary("2.0.0", "10s").await?;
    found.withdraw_nodes().await?;
    let is_held = |source: &Value| {
        source["condition"] == "held" && source["held"]["lost"] == 4 && source["held"]["alive"] == 4
    };
    source.until("the loss is held", is_held).await?;
    let path = format!("/api/v1/deployments/{id}");
    let state = found.installation.get(&path).await?;
    ensure!(state["endedAt"].is_null(), "it ended too early: {state:#}");
    let state = found.installation.wait_for_end(&id).await?;
    ensure!(state["status"] == "succeeded", "{state:#}");
    found.until_they_run(&FOUR, "2.0.0").await?;
    found.publish_nodes().await?;
    source.until("they are there again", is_whole).await?;
    found.roll_out("3.0.0").await?;
    found.until_they_run(&FOUR, "3.0.0").await
}

/// As whoever owns the zone publishes one without the nodes.
#[tokio::test]
async fn a_rollout_goes_on_while_the_zone_has_lost_all_nodes() -> Result<()> {
    a_rollout_does_not_need_the_nodes_to_be_listed(FoundIn::Dns).await
}

/// No agent knows the nodes, so none puts them back.
#[tokio::test]
async fn a_rollout_goes_on_while_the_catalogue_of_consul_has_lost_all_nodes() -> Result<()> {
    a_rollout_does_not_need_the_nodes_to_be_listed(FoundIn::ConsulCatalogue).await
}

/// No node holds the keys, so none puts them back.
#[tokio::test]
async fn a_rollout_goes_on_while_etcd_has_lost_all_nodes() -> Result<()> {
    a_rollout_does_not_need_the_nodes_to_be_listed(FoundIn::EtcdKeys).await
}

#[tokio::test]
async fn the_health_that_consul_says_and_what_the_engine_sees_itself_are_both_shown() -> Result<()>
{
    let mut found = Found::consul(2, "").await?;
    found.kill_node("production-2").await?;
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let source = found.installation.get("/api/v1/discovery/main").await?;
        let instances = source["instances"].as_array().context("no instances")?;
        let dead = instances.iter().find(|it| it["id"] == "production-2");
        let dead = dead.context("Consul still has it")?;
        // Consul believes in it until it has not reported in for 30 s.
        if dead["health"] == "passing" && dead["poll"]["ok"] == false {
            let reason = dead["poll"]["reason"].as_str().unwrap_or_default();
            ensure!(!reason.is_empty(), "{dead:#}");
            break;
        }
        ensure!(Instant::now() < deadline, "{dead:#}");
        sleep(Duration::from_millis(50)).await;
    }
    let mut get = tools::hotswap()?;
    let output = get
        .current_dir(found.installation.folder())
        .args(["--server", &found.installation.url])
        .args(["--token-file", "engine/token", "discovery", "get", "main"])
        .output()
        .await?;
    let table = String::from_utf8(output.stdout)?;
    let row = table.lines().find(|line| line.starts_with("production-2"));
    let row = row.with_context(|| table.clone())?;
    ensure!(row.contains("passing") && !row.contains(" ok "), "{table}");
    Ok(())
}

#[tokio::test]
async fn a_node_registers_with_its_place_and_its_version() -> Result<()> {
    let mut found = Found::consul(1, "").await?;
    let flags = ["--zone", "eu", "--label", "tier=edge"];
    found.installation.add_node_flags(&flags);
    found.start_node("labelled").await?;
    found.installation.wait_for_nodes(2).await?;
    let path = "/v1/health/service/hotswap-node";
    let entries = found.server.request("GET", path, "").await?;
    let entries: Value = serde_json::from_str(&entries)?;
    let mut services = entries
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| &it["Service"]);
    let service = services.find(|service| service["ID"] == "labelled");
    let service = service.with_context(|| entries.to_string())?;
    let meta = &service["Meta"];
    ensure!(
        meta["zone"] == "eu" && meta["tier"] == "edge",
        "{service:#}"
    );
    ensure!(meta["environment"] == "production", "{service:#}");
    ensure!(meta["version"] == env!("CARGO_PKG_VERSION"), "{service:#}");
    let nodes = found.nodes().await?;
    let node = nodes.iter().find(|node| node["id"] == "labelled");
    let node = node.context("it has reported")?;
    // As the node itself says it.
    for (port, url) in [("port-control", "controlUrl"), ("port-data", "dataUrl")] {
        let own = node[url].as_str().and_then(|url| url.rsplit(':').next());
        ensure!(meta[port].as_str() == own, "{service:#} {node:#}");
    }
    ensure!(service["Address"] == "127.0.0.1", "{service:#}");
    Ok(())
}

#[tokio::test]
async fn while_consul_is_gone_for_too_long_new_deployments_are_refused_and_a_running_one_goes_on()
-> Result<()> {
    let mut found = Found::consul(4, "maxAge = \"1s\"\n").await?;
    found.roll_out("1.0.0").await?;
    let id = found.begin_canary("2.0.0", "10s").await?;
    found.server.kill().await?;
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let refused = found
            .installation
            .propose("3.0.0", "direct", json!({}))
            .await;
        let refused = refused
            .err()
            .context("another deployment runs")?
            .to_string();
        if refused.contains("stale-view") {
            ensure!(
                refused.contains("'main'") && refused.contains("maxAge"),
                "{refused}"
            );
            break;
        }
        ensure!(Instant::now() < deadline, "{refused}");
        sleep(Duration::from_millis(50)).await;
    }
    let state = found.installation.wait_for_end(&id).await?;
    ensure!(state["status"] == "succeeded", "{state:#}");
    found.until_they_run(&FOUR, "2.0.0").await?;
    found.server.restart().await?;
    found.source().await?.until("it is back", is_whole).await?;
    found.roll_out("3.0.0").await
}

/// Nodes and engine register themselves, and are gone once they have stopped.
async fn registrations_come_and_go(place: FoundIn) -> Result<()> {
    let mut found = Found::start(place, 2).await?;
    let (nodes, engine) = ("hotswap-node", "distributed-kernel-orchestrator");
    let deadline = Instant::now() + TIMEOUT;
    // The engine sends no event when it has registered itself.
    while !registered(&found.server, engine)
        .await?
        .contains("127.0.0.1")
    {
        ensure!(Instant::now() < deadline, "the engine does not register");
        sleep(Duration::from_millis(50)).await;
    }
    let all = registered(&found.server, nodes).await?;
    ensure!(all.contains("production-1") && all.contains("production-2"));
    let log = found.installation.terminate_node("production-1").await?;
    let left = registered(&found.server, nodes).await?;
    ensure!(!left.contains("production-1"), "{left} {log}");
    let has_stopped = |found: &[Value]| {
        let mut nodes = found.iter();
        let node = nodes.find(|node| node["id"] == "production-1");
        node.is_some_and(|node| node["reason"] == "it has stopped")
    };
    found.until_nodes("it has stopped", has_stopped).await?;
    // Neither hangs on a registry that does.
    found.installation.terminate_engine().await?;
    let left = registered(&found.server, engine).await?;
    ensure!(!left.contains("127.0.0.1"), "{left}");
    found.server.kill().await?;
    let started = Instant::now();
    found.installation.terminate_node("production-2").await?;
    let took = started.elapsed();
    ensure!(took < Duration::from_secs(15), "{took:?}");
    Ok(())
}

/// How soon the engine must believe that the last node has deregistered. Shorter than the time after
/// which it would ask the registry again, if it took this for a loss.
const BELIEVED: Duration = Duration::from_secs(4);

/// The node serves on for longer than the test takes: the engine does not wait for its end.
async fn the_last_node_is_gone_as_soon_as_it_deregisters(place: FoundIn) -> Result<()> {
    let mut found = Found::start(place, 0).await?;
    found.set_lame_duck("10m");
    for id in ["last-1", "last-2"] {
        found.start_node(id).await?;
    }
    found.installation.wait_for_nodes(2).await?;
    let mut source = found.source().await?;
    for (id, left) in [("last-1", 1), ("last-2", 0)] {
        found.ask_node_to_stop(id).await?;
        // A node deregisters itself some time after the signal; others have been deregistered.
        while matches!(place, FoundIn::Consul | FoundIn::Etcd | FoundIn::Etcd35)
            && registered(&found.server, "hotswap-node")
                .await?
                .contains(id)
        {
            sleep(Duration::from_millis(10)).await;
        }
        let known = Instant::now();
        let is_gone =
            |source: &Value| source["condition"] == "healthy" && source["instances"] == left;
        source.until("it is gone", is_gone).await?;
        let took = known.elapsed();
        ensure!(took < BELIEVED, "{id} was gone after {took:?}");
    }
    let live = found.installation.kill_node("last-2").await;
    live.context("the node ended by itself")
}

#[tokio::test]
async fn the_last_node_that_deregisters_from_consul_is_gone_at_once() -> Result<()> {
    the_last_node_is_gone_as_soon_as_it_deregisters(FoundIn::Consul).await
}

#[tokio::test]
async fn the_last_node_that_deregisters_from_etcd_is_gone_at_once() -> Result<()> {
    the_last_node_is_gone_as_soon_as_it_deregisters(FoundIn::Etcd).await
}

#[tokio::test]
async fn the_last_pod_that_stops_is_gone_at_once() -> Result<()> {
    the_last_node_is_gone_as_soon_as_it_deregisters(FoundIn::Kubernetes).await
}

#[tokio::test]
async fn a_node_is_critical_in_consul_until_an_engine_has_told_it_what_to_run() -> Result<()> {
    let mut found = Found::start(FoundIn::Consul, 1).await?;
    let deadline = Instant::now() + TIMEOUT;
    let find = async |found: &Found, query: &str| {
        let path = format!("/v1/health/service/hotswap-node{query}");
        found.server.request("GET", &path, "").await
    };
    while !find(&found, "?passing").await?.contains("production-1") {
        ensure!(Instant::now() < deadline, "the first node is not ready");
        sleep(Duration::from_millis(50)).await;
    }
    found.installation.terminate_engine().await?;
    found.start_node("new-1").await?;
    while !find(&found, "").await?.contains("new-1") {
        ensure!(Instant::now() < deadline, "it does not register");
        sleep(Duration::from_millis(50)).await;
    }
    let ready = find(&found, "?passing").await?;
    ensure!(!ready.contains("new-1"), "{ready}");
    ensure!(ready.contains("production-1"), "{ready}");
    found.installation.restart_engine().await?;
    while !find(&found, "?passing").await?.contains("new-1") {
        ensure!(Instant::now() < deadline, "it does not become ready");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn nodes_and_engine_register_in_consul_and_deregister_when_they_stop() -> Result<()> {
    registrations_come_and_go(FoundIn::Consul).await
}

#[tokio::test]
async fn nodes_and_engine_register_in_etcd_and_deregister_when_they_stop() -> Result<()> {
    registrations_come_and_go(FoundIn::Etcd).await
}
