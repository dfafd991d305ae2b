use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{Authority, Installation, OtlpReceiver};
use tokio::time::timeout;

use super::exposed::{sent, series};
use super::{QA, REQUESTS, use_module};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Checks that spans and metrics come over TLS, and the last metrics when a process ends: there is
/// no interval before.
async fn check_tls(protocol: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new()?;
    let trusted = authority.write(folder.path(), "trusted")?;
    let receiver = OtlpReceiver::start_with_tls(&authority, folder.path()).await?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            trusted.to_str().context("no text")?,
        ),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "86400000"),
    ];
    let mut hotswap = Installation::start_with(QA, 1, &variables).await?;
    use_module(&hotswap).await?;
    for service in ["hotswap-engine", "hotswap-node"] {
        let spans = receiver.wait_for(service, |spans| {
            spans.iter().find(|span| span.service() == service).cloned()
        });
        ensure!(spans.await?.protocol == protocol);
    }
    hotswap.terminate_node("qa-1").await?;
    hotswap.terminate_engine().await?;
    for service in ["hotswap-engine", "hotswap-node"] {
        let last = receiver.wait_for_metrics(service, |all| {
            let mut of_service = all.iter().filter(|request| request.service() == service);
            of_service.next_back().cloned()
        });
        let last = last.await?;
        ensure!(last.protocol == protocol);
        if service == "hotswap-node" {
            let version = [("module", "hello"), ("version", "2.0.0")];
            let count = sent(&last)[&series("hotswap_node_requests_total", &version)];
            ensure!(count >= f64::from(REQUESTS), "{last:#?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_and_metrics_go_over_tls_by_grpc() -> Result<()> {
    check_tls("grpc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_and_metrics_go_over_tls_by_http() -> Result<()> {
    check_tls("http/protobuf").await
}

/// Checks that a collector that asks for a certificate gets that of the variables.
async fn check_client_certificate(protocol: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new()?;
    let receiver = OtlpReceiver::start_for_known_clients(&authority, folder.path()).await?;
    authority.issue(folder.path(), "client", "client")?;
    let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let files = ["clients.crt", "client.crt", "client.key"].map(file);
    let url = receiver.url();
    let mut variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", files[0].as_str()),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
    ];
    let mut stranger = Installation::start_with(QA, 0, &variables).await?;
    let log = timeout(TIMEOUT, stranger.terminate_engine()).await??;
    ensure!(log.contains("does not take what it is sent"), "{log}");
    ensure!(receiver.metrics().is_empty() && receiver.spans().is_empty());

    variables.push(("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &files[1]));
    variables.push(("OTEL_EXPORTER_OTLP_CLIENT_KEY", &files[2]));
    let hotswap = Installation::start_with(QA, 1, &variables).await?;
    use_module(&hotswap).await?;
    for service in ["hotswap-engine", "hotswap-node"] {
        let spans = receiver.wait_for(service, |spans| {
            spans.iter().find(|span| span.service() == service).cloned()
        });
        ensure!(spans.await?.protocol == protocol);
        let metrics = receiver.wait_for_metrics(service, |all| {
            let mut of_service = all.iter().filter(|request| request.service() == service);
            of_service.next().cloned()
        });
        ensure!(metrics.await?.protocol == protocol);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_asks_for_a_certificate_by_grpc_gets_one() -> Result<()> {
    check_client_certificate("grpc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_asks_for_a_certificate_by_http_gets_one() -> Result<()> {
    check_client_certificate("http/protobuf").await
}

/// Checks that nothing is sent to a collector whose certificate nobody vouches for.
async fn check_distrust(protocol: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let receiver = OtlpReceiver::start_with_tls(&Authority::new()?, folder.path()).await?;
    let other = Authority::new()?.write(folder.path(), "other")?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
            other.to_str().context("no text")?,
        ),
        ("OTEL_METRIC_EXPORT_INTERVAL", "86400000"),
    ];
    let mut hotswap = Installation::start_with(QA, 0, &variables).await?;
    // It sends what it has, before it ends.
    let log = timeout(TIMEOUT, hotswap.terminate_engine()).await??;
    let told = log.lines().find(|line| {
        line.contains("does not take what it is sent") && line.contains("\"metrics\"")
    });
    let told = told.with_context(|| format!("not told: {log}"))?;
    ensure!(told.contains("certificate"), "no reason: {told}");
    ensure!(receiver.metrics().is_empty() && receiver.spans().is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_trusted_by_grpc_gets_nothing() -> Result<()> {
    check_distrust("grpc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_trusted_by_http_gets_nothing() -> Result<()> {
    check_distrust("http/protobuf").await
}
