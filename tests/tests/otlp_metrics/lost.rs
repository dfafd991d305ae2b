use std::time::Duration;

use anyhow::{Result, ensure};
use hotswap_tests::{
    CollectorAnswer, CollectorLog, Installation, OtlpReceiver, SilentServer, UnusedAddress,
};
use tokio::time::{Instant, sleep};

use super::exposed::Exposed;
use super::{QA, control_url, use_module};

/// Time limit of each wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How many points have had an outcome, as `/metrics` shows it at `url`.
async fn points(url: &str, prefix: &str, outcome: &str) -> Result<f64> {
    let name = format!("{prefix}_metric_points_total");
    let shown = Exposed::read(url).await?;
    shown.value(&name, &[("outcome", outcome)])
}

/// Waits until points were lost three times.
async fn wait_until_lost(url: &str, prefix: &str) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let (mut last, mut times) = (0.0, 0);
    while times < 3 {
        ensure!(Instant::now() < deadline, "{prefix}: lost {last} points");
        let failed = points(url, prefix, "failed").await?;
        if failed > last {
            (last, times) = (failed, times + 1);
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Checks that a collector that takes nothing costs points, and nothing else.
async fn check_lost(url: &str, protocol: &str) -> Result<()> {
    let variables = [
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", url),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", protocol),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "300"),
    ];
    let mut hotswap = Installation::start_with(QA, 1, &variables).await?;
    use_module(&hotswap).await?;
    let control = control_url(&hotswap).await?;
    for (url, prefix) in [
        (hotswap.url.as_str(), "hotswap"),
        (control.as_str(), "hotswap_node"),
    ] {
        wait_until_lost(url, prefix).await?;
        ensure!(points(url, prefix, "exported").await? == 0.0);
    }
    for _ in 0..64 {
        hotswap.get("/api/v1/nodes").await?;
    }
    let node = CollectorLog::of_node(&mut hotswap, "qa-1").await?;
    node.check(1, 0)?;
    let engine = CollectorLog::of_engine(&mut hotswap).await?;
    engine.check(1, 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_costs_points_and_nothing_else() -> Result<()> {
    let silent = SilentServer::start().await?;
    let url = format!("{}/v1/metrics", silent.url());
    check_lost(&url, "http/protobuf").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_by_grpc_costs_points_and_nothing_else() -> Result<()> {
    let silent = SilentServer::start().await?;
    check_lost(&silent.url(), "grpc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_costs_points_and_nothing_else() -> Result<()> {
    let nobody = UnusedAddress::new()?;
    check_lost(&nobody.url(), "grpc").await
}

/// Checks that metrics come again once a collector takes them, and that what it rejects is counted.
async fn check_return(protocol: &str) -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    receiver.answer_metrics(CollectorAnswer::Unavailable);
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
    ];
    let mut hotswap = Installation::start_with(QA, 0, &variables).await?;
    wait_until_lost(&hotswap.url, "hotswap").await?;
    ensure!(receiver.metrics().is_empty());
    receiver.answer_metrics(CollectorAnswer::Takes);
    let arrived = receiver.wait_for_metrics("metrics again", |all| all.first().cloned());
    ensure!(arrived.await?.protocol == protocol);

    receiver.answer_metrics(CollectorAnswer::Rejects(2));
    let (deadline, before) = (
        Instant::now() + TIMEOUT,
        points(&hotswap.url, "hotswap", "failed").await?,
    );
    loop {
        let failed = points(&hotswap.url, "hotswap", "failed").await?;
        if failed > before {
            break ensure!((failed - before) % 2.0 == 0.0, "{before}, then {failed}");
        }
        ensure!(Instant::now() < deadline, "what is rejected is not counted");
        sleep(Duration::from_millis(20)).await;
    }
    let log = CollectorLog::of_engine(&mut hotswap).await?;
    log.check(2, 1)?;
    log.check_once("out of range")
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_come_again_by_grpc_and_what_is_rejected_is_counted() -> Result<()> {
    check_return("grpc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_come_again_by_http_and_what_is_rejected_is_counted() -> Result<()> {
    check_return("http/protobuf").await
}
