//! What clients do is not held against the version that answers them.

use std::time::Duration;

use anyhow::{Context, Result};
use hotswap_core::{Judgement, NodeId, Status};
use hotswap_node::Limits;
use hotswap_tests::Cluster;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{
    PRODUCTION, ask, canary, cluster, data_url, direct, finding, load, shown_nodes, soaking,
    verdicts, with_section,
};

/// Clients that leave before the answer, and requests with a host that is not ASCII, until this is
/// dropped.
fn misbehave(cluster: &Cluster) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for node in cluster.nodes.values() {
        let addr = node.data_addr();
        clients.spawn(async move {
            let leaving: &[u8] = b"GET /hello/sleep/20000 HTTP/1.1\r\nhost: a\r\n\r\n";
            let invalid: &[u8] = b"GET /hello/ HTTP/1.1\r\nhost: \xff\r\n\r\n";
            loop {
                for request in [leaving, invalid] {
                    let Ok(mut stream) = TcpStream::connect(addr).await else {
                        return;
                    };
                    let _ = stream.write_all(request).await;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_do_rolls_no_version_back() -> Result<()> {
    let probe = hotswap_guests::MODULE_PROBE;
    let same = with_section(probe, "another build");
    let cluster = cluster(2, &[("1.0.0", probe), ("2.0.0", &same)]).await?;
    direct(&cluster, "1.0.0").await?;
    let (load, clients) = (load(&cluster), misbehave(&cluster));
    let config = json!({ "steps": [50, 100], "soak": "3s" });
    let state = canary(&cluster, "2.0.0", config).await?;
    drop(clients);
    let report = load.stop().await;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    assert_eq!(report.failed_requests(), 0, "{:?}", report.errors);
    let verdicts = verdicts(&cluster, state.header.id).await?;
    for verdict in &verdicts {
        let errors = finding(verdict, "error-rate")?;
        assert_eq!(errors.canary, Some(0.0), "{errors:?}");
        assert!(errors.reason.contains("not judged: "), "{}", errors.reason);
    }
    // `/nodes` shows them.
    for node in shown_nodes(&cluster).await? {
        let traffic = &node["traffic"];
        let count = |name: &str| traffic[name].as_u64().unwrap_or(0);
        assert!(count("clientsLeft") > 0 && count("malformed") > 0, "{node}");
        assert!(count("received") > count("clientsLeft"), "{node}");
    }
    cluster.shutdown().await;
    Ok(())
}

/// Requests to one node of which one in twelve is left before its answer, slow uploads, and
/// responses that take as long as streams do, until this is dropped.
fn depend_on_their_clients(cluster: &Cluster, node: &NodeId) -> Result<JoinSet<()>> {
    let url = data_url(cluster, node)?;
    let addr = cluster.nodes.get(node).context("no such node")?.data_addr();
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let url = url.clone();
        clients.spawn(async move {
            let client = reqwest::Client::new();
            loop {
                for _ in 0..11 {
                    let _ = client.get(format!("{url}/sleep/2")).send().await;
                }
                let left = client.get(format!("{url}/sleep/20000"));
                let _ = left.timeout(Duration::from_millis(50)).send().await;
            }
        });
        clients.spawn(async move {
            // Half of it, and never the rest.
            let upload = b"POST /hello/count HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\
                           connection: close\r\n\r\nhalf";
            while let Ok(mut stream) = TcpStream::connect(addr).await {
                let _ = stream.write_all(upload).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        });
    }
    for _ in 0..2 {
        let url = format!("{url}/drip/280");
        clients.spawn(async move {
            let client = reqwest::Client::new();
            loop {
                if let Ok(stream) = client.get(&url).send().await {
                    let _ = stream.bytes().await;
                }
            }
        });
    }
    Ok(clients)
}

/// Only the canary's clients leave, upload slowly and read long streams: no other rule could tell
/// that from a version that fails.
#[tokio::test(flavor = "multi_thread")]
async fn slow_and_leaving_clients_and_long_streams_roll_no_version_back() -> Result<()> {
    let probe = hotswap_guests::MODULE_PROBE;
    let same = with_section(probe, "another build");
    let mut cluster = Cluster::start(&[(PRODUCTION, 0)]).await?;
    for id in ["production-1", "production-2"] {
        let limits = Limits {
            // Much longer than a stream, also on a busy machine, and short enough for uploads to be
            // given up in a soak.
            request_timeout: Duration::from_secs(15),
            ..Limits::default()
        };
        cluster
            .start_node_with(id.parse()?, PRODUCTION.parse()?, |config| {
                config.limits = limits
            })
            .await?;
    }
    cluster.wait_for_nodes().await?;
    for (version, component) in [("1.0.0", probe), ("2.0.0", &same)] {
        cluster.upload("hello", version, component).await?;
    }
    direct(&cluster, "1.0.0").await?;
    let config = json!({
        "steps": [50], "soak": "25s",
        "checks": [
            { "metric": "error-rate", "maxIncrease": 0.5 },
            { "metric": "latency-p95", "maxIncrease": 1.0, "minIncrease": 100.0 },
        ],
    });
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let canary = soaking(&cluster, id).await?.pop().context("no canary")?;
    let mut nodes = cluster.nodes.keys();
    let baseline = nodes.find(|node| **node != canary).context("no baseline")?;
    let clients = (
        depend_on_their_clients(&cluster, &canary)?,
        ask(&cluster, baseline, &["sleep/2"], 4)?,
    );
    let state = cluster.wait_for_end(id).await?;
    drop(clients);
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let first = &verdicts(&cluster, id).await?[0];
    for metric in ["error-rate", "latency-p95"] {
        let finding = finding(first, metric)?;
        assert_ne!(finding.judgement, Judgement::Fail, "{finding:?}");
        assert!(finding.canary_samples > 100, "{finding:?}");
    }
    let errors = finding(first, "error-rate")?;
    assert_eq!(errors.canary, Some(0.0), "{errors:?}");
    assert!(errors.reason.contains("not judged: "), "{}", errors.reason);
    for node in shown_nodes(&cluster).await? {
        if node["id"] == canary.as_str() {
            let count = |name: &str| node["traffic"][name].as_u64().unwrap_or(0);
            assert!(
                count("clientsLeft") > 12 && count("slowUploads") > 0,
                "{node}"
            );
        }
    }
    cluster.shutdown().await;
    Ok(())
}
