//! The headers of requests to a collector.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use hotswap_tests::{Installation, OtlpReceiver};

use super::{QA, deploy, wait_until_asked, wait_until_settled};

/// The headers of requests to a collector hold its token.
const COLLECTOR_TOKEN: &str = "t0ken-of-the-collector";

/// Spans and metrics of an engine and of a node come with the headers, and no log has a header's value.
async fn check_headers(protocol: &str) -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let url = receiver.url();
    let headers = format!("authorization=Bearer%20{COLLECTOR_TOKEN},x-scope-orgid=qa");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "100"),
        (
            "RUST_LOG",
            "debug,h2=trace,hyper=trace,hyper_util=trace,tonic=trace,reqwest=trace",
        ),
    ];
    let mut hotswap = Installation::start_with(QA, 0, &variables).await?;
    hotswap.start_node("qa-1")?;
    hotswap.wait_for_nodes(1).await?;
    let id = deploy(&hotswap.url, &hotswap.token).await?;
    wait_until_asked(&receiver, 1).await?;
    hotswap.approve(&id).await?;
    hotswap.wait_for_end(&id).await?;
    let spans = wait_until_settled(&receiver, 1).await?;
    let metrics = receiver
        .wait_for_metrics("metrics of both", |metrics| {
            let services: BTreeSet<_> = metrics.iter().map(|one| one.service()).collect();
            (services.len() == 2).then(|| metrics.to_vec())
        })
        .await?;
    let of_spans = spans.iter().map(|span| (span.protocol, &span.headers));
    let of_metrics = metrics.iter().map(|one| (one.protocol, &one.headers));
    for (by, headers) in of_spans.chain(of_metrics) {
        ensure!(by == protocol, "{by}");
        let token = format!("Bearer {COLLECTOR_TOKEN}");
        ensure!(headers["authorization"] == *token, "{headers:?}");
        ensure!(headers["x-scope-orgid"] == "qa", "{headers:?}");
    }
    let node = hotswap.terminate_node("qa-1").await?;
    let engine = hotswap.terminate_engine().await?;
    for log in [engine, node] {
        ensure!(log.contains("recording traces"), "{log}");
        ensure!(!log.contains(COLLECTOR_TOKEN), "{log}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_by_grpc_have_the_headers_and_no_log_has_them() -> Result<()> {
    check_headers("grpc").await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_by_http_have_the_headers_and_no_log_has_them() -> Result<()> {
    check_headers("http/protobuf").await
}
