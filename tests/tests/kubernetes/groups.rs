//! Installations of other kinds, on a real node: nodes on each machine, and HTTPS everywhere.

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use crate::load;
use crate::release::{ENGINE, NODE_NAME, NODES, Release};

/// A name that only renewed certificates are for.
const RENEWED: &str = "renewed.hotswap.internal";

/// How long it may take until a pod has what is in a secret. The kubelet looks about once a minute.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: cargo xtask kubernetes"]
async fn nodes_of_a_daemon_set_are_rolled_out_to_and_replaced() -> Result<()> {
    let values = "
nodeGroups:
  nodes: null
  edge:
    kind: DaemonSet
    environment: production
    podDisruptionBudget: {minAvailable: null, maxUnavailable: 1}
";
    let release = Release::install("daemon-set", values)?;
    let service = "hotswap-distributed-kernel-edge";
    let daemons = format!("daemonset/{service}");
    // Helm waits for all but those that may be unavailable.
    release.kubectl(&["rollout", "status", &daemons, "--timeout=120s"])?;
    // There is one machine.
    let pods = release.pods("node-edge")?;
    assert_eq!(pods.len(), 1, "{pods:?}");
    release.deploy("1.0.0", "direct", &[])?;
    let clients = load::start(&release, service)?;
    release.deploy("2.0.0", "canary", &["--set", "soak=4s"])?;
    assert_eq!(release.versions_of("edge")?, ["2.0.0"]);
    load::end(&release, clients).await?;
    // Its successor has an empty disk, and fetches what was decided.
    release.kubectl(&["delete", "pod", &pods[0]])?;
    release.kubectl(&["rollout", "status", &daemons, "--timeout=120s"])?;
    release.wait_until("the successor to run what was decided", || {
        Ok(release.versions_of("edge")? == ["2.0.0"])
    })?;
    assert_ne!(release.pods("node-edge")?, pods);
    assert_eq!(release.uninstall()?, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a node: cargo xtask kubernetes"]
async fn engine_and_nodes_show_each_other_certificates() -> Result<()> {
    let values = json!({ "tls": {
        "engineSecret": "engine-tls",
        "nodeSecret": "nodes-tls",
        "nodeName": NODE_NAME,
        "mutual": true,
    } });
    // JSON is YAML.
    let release = Release::install_over_https("https", &values.to_string())?;
    release.helm(&["test", "hotswap"])?;
    release.deploy("1.0.0", "direct", &[])?;
    release.wait_for_versions("1.0.0", 3)?;
    let url = release.url(NODES)?;
    assert!(url.starts_with("https:"), "{url}");
    let answer = release.client()?.get(format!("{url}/hello/"));
    let answer = answer.send().await?.error_for_status()?;
    let version = answer.headers().get("x-hotswap-version");
    let version = version.context("no version")?.to_str()?;
    assert_eq!(version, "1.0.0");
    // As the README of the chart has it.
    let engine = format!("deployment/{ENGINE}");
    let list = [
        "exec",
        &engine,
        "--",
        "hotswap",
        "--ca",
        "/etc/hotswap-tls/ca.crt",
        "--token-file",
        "/etc/hotswap-tokens/api-token",
        "node",
        "list",
    ];
    let nodes = release.kubectl(&list)?;
    for pod in release.pods("node-nodes")? {
        assert!(nodes.contains(&pod), "{pod}: {nodes}");
    }
    // Renewed certificates, which the kubelet puts in the place of the old ones in its own time. They are
    // for one more name, by which nobody is reached before.
    let client = release.client_of(RENEWED)?;
    for (secret, host, service) in [
        ("engine-tls", format!("{ENGINE}.https.svc"), ENGINE),
        ("nodes-tls", NODE_NAME.to_owned(), NODES),
    ] {
        let url = release.url(service)?;
        let port = url.rsplit(':').next().context("no port")?;
        let url = format!("https://{RENEWED}:{port}/");
        assert!(client.get(&url).send().await.is_err(), "{service}");
        release.renew(secret, &[&host, RENEWED])?;
        let deadline = Instant::now() + RENEWAL_TIMEOUT;
        while let Err(error) = client.get(&url).send().await {
            assert!(Instant::now() < deadline, "{service}: {error:?}");
            sleep(Duration::from_secs(1)).await;
        }
    }
    release.deploy("2.0.0", "direct", &[])?;
    release.wait_for_versions("2.0.0", 3)?;
    let restarted = release.restarted_pods()?;
    assert!(restarted.is_empty(), "started again: {restarted:?}");
    Ok(())
}
