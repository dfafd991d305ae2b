//! What a soak holds against a version is what the version did: each request once, none that came
//! to nothing because of its client, and every crash.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hotswap_core::{
    Answer, Call, Deployment, DeploymentId, EventBody, Finding, Judgement, NodeId, Status, Verdict,
};
use hotswap_tests::{Cluster, LoadGenerator};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
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

/// A release candidate became the release, with the same bytes: what the old side did before is
/// not counted again at every reading.
#[tokio::test(flavor = "multi_thread")]
async fn counted_requests_never_exceed_those_sent() -> Result<()> {
    let (old, new) = (hotswap_guests::HELLO_V1, hotswap_guests::HELLO_V2);
    let cluster = cluster(2, &[("1.0.0-rc.1", old), ("1.0.0", old), ("2.0.0", new)]).await?;
    direct(&cluster, "1.0.0-rc.1").await?;
    answer(&cluster, 300).await?;
    direct(&cluster, "1.0.0").await?;
    let before = answer(&cluster, 300).await?;
    let load = load(&cluster);
    let config = json!({ "steps": [50, 100], "soak": "3s" });
    let state = canary(&cluster, "2.0.0", config).await?;
    let report = load.stop().await;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let verdicts = verdicts(&cluster, state.header.id).await?;
    let compared = finding(&verdicts[0], "error-rate")?;
    let sent = |version: &str| report.answers_by_version.get(version).copied().unwrap_or(0);
    assert!(compared.baseline_samples > 0, "{compared:?}");
    assert!(
        compared.baseline_samples <= sent("1.0.0"),
        "{compared:?}: {report:?}"
    );
    assert!(
        compared.canary_samples <= sent("2.0.0"),
        "{compared:?}: {report:?}"
    );
    // The last step is compared with all that the previous version did, and not with the release
    // candidate.
    let last = finding(&verdicts[1], "error-rate")?;
    assert!(
        last.baseline_samples <= before + sent("1.0.0"),
        "{last:?}: {report:?}"
    );
    cluster.shutdown().await;
    Ok(())
}

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
    let url = format!("{}/api/v1/nodes", cluster.url);
    let nodes = reqwest::Client::new().get(url).bearer_auth(cluster.token);
    let nodes: Value = nodes.send().await?.json().await?;
    for node in nodes["nodes"].as_array().context("no nodes")? {
        let traffic = &node["traffic"];
        let count = |name: &str| traffic[name].as_u64().unwrap_or(0);
        assert!(count("clientsLeft") > 0 && count("malformed") > 0, "{node}");
        assert!(count("received") > count("clientsLeft"), "{node}");
    }
    cluster.shutdown().await;
    Ok(())
}

/// Two nodes that run version 1.0.0, and a deployment of 2.0.0 that soaks on the first of them.
async fn canary_on_one_of_two(soak: &str) -> Result<(Cluster, DeploymentId, NodeId)> {
    let (old, new) = (hotswap_guests::HELLO_V1, hotswap_guests::HELLO_V2);
    let cluster = cluster(2, &[("1.0.0", old), ("2.0.0", new)]).await?;
    direct(&cluster, "1.0.0").await?;
    let config = json!({ "steps": [50], "soak": soak });
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let nodes = soaking(&cluster, id).await?;
    assert_eq!(nodes.len(), 1);
    let node = nodes.into_iter().next().context("no node")?;
    Ok((cluster, id, node))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_node_that_is_killed_fails_the_check_of_restarts() -> Result<()> {
    let (mut cluster, id, node) = canary_on_one_of_two("1m").await?;
    let load = load(&cluster);
    // Dropped, not shut down: as if it were killed.
    drop(cluster.nodes.remove(&node));
    cluster
        .start_node(node.clone(), PRODUCTION.parse()?)
        .await?;
    let state = cluster.wait_for_end(id).await?;
    load.stop().await;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let cause = state.cause.context("no cause")?.message;
    assert!(cause.contains("check restarts failed"), "{cause}");
    let verdicts = verdicts(&cluster, id).await?;
    let restarts = finding(&verdicts[0], "restarts")?;
    assert_eq!(restarts.canary, Some(1.0), "{restarts:?}");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_node_that_is_restarted_on_purpose_fails_nothing() -> Result<()> {
    let (mut cluster, id, node) = canary_on_one_of_two("5s").await?;
    let stopped = cluster.nodes.remove(&node).context("no such node")?;
    stopped.shutdown().await;
    cluster
        .start_node(node.clone(), PRODUCTION.parse()?)
        .await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let verdicts = verdicts(&cluster, id).await?;
    let restarts = finding(&verdicts[0], "restarts")?;
    assert_eq!(restarts.judgement, Judgement::Pass, "{restarts:?}");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_canary_node_ends_the_soak_once_it_is_critical() -> Result<()> {
    let (mut cluster, id, node) = canary_on_one_of_two("1h").await?;
    drop(cluster.nodes.remove(&node));
    let silent = Instant::now();
    let verdict = loop {
        if let Some(verdict) = verdicts(&cluster, id).await?.into_iter().next() {
            break verdict;
        }
        ensure!(
            silent.elapsed() < TIMEOUT,
            "the soak goes on without its node"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(verdict.judgement, Judgement::Fail);
    let restarts = finding(&verdict, "restarts")?;
    let expected = format!("node {node} does not report in any more (it was last heard of");
    assert!(
        restarts.reason.starts_with(&expected),
        "{}",
        restarts.reason
    );
    // Its revert waits for it.
    cluster.start_node(node, PRODUCTION.parse()?).await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    cluster.shutdown().await;
    Ok(())
}

/// A first deployment, the running version again, and the same bytes under another version.
#[tokio::test(flavor = "multi_thread")]
async fn where_doubt_rolls_back_a_version_succeeds_that_has_nothing_to_be_compared_with()
-> Result<()> {
    let bytes = hotswap_guests::HELLO_V1;
    let cluster = cluster(2, &[("1.0.0", bytes), ("1.0.1", bytes)]).await?;
    let load = load(&cluster);
    // Two nodes are too few to tell how much memory and CPU a version needs.
    let config = || {
        json!({
            "steps": [50, 100],
            "soak": "4s",
            "whenInconclusive": "rollBack",
            "checks": [
                { "metric": "error-rate", "maxIncrease": 0.5 },
                { "metric": "latency-p95", "maxIncrease": 1.0, "minIncrease": 100.0 },
                { "metric": "restarts", "max": 0.0 },
            ],
        })
    };
    for (version, says) in [
        ("1.0.0", "no version of hello runs on these nodes"),
        ("1.0.0", "hello 1.0.0 runs already on 2 of 2 nodes"),
        (
            "1.0.1",
            "hello 1.0.1 and hello 1.0.0 are identical, byte for byte",
        ),
    ] {
        let state = canary(&cluster, version, config()).await?;
        assert_eq!(
            state.status(),
            Status::Succeeded,
            "{says}: {:?}",
            state.cause
        );
        let logs = logs(&cluster, state.header.id).await?;
        assert!(logs.iter().any(|line| line.starts_with(says)), "{logs:?}");
        let verdicts = verdicts(&cluster, state.header.id).await?;
        assert_eq!(verdicts.len(), 2, "nothing is left unwatched");
        for verdict in verdicts {
            let errors = finding(&verdict, "error-rate")?;
            assert!(errors.canary_samples > 0, "{errors:?}");
        }
    }
    load.stop().await;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_single_node_a_bad_version_is_found_by_a_share_of_its_requests() -> Result<()> {
    let (old, bad) = (hotswap_guests::HELLO_V1, hotswap_guests::HELLO_V3);
    let cluster = cluster(1, &[("1.0.0", old), ("3.0.0", bad)]).await?;
    direct(&cluster, "1.0.0").await?;
    let load = load(&cluster);
    let state = canary(&cluster, "3.0.0", json!({ "soak": "30s" })).await?;
    let report = load.stop().await;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let names: Vec<_> = state
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(names, ["canary 10 % of requests on 1 node"]);
    let verdict = &verdicts(&cluster, state.header.id).await?[0];
    let errors = finding(verdict, "error-rate")?;
    assert_eq!(errors.judgement, Judgement::Fail, "{errors:?}");
    assert!(
        errors.baseline_samples > errors.canary_samples,
        "{errors:?}"
    );
    let new = report.answers_by_version.get("3.0.0").copied().unwrap_or(0);
    let old = report.answers_by_version["1.0.0"];
    assert!(new < old / 4, "{report:?}");
    cluster.shutdown().await;
    Ok(())
}

/// No node runs the previous version at the last step, so it is compared with what that did.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_step_is_judged_by_what_the_previous_version_did() -> Result<()> {
    let (old, bad) = (hotswap_guests::HELLO_V1, hotswap_guests::HELLO_V3);
    let cluster = cluster(2, &[("1.0.0", old), ("3.0.0", bad)]).await?;
    direct(&cluster, "1.0.0").await?;
    answer(&cluster, 1000).await?;
    let load = load(&cluster);
    let config = json!({ "steps": [100], "soak": "30s" });
    let state = canary(&cluster, "3.0.0", config).await?;
    load.stop().await;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    assert_eq!(state.stages[0].name, "canary 2 of 2 nodes, 100 %");
    let verdict = &verdicts(&cluster, state.header.id).await?[0];
    let errors = finding(verdict, "error-rate")?;
    assert_eq!(errors.judgement, Judgement::Fail, "{errors:?}");
    assert_eq!(
        (errors.check.max, errors.check.max_increase),
        (None, Some(0.5))
    );
    assert!(errors.baseline_samples >= 1000, "{errors:?}");
    assert!(
        errors.reason.contains("so the limit follows from its"),
        "{}",
        errors.reason
    );
    cluster.shutdown().await;
    Ok(())
}
