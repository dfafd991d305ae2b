//! What a soak holds against a version is what the version did: each request once, none that came
//! to nothing because of its client, and every crash.

mod clients;
mod comparisons;
mod counting;
mod crashes;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hotswap_core::{Answer, Call, Deployment, DeploymentId, EventBody, Finding, NodeId, Verdict};
use hotswap_tests::{Cluster, LoadGenerator};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const PRODUCTION: &str = "production";
const CLIENTS: usize = 4;
const TIMEOUT: Duration = Duration::from_secs(60);

/// A component with the same code and other bytes.
fn with_section(component: &[u8], name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("a short name");
    let section = [&[0, length + 1, length], name.as_bytes()].concat();
    [component, &section].concat()
}

async fn cluster(nodes: usize, versions: &[(&str, &[u8])]) -> Result<Cluster> {
    let cluster = Cluster::start(&[(PRODUCTION, nodes)]).await?;
    for (version, component) in versions {
        cluster.upload("hello", version, component).await?;
    }
    Ok(cluster)
}

fn load(cluster: &Cluster) -> LoadGenerator {
    LoadGenerator::start(cluster.module_urls(PRODUCTION, "hello"), CLIENTS)
}

async fn direct(cluster: &Cluster, version: &str) -> Result<()> {
    let direct = ("direct", json!({}));
    cluster
        .roll_out(("hello", version), PRODUCTION, direct)
        .await?;
    Ok(())
}

async fn canary(cluster: &Cluster, version: &str, config: Value) -> Result<Deployment> {
    let id = cluster
        .deploy(("hello", version), PRODUCTION, ("canary", config))
        .await?;
    cluster.wait_for_end(id).await
}

/// Sends requests until at least this many were answered. Returns how many were.
async fn answer(cluster: &Cluster, requests: u64) -> Result<u64> {
    let load = load(cluster);
    let deadline = Instant::now() + TIMEOUT;
    while load.report().requests < requests {
        ensure!(Instant::now() < deadline, "{:?}", load.report());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(load.stop().await.requests)
}

/// What each soak came to, in order.
async fn verdicts(cluster: &Cluster, id: DeploymentId) -> Result<Vec<Verdict>> {
    let events = cluster.events(id).await?;
    let verdict = |body| match body {
        EventBody::Answered {
            answer: Answer::Verdict(verdict),
            ..
        } => Some(verdict),
        _ => None,
    };
    Ok(events
        .into_iter()
        .filter_map(|event| verdict(event.body))
        .collect())
}

async fn logs(cluster: &Cluster, id: DeploymentId) -> Result<Vec<String>> {
    let events = cluster.events(id).await?;
    let message = |body| match body {
        EventBody::Called {
            request: Call::Log { message, .. },
            ..
        } => Some(message),
        _ => None,
    };
    Ok(events
        .into_iter()
        .filter_map(|event| message(event.body))
        .collect())
}

fn finding<'a>(verdict: &'a Verdict, metric: &str) -> Result<&'a Finding> {
    let mut findings = verdict.findings.iter();
    let found = findings.find(|finding| finding.check.metric == metric);
    found.with_context(|| format!("no finding of {metric}: {verdict:?}"))
}

/// Waits until the deployment has begun a soak, and returns the nodes that run the new version.
async fn soaking(cluster: &Cluster, id: DeploymentId) -> Result<Vec<NodeId>> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        for event in cluster.events(id).await? {
            if let EventBody::Called {
                request: Call::Soak { canary, .. },
                ..
            } = event.body
            {
                return Ok(canary);
            }
        }
        ensure!(Instant::now() < deadline, "no soak began in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Has a node do what the paths say, one after the other and again, by so many clients, until this
/// is dropped. The module is the probe, in which the path says what to do.
fn ask(cluster: &Cluster, node: &NodeId, paths: &[&str], clients: usize) -> Result<JoinSet<()>> {
    let url = data_url(cluster, node)?;
    let urls: Vec<_> = paths.iter().map(|path| format!("{url}/{path}")).collect();
    let mut tasks = JoinSet::new();
    for first in 0..clients {
        let urls = urls.clone();
        tasks.spawn(async move {
            let client = reqwest::Client::new();
            for url in urls.iter().cycle().skip(first) {
                let _ = client.get(url).send().await;
            }
        });
    }
    Ok(tasks)
}

fn data_url(cluster: &Cluster, node: &NodeId) -> Result<String> {
    let node = cluster.nodes.get(node).context("no such node")?;
    Ok(format!("http://{}/hello", node.data_addr()))
}

/// The nodes, as the API shows them.
async fn shown_nodes(cluster: &Cluster) -> Result<Vec<Value>> {
    let url = format!("{}/api/v1/nodes", cluster.url);
    let nodes = reqwest::Client::new().get(url).bearer_auth(cluster.token);
    let nodes: Value = nodes.send().await?.json().await?;
    Ok(nodes["nodes"].as_array().context("no nodes")?.clone())
}
