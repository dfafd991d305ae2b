use anyhow::{Result, ensure};
use hotswap_tests::{Installation, OtlpReceiver};

use super::{QA, use_module};

/// Checks that spans and metrics of engine and node come compressed where the variables say so.
async fn check_compression(
    protocol: &str,
    settings: [(&str, &str); 2],
    (spans, metrics): (bool, bool),
) -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
        settings[0],
        settings[1],
    ];
    let hotswap = Installation::start_with(QA, 1, &variables).await?;
    use_module(&hotswap).await?;
    for service in ["hotswap-engine", "hotswap-node"] {
        let span = receiver.wait_for(service, |spans| {
            spans.iter().find(|span| span.service() == service).cloned()
        });
        let span = span.await?;
        ensure!(span.protocol == protocol && span.is_compressed == spans);
        let request = receiver.wait_for_metrics(service, |all| {
            let mut of_service = all.iter().filter(|request| request.service() == service);
            of_service.next().cloned()
        });
        let request = request.await?;
        ensure!(request.protocol == protocol && request.is_compressed == metrics);
        ensure!(!request.metrics.is_empty());
    }
    Ok(())
}

const ALL: (&str, &str) = ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");

#[tokio::test(flavor = "multi_thread")]
async fn spans_and_metrics_come_compressed_by_grpc() -> Result<()> {
    let settings = [ALL, ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip")];
    check_compression("grpc", settings, (true, true)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_and_metrics_come_compressed_by_http() -> Result<()> {
    let settings = [ALL, ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip")];
    check_compression("http/protobuf", settings, (true, true)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signal_is_not_compressed_by_grpc() -> Result<()> {
    let settings = [ALL, ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none")];
    check_compression("grpc", settings, (false, true)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signal_is_not_compressed_by_http() -> Result<()> {
    let settings = [ALL, ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none")];
    check_compression("http/protobuf", settings, (true, false)).await
}
