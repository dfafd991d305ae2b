//! Engine and nodes send to a collector what they show at `/metrics`. Real processes send to a real
//! receiver, by both protocols of OTLP.

mod compression;
mod exposed;
mod lost;
mod tls;
mod variables;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{Installation, OtlpReceiver, ReceivedMetrics};
use serde_json::json;

use exposed::{Exposed, check_same, sent, series};

const QA: &str = "qa";
/// What clients send to the module.
const REQUESTS: u8 = 5;
const SECRET: &str = "s3cr3t of the collector";

/// Rolls version 2.0.0 out, and sends requests to it.
async fn use_module(hotswap: &Installation) -> Result<()> {
    let id = hotswap.propose("2.0.0", "direct", json!({})).await?;
    hotswap.approve(&id).await?;
    let ended = hotswap.wait_for_end(&id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");
    for url in hotswap.data_urls().await? {
        for _ in 0..REQUESTS {
            reqwest::get(&url).await?.error_for_status()?;
        }
    }
    Ok(())
}

/// The URL of the control port of the one node.
async fn control_url(hotswap: &Installation) -> Result<String> {
    let nodes = hotswap.get("/api/v1/nodes").await?;
    let url = nodes["nodes"][0]["controlUrl"].as_str().context("no URL")?;
    Ok(url.to_owned())
}

/// Checks what a process sends against what it shows at `url`. Returns what it has sent.
async fn check_process(
    receiver: &OtlpReceiver,
    service: &str,
    url: &str,
) -> Result<ReceivedMetrics> {
    let before = Exposed::read(url).await?;
    let of_service = |request: &&ReceivedMetrics| request.service() == service;
    let all = receiver.metrics();
    let known = all.iter().filter(of_service).map(ReceivedMetrics::time);
    let known = known.max().unwrap_or(0);
    let received = receiver.wait_for_metrics(service, |all| {
        let later = all.iter().filter(of_service);
        let mut later = later.filter(|request| request.time() > known);
        // The first of them may have been read before.
        later.nth(1).cloned()
    });
    let received = received.await?;
    let after = Exposed::read(url).await?;
    check_same(&before, &received, &after)?;
    Ok(received)
}

fn check_origin(received: &ReceivedMetrics, protocol: &str, instance: Option<&str>) -> Result<()> {
    ensure!(received.protocol == protocol, "{}", received.protocol);
    let resource = &received.resource;
    ensure!(resource["service.namespace"] == "hotswap", "{resource:?}");
    ensure!(
        resource["service.version"] == env!("CARGO_PKG_VERSION"),
        "{resource:?}"
    );
    ensure!(
        resource["deployment.environment.name"] == "test",
        "{resource:?}"
    );
    ensure!(
        resource["process.pid"].parse::<u32>().is_ok(),
        "{resource:?}"
    );
    let named = resource.get("service.instance.id");
    let named = named.context("no instance")?;
    ensure!(
        instance.is_none_or(|instance| named == instance),
        "{resource:?}"
    );
    let header = received.headers.get("api-key").context("no header")?;
    ensure!(header == SECRET);
    Ok(())
}

/// Checks everything that engine and node send by a protocol.
async fn check_protocol(protocol: &str) -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        (
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
            "api-key=s3cr3t%20of the collector",
        ),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        ),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
    ];
    let mut hotswap = Installation::start_with(QA, 1, &variables).await?;
    use_module(&hotswap).await?;

    let engine = check_process(&receiver, "hotswap-engine", &hotswap.url).await?;
    check_origin(&engine, protocol, None)?;
    let control = control_url(&hotswap).await?;
    let node = check_process(&receiver, "hotswap-node", &control).await?;
    check_origin(&node, protocol, Some("qa-1"))?;

    let succeeded = [("outcome", "succeeded")];
    let ended = series("hotswap_deployments_ended_total", &succeeded);
    ensure!(sent(&engine)[&ended] == 1.0, "{engine:#?}");
    let version = [("module", "hello"), ("version", "2.0.0")];
    for name in [
        "hotswap_node_requests_total",
        "hotswap_node_latency_seconds_count",
    ] {
        let count = sent(&node)[&series(name, &version)];
        ensure!(count >= f64::from(REQUESTS), "{name}: {count}");
    }
    // What it has sent is counted, and goes the same way.
    let exported = series("hotswap_metric_points_total", &[("outcome", "exported")]);
    ensure!(sent(&engine)[&exported] > 0.0, "{engine:#?}");

    let logs = [
        hotswap.terminate_node("qa-1").await?,
        hotswap.terminate_engine().await?,
    ];
    for log in logs {
        ensure!(!log.contains("s3cr3t"), "{log}");
        ensure!(!log.contains("does not take"), "{log}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_and_node_send_by_grpc_what_they_show() -> Result<()> {
    check_protocol("grpc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_and_node_send_by_http_what_they_show() -> Result<()> {
    check_protocol("http/protobuf").await
}
