//! All nodes are restarted one after the other, behind a balancer that follows their readiness, and
//! no request fails. `HOTSWAP_REQUESTS=100000` makes it as long as one likes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_tests::Installation;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];
/// Concurrent clients of the balancer.
const CLIENTS: usize = 8;
/// How often the balancer asks the nodes whether they are ready.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// A probe without an answer in this time has failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than the balancer needs to notice, on a machine that is busy.
const LAME_DUCK: &str = "5s";
const TIMEOUT: Duration = Duration::from_secs(120);

/// Sends requests to the nodes that were ready when they were last asked.
struct Balancer {
    ready: RwLock<Vec<String>>,
    next: AtomicUsize,
    http: reqwest::Client,
}

impl Balancer {
    fn ready(&self) -> Vec<String> {
        let ready = self.ready.read().unwrap_or_else(PoisonError::into_inner);
        ready.clone()
    }

    /// Asks the nodes that the engine knows, again and again. Where the engine does not answer,
    /// those that it knew last.
    async fn follow(&self, engine: String, token: String) {
        let mut known = BTreeSet::new();
        loop {
            if let Ok(urls) = self.data_urls(&engine, &token).await {
                known = urls;
            }
            let probes = known.iter().map(|url| async move {
                let probe = self.http.get(format!("{url}/.hotswap/ready"));
                let answer = probe.timeout(PROBE_TIMEOUT).send().await;
                let is_ready = answer.is_ok_and(|answer| answer.status().is_success());
                is_ready.then(|| url.clone())
            });
            let ready = futures_util::future::join_all(probes).await;
            let ready = ready.into_iter().flatten().collect();
            *self.ready.write().unwrap_or_else(PoisonError::into_inner) = ready;
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }

    async fn data_urls(&self, engine: &str, token: &str) -> Result<BTreeSet<String>> {
        let request = self.http.get(format!("{engine}/api/v1/nodes"));
        let request = request.bearer_auth(token).timeout(PROBE_TIMEOUT);
        let nodes: Value = request.send().await?.json().await?;
        let nodes = nodes["nodes"].as_array().context("no nodes")?;
        let url = |node: &Value| node["dataUrl"].as_str().map(str::to_owned);
        Ok(nodes.iter().filter_map(url).collect())
    }

    /// Sends one request to a node that is ready.
    async fn send(&self) -> Result<(), String> {
        let ready = self.ready();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(url) = ready.get(turn % ready.len().max(1)) else {
            return Err("no node is ready".to_owned());
        };
        let answer = self.http.get(format!("{url}/hello/")).send().await;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| format!("{error:?}"))?;
        match status.is_success() && !body.is_empty() {
            true => Ok(()),
            false => Err(format!("{status} from {url}")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_all_nodes_loses_no_request() -> Result<()> {
    let wanted = std::env::var("HOTSWAP_REQUESTS").ok();
    let wanted: u64 = wanted.map_or(Ok(10_000), |text| text.parse())?;
    let mut installation = Installation::start("production", 0, &[]).await?;
    installation.add_node_flags(&["--lame-duck", LAME_DUCK, "--drain", "30s"]);
    for id in NODES {
        installation.start_node(id)?;
    }
    installation.wait_for_nodes(NODES.len()).await?;
    let id = installation.propose("1.0.0", "direct", json!({})).await?;
    installation.approve(&id).await?;
    let state = installation.wait_for_end(&id).await?;
    ensure!(state["status"] == "succeeded", "{state}");

    let balancer = Arc::new(Balancer {
        ready: RwLock::default(),
        next: AtomicUsize::new(0),
        http: reqwest::Client::builder().no_proxy().build()?,
    });
    let following = {
        let (balancer, url) = (Arc::clone(&balancer), installation.url.clone());
        let token = installation.token.clone();
        tokio::spawn(async move { balancer.follow(url, token).await })
    };
    let _following = AbortOnDropHandle::new(following);
    wait_for_ready(&balancer, NODES.len()).await?;

    let (stop, sent) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
    let lost = Arc::new(Mutex::new(Vec::new()));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (balancer, stop) = (Arc::clone(&balancer), stop.clone());
        let (sent, lost) = (Arc::clone(&sent), Arc::clone(&lost));
        clients.spawn(async move {
            while !stop.is_cancelled() {
                let result = balancer.send().await;
                sent.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = result {
                    lost.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(error);
                }
            }
        });
    }
    // Every node at least once, and then on until there were as many requests.
    let mut restarts = 0;
    while restarts < NODES.len() || sent.load(Ordering::Relaxed) < wanted {
        let id = NODES[restarts % NODES.len()];
        installation.terminate_node(id).await?;
        installation.start_node(id)?;
        wait_for_ready(&balancer, NODES.len()).await?;
        restarts += 1;
    }
    stop.cancel();
    while clients.join_next().await.is_some() {}
    let lost = lost.lock().unwrap_or_else(PoisonError::into_inner);
    let sent = sent.load(Ordering::Relaxed);
    println!("{sent} requests, {restarts} restarts, {} lost", lost.len());
    ensure!(
        lost.is_empty(),
        "{} of {sent}: {:?}",
        lost.len(),
        lost.first()
    );
    Ok(())
}

/// Waits until the balancer sends requests to this many nodes.
async fn wait_for_ready(balancer: &Balancer, nodes: usize) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while balancer.ready().len() != nodes {
        let ready = balancer.ready();
        ensure!(Instant::now() < deadline, "only these are ready: {ready:?}");
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
    Ok(())
}
