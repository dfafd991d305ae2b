//! Soaks of real nodes under load.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::{
    Answer, Call, Condition, Deployment, DeploymentId, Event, EventBody, Finding, Judgement,
    NodeId, Status, Verdict,
};
use hotswap_tests::{Cluster, LoadGenerator};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const PRODUCTION: &str = "production";
const CLIENTS: usize = 4;

async fn start() -> Result<(Cluster, LoadGenerator)> {
    let cluster = Cluster::start_with_hello(PRODUCTION, 4).await?;
    let load = LoadGenerator::start(cluster.module_urls(PRODUCTION, "hello"), CLIENTS);
    Ok((cluster, load))
}

/// The error rate alone: the machine of the tests is busy.
fn config(more: &Value) -> Value {
    let mut config = json!({ "checks": [{ "metric": "error-rate", "maxIncrease": 0.5 }] });
    if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
        config.extend(more.clone());
    }
    config
}

fn verdicts(events: &[Event]) -> Vec<&Verdict> {
    let verdicts = events.iter().filter_map(|event| match &event.body {
        EventBody::Answered {
            answer: Answer::Verdict(verdict),
            ..
        } => Some(verdict),
        _ => None,
    });
    verdicts.collect()
}

fn only_condition(verdict: &Verdict) -> Result<&Condition> {
    let finding = verdict.findings.first().context("a finding")?;
    finding.conditions.first().context("a condition")
}

/// The end of the soak is not waited for once enough was seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_soak_is_shown_live_and_passes_early_where_that_is_asked_for() -> Result<()> {
    let (cluster, load) = start().await?;
    let config = config(&json!({ "steps": [50], "soak": "50s", "passEarly": true }));
    let began = Instant::now();
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let deployments = &cluster.engine.deployments;
    let live = timeout(Duration::from_secs(20), async {
        loop {
            let state: Deployment = deployments.get(id).await?;
            // The first look may come before the first request.
            let progress = deployments.soak_progress(&state);
            let findings = progress.map_or_else(Vec::new, |it| it.findings.clone());
            if findings.iter().any(|finding| finding.canary_samples > 0) {
                return anyhow::Ok(findings);
            }
            sleep(Duration::from_millis(5)).await;
        }
    });
    let live = live.await??;
    assert_eq!(live.len(), 1);
    let state = cluster.wait_for_end(id).await?;
    assert!(began.elapsed() < Duration::from_secs(50));
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    assert_eq!(deployments.soak_progress(&state), None);
    let events = cluster.events(id).await?;
    let verdicts = verdicts(&events);
    assert_eq!(verdicts[0].judgement, Judgement::Pass, "{verdicts:?}");
    assert_eq!(only_condition(verdicts[0])?.limit, 1.5);
    load.stop().await;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_one_soak_counts_in_the_next() -> Result<()> {
    let (cluster, load) = start().await?;
    let config = config(&json!({ "steps": [25, 50], "soak": "3s" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let events = cluster.events(id).await?;
    let verdicts = verdicts(&events);
    let (first, second) = (only_condition(verdicts[0])?, only_condition(verdicts[1])?);
    assert!((first.earlier - 0.5_f64.ln()).abs() < 1e-12, "{first:?}");
    // What the first soak had, times its evidence, and a sixth for a fresh start.
    let carried = (first.earlier + first.evidence).exp();
    let expected = (carried + 1.0 / 6.0).ln();
    assert!(
        (second.earlier - expected).abs() < 1e-9,
        "{first:?} {second:?}"
    );
    load.stop().await;
    cluster.shutdown().await;
    Ok(())
}

/// A component with the same code and other bytes.
fn with_section(component: &[u8], name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).expect("a short name");
    let section = [&[0, length + 1, length], name.as_bytes()].concat();
    [component, &section].concat()
}

/// Two nodes that run version 1.0.0, and 2.0.0: in both, the path of a request says what to do.
async fn probes() -> Result<Cluster> {
    let cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    let old = hotswap_guests::MODULE_PROBE;
    let new = with_section(old, "another build");
    for (version, component) in [("1.0.0", old), ("2.0.0", &new)] {
        cluster.upload("hello", version, component).await?;
    }
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    Ok(cluster)
}

/// Asks one node for these paths, one after the other, until it is dropped.
fn ask(cluster: &Cluster, node: &NodeId, paths: &[&str], clients: usize) -> Result<JoinSet<()>> {
    let node = cluster.nodes.get(node).context("no such node")?;
    let url = format!("http://{}/hello", node.data_addr());
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

/// Waits until the deployment soaks, and returns the nodes of the canary and of the baseline.
async fn soaking(cluster: &Cluster, id: DeploymentId) -> Result<(NodeId, NodeId)> {
    let began = timeout(Duration::from_secs(60), async {
        loop {
            for event in cluster.events(id).await? {
                if let EventBody::Called {
                    request:
                        Call::Soak {
                            canary, baseline, ..
                        },
                    ..
                } = event.body
                {
                    return anyhow::Ok((canary, baseline));
                }
            }
            sleep(Duration::from_millis(5)).await;
        }
    });
    let (canary, baseline) = began.await??;
    let first = |nodes: Vec<NodeId>| nodes.into_iter().next().context("no node");
    Ok((first(canary)?, first(baseline)?))
}

fn finding<'a>(verdict: &'a Verdict, metric: &str) -> Result<&'a Finding> {
    let mut findings = verdict.findings.iter();
    let found = findings.find(|finding| finding.check.metric == metric);
    found.with_context(|| format!("no finding of {metric}: {verdict:?}"))
}

/// A test that assumes equal shapes compares the canary's usual latency with the usual one of the
/// baseline, which is a fraction of its 95th percentile.
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_of_another_shape_that_keeps_its_limit_does_not_fail() -> Result<()> {
    let cluster = probes().await?;
    let config = json!({
        "steps": [50, 100], "soak": "6s",
        "checks": [{ "metric": "latency-p95", "maxIncrease": 1.0 }],
    });
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let (canary, baseline) = soaking(&cluster, id).await?;
    // Of the baseline, three in ten take 80 ms, and the others 2 ms. The canary always takes 80 ms.
    let wide: Vec<_> = (0..10)
        .map(|n| ["sleep/2", "sleep/80"][usize::from(n % 3 == 0)])
        .collect();
    let load = (
        ask(&cluster, &baseline, &wide, 8)?,
        ask(&cluster, &canary, &["sleep/80"], 8)?,
    );
    let state = cluster.wait_for_end(id).await?;
    drop(load);
    let events = cluster.events(id).await?;
    let verdicts = verdicts(&events);
    let latency = finding(verdicts[0], "latency-p95")?;
    assert_ne!(latency.judgement, Judgement::Fail, "{latency:?}");
    assert!(latency.canary_samples > 100, "{latency:?}");
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    cluster.shutdown().await;
    Ok(())
}

/// Memory and CPU of one request say nothing of a version, however often they are read.
#[tokio::test(flavor = "multi_thread")]
async fn one_request_condemns_no_version() -> Result<()> {
    let cluster = probes().await?;
    let metrics = ["memory", "cpu", "error-rate", "latency-p95"];
    let increase = |metric| json!({ "metric": metric, "maxIncrease": 0.3 });
    let config = json!({
        "steps": [50, 100], "soak": "5s",
        "checks": metrics.map(increase),
    });
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let (canary, baseline) = soaking(&cluster, id).await?;
    let load = ask(&cluster, &baseline, &["count"], 2)?;
    for path in ["memory/32", "status/500"] {
        let node = &cluster.nodes[&canary];
        let url = format!("http://{}/hello/{path}", node.data_addr());
        reqwest::get(url).await?;
    }
    let state = cluster.wait_for_end(id).await?;
    drop(load);
    let events = cluster.events(id).await?;
    for verdict in verdicts(&events) {
        for finding in &verdict.findings {
            assert_ne!(finding.judgement, Judgement::Fail, "{finding:?}");
        }
    }
    let first = verdicts(&events)[0];
    for metric in metrics {
        let finding = finding(first, metric)?;
        assert_eq!(finding.judgement, Judgement::Inconclusive, "{finding:?}");
    }
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_a_crash_took_along_are_evidence() -> Result<()> {
    let mut cluster = probes().await?;
    let config = json!({
        "steps": [50], "soak": "1m",
        "checks": [{ "metric": "restarts", "max": 0.0 }, { "metric": "error-rate", "max": 0.5 }],
    });
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let (canary, _) = soaking(&cluster, id).await?;
    let hanging = ask(&cluster, &canary, &["sleep/25000"], 3)?;
    let load = ask(&cluster, &canary, &["count"], 1)?;
    let samples = || async {
        let state = cluster.engine.deployments.get(id).await?;
        let progress = cluster.engine.deployments.soak_progress(&state);
        let findings = progress.iter().flat_map(|progress| &progress.findings);
        let mut of_errors = findings.filter(|found| found.check.metric == "error-rate");
        anyhow::Ok(of_errors.next().map_or(0, |found| found.canary_samples))
    };
    // Two readings after the requests have begun.
    let read = timeout(Duration::from_secs(40), async {
        let (mut last, mut readings) = (samples().await?, 0);
        while readings < 3 {
            sleep(Duration::from_millis(20)).await;
            let now = samples().await?;
            readings += u32::from(now > last);
            last = now;
        }
        anyhow::Ok(())
    });
    read.await??;
    // Dropped, not shut down: as if it were killed.
    drop(cluster.nodes.remove(&canary));
    cluster.start_node(canary, PRODUCTION.parse()?).await?;
    let state = cluster.wait_for_end(id).await?;
    drop((hanging, load));
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let events = cluster.events(id).await?;
    let restarts = finding(verdicts(&events)[0], "restarts")?;
    let lost = restarts.reason.split(", and lost ").nth(1);
    let lost: u64 = lost
        .and_then(|lost| lost.split(' ').next()?.parse().ok())
        .with_context(|| restarts.reason.clone())?;
    // One more may have been under way.
    assert!((3..=4).contains(&lost), "{}", restarts.reason);
    cluster.shutdown().await;
    Ok(())
}

/// The plan says before it begins that a soak cannot decide, and with enough traffic it does not.
#[tokio::test(flavor = "multi_thread")]
async fn the_plan_says_which_soaks_have_too_little_traffic() -> Result<()> {
    let (cluster, load) = start().await?;
    let warnings = |config: Value| {
        let url = format!("{}/api/v1/deployments/plan", cluster.url);
        let request = json!({
            "moduleName": "hello", "version": "2.0.0", "targetEnvironment": PRODUCTION,
            "requesterEmail": "ada@example.com", "strategy": "canary", "config": config,
        });
        let request = reqwest::Client::new().post(url).json(&request);
        let request = request.bearer_auth(cluster.token).send();
        async {
            let plan: Value = request.await?.error_for_status()?.json().await?;
            let warnings = plan["warnings"].as_array().context("no warnings")?;
            let texts = warnings.iter().filter_map(Value::as_str);
            anyhow::Ok(texts.map(str::to_owned).collect::<Vec<_>>())
        }
    };
    let steps = |soak: &str| config(&json!({ "steps": [25], "soak": soak }));
    let of_the_first_step = |warnings: Vec<String>| {
        let says = "at the present traffic the soak of 10m on 1 node cannot decide: ";
        warnings.iter().any(|text| text.starts_with(says))
    };
    assert!(!of_the_first_step(warnings(steps("10m")).await?));
    load.stop().await;
    // A node may still count the last requests, and one in a moment would be enough for ten minutes.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !of_the_first_step(warnings(steps("10m")).await?) {
        ensure!(Instant::now() < deadline, "no warning without traffic");
    }
    cluster.shutdown().await;
    Ok(())
}

/// Who asks for no plan is told all the same, while there is time to promote or to abort.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_says_which_of_its_soaks_have_too_little_traffic() -> Result<()> {
    let cluster = Cluster::start(&[(PRODUCTION, 4)]).await?;
    cluster.upload_samples().await?;
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    let config = config(&json!({ "steps": [25], "soak": "10m" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let url = format!("{}/api/v1/deployments/{id}", cluster.url);
    let client = reqwest::Client::new();
    let warnings = || async {
        let request = client.get(&url).bearer_auth(cluster.token).send();
        let state: Value = request.await?.error_for_status()?.json().await?;
        anyhow::Ok(state["warnings"].clone())
    };
    let told = timeout(Duration::from_secs(60), async {
        loop {
            let warnings = warnings().await?;
            if let Some(first) = warnings[0].as_str() {
                return anyhow::Ok(first.to_owned());
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    let told = told.await??;
    let says = "at the present traffic the soak of 10m on 1 node cannot decide: error-rate: ";
    assert!(told.starts_with(says), "{told}");

    let mut get = hotswap_tests::tools::hotswap()?;
    let get = get
        .args(["--server", &cluster.url, "get", &id.to_string()])
        .env("HOTSWAP_TOKEN", cluster.token);
    let shown = get.output().await?;
    let shown = String::from_utf8(shown.stdout)?;
    assert!(shown.contains(&format!("~ {told}\n")), "{shown}");

    cluster
        .engine
        .deployments
        .promote(id, "ada@example.com", None, true)
        .await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let is_forgotten = timeout(Duration::from_secs(20), async {
        while !warnings().await?.is_null() {
            sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    });
    is_forgotten.await??;
    cluster.shutdown().await;
    Ok(())
}
