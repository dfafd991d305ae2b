//! Rollouts to nodes that were found only through a registry, with the real programs: the nodes
//! register themselves, and the engine finds them there.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{Installation, RegistryKind, RegistryServer};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// Time limit of each wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(120);

/// One node may die without ending a rollout.
const POLICY: &str = "[environments.production]\ntoleratedFailures = 1\nrevertPatience = \"2s\"\n";

/// A registry, and an installation whose nodes are found there.
struct Found {
    server: RegistryServer,
    kind: RegistryKind,
    installation: Installation,
}

impl Found {
    async fn start(kind: RegistryKind, nodes: usize) -> Result<Self> {
        let server = RegistryServer::start(kind).await?;
        let url = server.url();
        let (backend, servers) = match kind {
            RegistryKind::Consul => ("consul", "agents"),
            RegistryKind::Etcd => ("etcd", "endpoints"),
            _ => anyhow::bail!("no table for {kind:?}"),
        };
        let table = format!(
            "[[discovery]]\nname = \"main\"\nbackend = \"{backend}\"\norigins = [\"{url}\"]\n\
             networks = [\"127.0.0.0/8\"]\n[discovery.settings]\n{servers} = [\"{url}\"]\n"
        );
        let started = Installation::start_found("production", nodes, POLICY, &table);
        Ok(Self {
            installation: started.await?,
            server,
            kind,
        })
    }

    async fn nodes(&self) -> Result<Vec<Value>> {
        let nodes = self.installation.get("/api/v1/nodes").await?;
        Ok(nodes["nodes"].as_array().context("no nodes")?.clone())
    }

    /// Waits until each of these nodes runs a version of `hello`.
    async fn until_they_run(&self, ids: &[&str], version: &str) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let nodes = self.nodes().await?;
            let runs = |id: &&str| {
                let node = nodes.iter().find(|node| node["id"] == *id);
                let actual = node.and_then(|node| node["modules"].as_array()?.first());
                actual.is_some_and(|module| module["actual"] == version)
            };
            if ids.iter().all(runs) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{ids:?} {version}: {nodes:#?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn begin(&self, version: &str, strategy: &str, config: Value) -> Result<String> {
        let id = self.installation.propose(version, strategy, config).await?;
        self.installation.approve(&id).await?;
        Ok(id)
    }

    async fn roll_out(&self, version: &str) -> Result<()> {
        let id = self.begin(version, "direct", json!({})).await?;
        let state = self.installation.wait_for_end(&id).await?;
        ensure!(state["status"] == "succeeded", "{state:#}");
        Ok(())
    }

    /// Begins a canary whose soaks take some seconds, and waits until its first node has changed.
    async fn begin_canary(&self, version: &str) -> Result<String> {
        let config = json!({ "steps": [25, 50], "soak": "4s" });
        let id = self.begin(version, "canary", config).await?;
        let path = format!("/api/v1/deployments/{id}");
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let state = self.installation.get(&path).await?;
            let nodes = state["nodes"].as_array().cloned().unwrap_or_default();
            if nodes.iter().any(|node| node["phase"] == "active") {
                return Ok(id);
            }
            ensure!(
                Instant::now() < deadline && state["endedAt"].is_null(),
                "{state:#}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The source as the engine shows it, once it is as `is_met` wants it.
    async fn until_source(&self, what: &str, is_met: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let found = self.installation.get("/api/v1/discovery/main").await?;
            if is_met(&found) {
                return Ok(found);
            }
            ensure!(Instant::now() < deadline, "{what}: {found:#}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The ids of the instances of a service, as the registry itself says it.
    async fn registered(&self, service: &str) -> Result<String> {
        match self.kind {
            RegistryKind::Consul => {
                let path = format!("/v1/health/service/{service}");
                self.server.request("GET", &path, "").await
            }
            _ => {
                // The key in base64, up to the end of its range.
                let body = json!({ "key": "AA==", "range_end": "AA==", "keys_only": true });
                let body = body.to_string();
                let keys = self.server.request("POST", "/v3/kv/range", &body);
                let keys: Value = serde_json::from_str(&keys.await?)?;
                let found = keys["kvs"].as_array().cloned().unwrap_or_default();
                let of_service: Vec<_> = found
                    .iter()
                    .filter_map(|entry| decode(entry["key"].as_str()?))
                    .filter(|key| key.contains(service))
                    .collect();
                Ok(format!("{of_service:?}"))
            }
        }
    }

    /// Has etcd forget everything at once, while nodes and engine go on.
    async fn forget_everything(&self) -> Result<()> {
        let body = json!({ "key": "AA==", "range_end": "AA==" }).to_string();
        let path = "/v3/kv/deleterange";
        self.server.request("POST", path, &body).await?;
        Ok(())
    }
}

/// Base64 without a crate for it.
fn decode(text: &str) -> Option<String> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in text.trim_end_matches('=').chars() {
        bits = bits << 6 | u32::try_from(LETTERS.find(letter)?).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}

const FOUR: [&str; 4] = [
    "production-1",
    "production-2",
    "production-3",
    "production-4",
];

async fn a_canary_over_found_nodes(kind: RegistryKind) -> Result<()> {
    let mut found = Found::start(kind, 4).await?;
    for node in found.nodes().await? {
        ensure!(node["source"] == "main", "{node:#}");
    }
    found.roll_out("1.0.0").await?;
    found.until_they_run(&FOUR, "1.0.0").await?;
    let id = found.begin_canary("2.0.0").await?;
    found.installation.start_node("new-1")?;
    found.installation.start_node("new-2")?;
    found.installation.kill_node("production-4").await?;
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
    found.installation.start_node("production-4")?;
    found.until_they_run(&FOUR, "2.0.0").await
}

#[tokio::test]
async fn a_canary_over_nodes_that_only_consul_knows_while_two_join_and_one_dies() -> Result<()> {
    a_canary_over_found_nodes(RegistryKind::Consul).await
}

#[tokio::test]
async fn a_canary_over_nodes_that_only_etcd_knows_while_two_join_and_one_dies() -> Result<()> {
    a_canary_over_found_nodes(RegistryKind::Etcd).await
}

/// The registry is killed and comes back in the middle of a rollout; later it forgets everything.
async fn a_rollout_does_not_need_the_registry(kind: RegistryKind) -> Result<()> {
    let mut found = Found::start(kind, 4).await?;
    found.roll_out("1.0.0").await?;
    let id = found.begin_canary("2.0.0").await?;
    found.server.kill().await?;
    let is =
        |condition: &'static str| move |found: &Value| found["source"]["condition"] == condition;
    found
        .until_source("the registry is gone", is("stale"))
        .await?;
    found.server.restart().await?;
    let state = found.installation.wait_for_end(&id).await?;
    ensure!(state["status"] == "succeeded", "{state:#}");
    found.until_they_run(&FOUR, "2.0.0").await?;
    // This Consul has lost everything, and gets all registrations again.
    let is_whole = |found: &Value| {
        found["source"]["condition"] == "healthy" && found["source"]["instances"] == 4
    };
    found.until_source("all are there again", is_whole).await?;
    if kind != RegistryKind::Etcd {
        return Ok(());
    }
    found.forget_everything().await?;
    found.roll_out("3.0.0").await?;
    for node in found.nodes().await? {
        ensure!(node["health"] == "passing", "{node:#}");
    }
    found.until_source("they register again", is_whole).await?;
    found.until_they_run(&FOUR, "3.0.0").await
}

#[tokio::test]
async fn a_rollout_goes_on_while_consul_is_killed_and_comes_back_without_its_data() -> Result<()> {
    a_rollout_does_not_need_the_registry(RegistryKind::Consul).await
}

#[tokio::test]
async fn a_rollout_goes_on_while_etcd_is_killed_and_restarted_and_while_it_forgets_all()
-> Result<()> {
    a_rollout_does_not_need_the_registry(RegistryKind::Etcd).await
}

/// Nodes and engine register themselves, and are gone once they have stopped.
async fn registrations_come_and_go(kind: RegistryKind) -> Result<()> {
    let mut found = Found::start(kind, 2).await?;
    let (nodes, engine) = ("hotswap-node", "distributed-kernel-orchestrator");
    let deadline = Instant::now() + TIMEOUT;
    while !found.registered(engine).await?.contains("127.0.0.1") {
        ensure!(Instant::now() < deadline, "the engine does not register");
        sleep(Duration::from_millis(50)).await;
    }
    let registered = found.registered(nodes).await?;
    ensure!(registered.contains("production-1") && registered.contains("production-2"));
    let log = found.installation.terminate_node("production-1").await?;
    let registered = found.registered(nodes).await?;
    ensure!(!registered.contains("production-1"), "{registered} {log}");
    let stopped = |found: &[Value]| {
        let mut nodes = found.iter();
        let node = nodes.find(|node| node["id"] == "production-1");
        node.is_some_and(|node| node["reason"] == "it has stopped")
    };
    while !stopped(&found.nodes().await?) {
        ensure!(Instant::now() < deadline, "{:#?}", found.nodes().await?);
        sleep(Duration::from_millis(50)).await;
    }
    // Neither hangs on a registry that does.
    found.installation.terminate_engine().await?;
    let registered = found.registered(engine).await?;
    ensure!(!registered.contains("127.0.0.1"), "{registered}");
    found.server.kill().await?;
    let started = Instant::now();
    found.installation.terminate_node("production-2").await?;
    ensure!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    Ok(())
}

#[tokio::test]
async fn nodes_and_engine_register_in_consul_and_deregister_when_they_stop() -> Result<()> {
    registrations_come_and_go(RegistryKind::Consul).await
}

#[tokio::test]
async fn nodes_and_engine_register_in_etcd_and_deregister_when_they_stop() -> Result<()> {
    registrations_come_and_go(RegistryKind::Etcd).await
}
