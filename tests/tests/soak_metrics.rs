//! What a soak can watch beside errors and latencies: saturation, CPU for each request, the
//! metrics of a module's own, and what other servers of metrics answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use hotswap_common::Secret;
use hotswap_common::tls::{
    CertificateFiles, ClientFiles, ClientTls, ServerFiles, ServerTls, accept,
};
use hotswap_core::{
    Answer, Deployment, DeploymentId, EventBody, Finding, Judgement, NodeId, Status, Verdict,
};
use hotswap_runner::metric_providers::{
    HttpProvider, HttpProviderConfig, MetricProvider, MetricProviders, ProviderKind,
};
use hotswap_tests::{Authority, Cluster, LoadGenerator, PrometheusServer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const PRODUCTION: &str = "production";
const SECRET: &str = "Bearer of-a-secret-that-stays-one";

/// Nodes that run version 1.0.0, which answers everything at once with a greeting, and version
/// 2.0.0 of the module, which the path of a request tells what to do.
async fn cluster(nodes: usize, change: fn(&mut hotswap_node::Config)) -> Result<Cluster> {
    let mut cluster = Cluster::start(&[]).await?;
    for number in 1..=nodes {
        let id: NodeId = format!("{PRODUCTION}-{number}").parse()?;
        cluster
            .start_node_with(id, PRODUCTION.parse()?, change)
            .await?;
    }
    cluster.wait_for_nodes().await?;
    let (old, new) = (hotswap_guests::HELLO_V1, hotswap_guests::MODULE_PROBE);
    for (version, component) in [("1.0.0", old), ("2.0.0", new)] {
        cluster.upload("hello", version, component).await?;
    }
    let direct = ("direct", json!({}));
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, direct)
        .await?;
    Ok(cluster)
}

/// Clients that ask for this path of the module.
fn load(cluster: &Cluster, path: &str, clients: usize) -> LoadGenerator {
    let urls = cluster.module_urls(PRODUCTION, "hello");
    let urls = urls
        .iter()
        .map(|url| format!("{}/{path}", url.trim_end_matches('/')));
    LoadGenerator::start(urls.collect(), clients)
}

/// Rolls version 2.0.0 out to half of the nodes, judged by these checks.
async fn canary(cluster: &Cluster, checks: Value, rest: Value) -> Result<(Deployment, Verdict)> {
    let mut config = json!({
        "steps": [50], "soak": "4s", "checks": checks, "whenInconclusive": "rollBack",
    });
    if let (Some(config), Some(rest)) = (config.as_object_mut(), rest.as_object()) {
        config.extend(rest.clone());
    }
    let strategy = ("canary", config);
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, strategy)
        .await?;
    let state = cluster.wait_for_end(id).await?;
    let verdict = first_verdict(cluster, id).await?;
    Ok((state, verdict))
}

async fn first_verdict(cluster: &Cluster, id: DeploymentId) -> Result<Verdict> {
    let events = cluster.events(id).await?;
    let verdict = |body| match body {
        EventBody::Answered {
            answer: Answer::Verdict(verdict),
            ..
        } => Some(verdict),
        _ => None,
    };
    let mut verdicts = events.into_iter().filter_map(|event| verdict(event.body));
    verdicts.next().context("no soak ended")
}

fn finding<'a>(verdict: &'a Verdict, metric: &str) -> Result<&'a Finding> {
    let mut findings = verdict.findings.iter();
    let found = findings.find(|finding| finding.check.metric == metric);
    found.with_context(|| format!("no finding of {metric}: {verdict:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_of_the_modules_own_takes_a_version_back() -> Result<()> {
    let cluster = cluster(2, |_| {}).await?;
    // Each response of the new version names `served`, and `rows` with the value 5.
    let load = load(&cluster, "metrics/5", 4);
    let checks = json!([
        { "metric": "module:served", "max": 0.5 },
        { "metric": "module:rows:p95", "max": 50.0 },
        { "metric": "module:rows:mean", "max": 50.0 },
        // Has a value at once, but too few requests for a judgement.
        { "metric": "latency-p999", "max": 1e6 },
    ]);
    let (state, verdict) = canary(&cluster, checks, json!({})).await?;
    load.stop().await;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let served = finding(&verdict, "module:served")?;
    assert_eq!(served.judgement, Judgement::Fail, "{served:?}");
    assert!(
        served.reason.contains("requests counted served (100 %)"),
        "{}",
        served.reason
    );
    let rows = finding(&verdict, "module:rows:p95")?;
    let value = rows.canary.context("no value")?;
    assert!((4.9..=5.2).contains(&value), "{rows:?}");
    let mean = finding(&verdict, "module:rows:mean")?;
    assert_eq!(mean.canary.map(f64::round), Some(5.0), "{mean:?}");
    let slowest = finding(&verdict, "latency-p999")?;
    assert!(slowest.canary.is_some(), "{slowest:?}");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fills_its_nodes_fails_by_requests_that_wait_or_are_refused() -> Result<()> {
    let narrow = |config: &mut hotswap_node::Config| {
        config.limits.concurrency = 1;
        config.limits.queue_timeout = Duration::from_millis(30);
    };
    let cluster = cluster(2, narrow).await?;
    // The old version answers at once; the new one takes 20 ms, one request after the other.
    let load = load(&cluster, "sleep/20", 8);
    let checks = json!([
        { "metric": "refused", "max": 0.01 },
        { "metric": "queued", "max": 0.5 },
    ]);
    let (state, verdict) = canary(&cluster, checks, json!({})).await?;
    load.stop().await;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    for (metric, words) in [("refused", "were refused"), ("queued", "had to wait")] {
        let finding = finding(&verdict, metric)?;
        assert!(finding.canary > Some(0.0), "{finding:?}");
        assert!(finding.reason.contains(words), "{}", finding.reason);
    }
    cluster.shutdown().await;
    Ok(())
}

/// Every metric that a check can name has a value, and passes where its limit is wide. The soak
/// lasts until all have passed, which takes a slow machine longer.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_a_node_is_judged_through_real_nodes() -> Result<()> {
    let cluster = cluster(2, |_| {}).await?;
    let load = load(&cluster, "metrics/5", 4);
    let metrics = [
        ("error-rate", 0.5),
        ("latency-p50", 1e6),
        ("latency-p90", 1e6),
        ("latency-p95", 1e6),
        ("latency-p99", 1e6),
        ("cpu", 1e6),
        ("cpu-per-request", 1e6),
        ("memory", 1e12),
        ("restarts", 0.0),
        ("refused", 0.5),
        ("queued", 0.9),
        ("module:served", 1.0),
        ("module:rows:p50", 1e6),
        ("module:rows:mean", 1e6),
    ];
    let checks = metrics.map(|(metric, max)| json!({ "metric": metric, "max": max }));
    let rest = json!({ "soak": "100s", "passEarly": true });
    let (state, verdict) = canary(&cluster, json!(checks), rest).await?;
    load.stop().await;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    for (metric, _) in metrics {
        let finding = finding(&verdict, metric)?;
        assert!(finding.canary.is_some(), "{finding:?}");
        assert_eq!(finding.judgement, Judgement::Pass, "{finding:?}");
    }
    cluster.shutdown().await;
    Ok(())
}

/// Lets soaks ask a provider at this address.
async fn allow(cluster: &mut Cluster, kind: ProviderKind, url: &str) -> Result<()> {
    allow_with(cluster, kind, url, ClientTls::default()).await
}

async fn allow_with(
    cluster: &mut Cluster,
    kind: ProviderKind,
    url: &str,
    tls: ClientTls,
) -> Result<()> {
    let provider: Arc<dyn MetricProvider> = Arc::new(HttpProvider::new(HttpProviderConfig {
        kind,
        url: url.to_owned(),
        headers: vec![("Authorization".to_owned(), Secret::new(SECRET))],
        timeout: Duration::from_secs(5),
        tls,
    })?);
    cluster.resources.metric_providers = MetricProviders::new([("shop".to_owned(), provider)]);
    let journal = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(journal).await
}

/// A server of JSON that knows how much each version sells, and keeps what it was asked. `None`
/// where it answers nothing but errors.
async fn sales(sold: fn(&str) -> Option<f64>) -> Result<(String, Arc<Mutex<Vec<String>>>)> {
    sales_over(sold, None).await
}

/// The same over TLS, if any.
async fn sales_over(
    sold: fn(&str) -> Option<f64>,
    tls: Option<ServerTls>,
) -> Result<(String, Arc<Mutex<Vec<String>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addr()?);
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = accept(tls.as_ref(), stream).await else {
                continue;
            };
            if tls.is_some() && stream.client_certificate().is_none() {
                continue;
            }
            let mut request = vec![0; 16 << 10];
            let Ok(length) = stream.read(&mut request).await else {
                continue;
            };
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let line = request.lines().next().unwrap_or_default();
            let (status, body) = match sold(line) {
                Some(sold) => ("200 OK", json!({ "sales": { "failed": sold } }).to_string()),
                None => ("500 Internal Server Error", SECRET.to_owned()),
            };
            if let Ok(mut seen) = seen.lock() {
                seen.push(request);
            }
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close");
            let _ = stream
                .write_all(format!("{head}\r\n\r\n{body}").as_bytes())
                .await;
            let _ = stream.shutdown().await;
        }
    });
    Ok((url, asked))
}

fn sales_query() -> Value {
    json!({ "queries": [{
        "name": "sales", "provider": "shop", "query": "/stats?version={{version}}",
        "pointer": "/sales/failed",
    }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_answers_takes_a_version_back_and_is_journaled() -> Result<()> {
    let mut cluster = cluster(2, |_| {}).await?;
    let sold = |line: &str| {
        Some(if line.contains("version=2.0.0") {
            9.0
        } else {
            4.0
        })
    };
    let (url, asked) = sales(sold).await?;
    allow(&mut cluster, ProviderKind::Json, &url).await?;
    let checks = json!([{ "metric": "query:sales", "maxIncrease": 0.5 }]);
    let (state, verdict) = canary(&cluster, checks, sales_query()).await?;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let sales = finding(&verdict, "query:sales")?;
    assert_eq!(
        sales.reason,
        "sales is 9, against 4 of the previous version: more than the allowed increase of 50 % in \
         3 readings in a row; how sure that is cannot be told of a number of others"
    );
    // What came back is in the journal, so a replay asks nobody.
    assert_eq!(sales.queried.len(), 3, "{sales:?}");
    for answer in &sales.queried {
        assert_eq!((answer.canary, answer.baseline), (Some(9.0), Some(4.0)));
    }
    let asked = asked.lock().map_or(0, |asked| {
        assert!(asked.iter().all(|request| request.contains(SECRET)));
        asked.len()
    });
    assert_eq!(asked, 6);
    let journal = format!("{:?}", cluster.events(state.header.id).await?);
    assert!(!journal.contains("of-a-secret"));
    cluster.shutdown().await;
    Ok(())
}

/// A provider that wants a certificate of its clients. One of an authority that is not trusted is
/// an error that says so, and no answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_asked_over_https_with_an_authority_and_a_certificate() -> Result<()> {
    let mut cluster = cluster(2, |_| {}).await?;
    let (folder, authority) = (tempfile::tempdir()?, Authority::new()?);
    let files = |name: &str| CertificateFiles {
        certificate: folder.path().join(format!("{name}.crt")),
        key: folder.path().join(format!("{name}.key")),
    };
    for name in ["server", "client"] {
        authority.issue(folder.path(), name, "localhost")?;
    }
    let trusted = authority.write(folder.path(), "ca")?;
    let server = ServerFiles {
        certificate: files("server"),
        further: Vec::new(),
        client_authorities: Some(trusted.clone()),
    };
    let server = ServerTls::open(server, "the certificate")?;
    let (url, asked) = sales_over(|_| Some(4.0), Some(server)).await?;
    let stranger = Authority::new()?.write(folder.path(), "stranger")?;
    let tls = |authorities, client| {
        ClientTls::open(ClientFiles {
            authorities: Some(authorities),
            client,
            ..ClientFiles::default()
        })
    };
    for (tls, judgement, says) in [
        (
            tls(stranger, None)?,
            Judgement::Inconclusive,
            "its certificate is of an authority that is not trusted here: set ca of the provider",
        ),
        (
            tls(trusted.clone(), None)?,
            Judgement::Inconclusive,
            "the last error: the connection broke",
        ),
        (
            tls(trusted, Some(files("client")))?,
            Judgement::Pass,
            "sales is 4",
        ),
    ] {
        allow_with(&mut cluster, ProviderKind::Json, &url, tls).await?;
        let checks = json!([{ "metric": "query:sales", "max": 100.0 }]);
        let (state, verdict) = canary(&cluster, checks, sales_query()).await?;
        let sales = finding(&verdict, "query:sales")?;
        assert_eq!(sales.judgement, judgement, "{sales:?} {:?}", state.cause);
        assert!(sales.reason.contains(says), "{}", sales.reason);
        let rolled_back = state.status() == Status::RolledBack;
        assert_eq!(rolled_back, judgement != Judgement::Pass);
    }
    let asked = asked.lock().map_or(0, |asked| asked.len());
    assert!(asked > 0, "it was asked with the certificate alone");
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_provider_is_never_a_pass() -> Result<()> {
    let mut cluster = cluster(2, |_| {}).await?;
    let (url, _) = sales(|_| None).await?;
    allow(&mut cluster, ProviderKind::Json, &url).await?;
    let checks = json!([{ "metric": "query:sales", "max": 100.0 }]);
    let (state, verdict) = canary(&cluster, checks, sales_query()).await?;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let sales = finding(&verdict, "query:sales")?;
    assert_eq!(sales.judgement, Judgement::Inconclusive, "{sales:?}");
    let error = "the last error: it answered 500 Internal Server Error";
    assert!(sales.reason.contains(error), "{}", sales.reason);
    let journal = format!("{:?}", cluster.events(state.header.id).await?);
    assert!(
        !journal.contains("of-a-secret"),
        "nobody sees what it answered"
    );
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_to_a_server_that_is_not_allowed_is_refused_before_the_deployment_begins()
-> Result<()> {
    let cluster = cluster(1, |_| {}).await?;
    let checks = json!([{ "metric": "query:sales", "max": 100.0 }]);
    let refused = canary(&cluster, checks, sales_query()).await;
    let error = format!("{:#}", refused.err().context("it was accepted")?);
    let expected =
        "there is no provider of metrics named 'shop'; the engine's configuration has none";
    assert!(error.contains(expected), "{error}");
    cluster.shutdown().await;
    Ok(())
}

/// A real Prometheus reads the counters of real nodes.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_to_a_real_prometheus_takes_a_bad_version_back() -> Result<()> {
    let mut cluster = cluster(2, |_| {}).await?;
    let bad = hotswap_guests::HELLO_V3;
    cluster.upload("hello", "3.0.0", bad).await?;
    let nodes: Vec<_> = cluster
        .nodes
        .values()
        .map(|node| node.control_addr())
        .collect();
    let prometheus = PrometheusServer::start(&nodes).await?;
    allow(&mut cluster, ProviderKind::Prometheus, prometheus.url()).await?;
    let load = load(&cluster, "", 4);
    let rate = |name: &str| {
        format!(
            r#"sum(rate(hotswap_node_{name}_total{{module="{{{{module}}}}",version="{{{{version}}}}"}}[2s]))"#
        )
    };
    let config = json!({
        "steps": [50],
        "soak": "1m",
        "checks": [{ "metric": "query:errors", "maxIncrease": 0.5, "minIncrease": 0.02 }],
        "queries": [{
            "name": "errors", "provider": "shop",
            "query": format!("{} / {}", rate("errors"), rate("requests")),
        }],
    });
    let id = cluster
        .deploy(("hello", "3.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let state = cluster.wait_for_end(id).await?;
    load.stop().await;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let verdict = first_verdict(&cluster, id).await?;
    let errors = finding(&verdict, "query:errors")?;
    assert_eq!(errors.judgement, Judgement::Fail, "{errors:?}");
    assert_eq!(errors.baseline, Some(0.0), "{errors:?}");
    assert!(errors.canary > Some(0.02), "{errors:?}");
    cluster.shutdown().await;
    Ok(())
}

/// Without a client, the nodes send requests to both versions themselves, which count as theirs.
#[tokio::test(flavor = "multi_thread")]
async fn probes_of_the_nodes_decide_a_soak_that_has_no_traffic() -> Result<()> {
    let cluster = cluster(2, |_| {}).await?;
    let bad = hotswap_guests::HELLO_V3;
    cluster.upload("hello", "3.0.0", bad).await?;
    let config = |probes: Value| {
        json!({
            "steps": [50],
            "soak": "30s",
            "checks": [{ "metric": "error-rate", "max": 0.02 }],
            "whenInconclusive": "rollBack",
            "probes": probes,
        })
    };
    let probes = json!({ "path": "/", "ratePerSecond": 100.0 });
    let strategy = ("canary", config(probes));
    let id = cluster
        .deploy(("hello", "3.0.0"), PRODUCTION, strategy)
        .await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.cause);
    let verdict = first_verdict(&cluster, id).await?;
    let errors = finding(&verdict, "error-rate")?;
    assert_eq!(errors.judgement, Judgement::Fail, "{errors:?}");
    assert!(
        errors.canary_samples > 0 && errors.baseline_samples > 0,
        "{errors:?}"
    );
    let says = "to the previous one are probes of the nodes";
    assert!(errors.reason.ends_with(says), "{}", errors.reason);
    let invalid = json!({ "path": "no path", "ratePerSecond": 1.0 });
    let strategy = ("canary", config(invalid));
    let refused = cluster
        .deploy(("hello", "3.0.0"), PRODUCTION, strategy)
        .await;
    assert!(refused.is_err(), "a path begins with '/'");
    cluster.shutdown().await;
    Ok(())
}
