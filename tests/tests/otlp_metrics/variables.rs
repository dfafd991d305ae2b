use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{Installation, OtlpReceiver, tools};
use tokio::time::timeout;

use super::QA;

const TIMEOUT: Duration = Duration::from_secs(60);

/// The one line of a log about variables that have no effect.
fn told(log: &str) -> Result<&str> {
    let mut lines = log
        .lines()
        .filter(|line| line.contains("have no effect here"));
    let line = lines.next().with_context(|| format!("not told: {log}"))?;
    ensure!(lines.next().is_none(), "told twice: {log}");
    Ok(line)
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_without_effect_are_told_by_name() -> Result<()> {
    let variables = [
        ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "api-key=s3cr3t"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "5"),
        ("OTEL_LOGS_EXPORTER", "none"),
        ("OTEL_SERVICE_NAME", "shop"),
    ];
    let mut hotswap = Installation::start_with(QA, 1, &variables).await?;
    for log in [
        timeout(TIMEOUT, hotswap.terminate_node("qa-1")).await??,
        timeout(TIMEOUT, hotswap.terminate_engine()).await??,
    ] {
        let line = told(&log)?;
        for name in [
            "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
            "OTEL_SPAN_LINK_COUNT_LIMIT",
        ] {
            ensure!(line.contains(name), "{line}");
        }
        for name in ["OTEL_LOGS_EXPORTER", "OTEL_SERVICE_NAME"] {
            ensure!(!line.contains(name), "{line}");
        }
        ensure!(!log.contains("s3cr3t"), "{log}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compression_that_is_not_known_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut serve = tools::hotswap()?;
    serve
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .env("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "zstd")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(TIMEOUT, serve.output()).await??;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "{error}");
    let expected = "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION: use gzip or none";
    ensure!(error.contains(expected), "{error}");
    Ok(())
}

/// What an engine that is started with these attributes says of itself, and its log.
async fn resource_with(attributes: &str) -> Result<(BTreeMap<String, String>, String)> {
    let receiver = OtlpReceiver::start().await?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
        ("OTEL_RESOURCE_ATTRIBUTES", attributes),
    ];
    let mut hotswap = Installation::start_with(QA, 0, &variables).await?;
    let metrics = receiver.wait_for_metrics("metrics", |all| all.first().cloned());
    let resource = metrics.await?.resource;
    let log = timeout(TIMEOUT, hotswap.terminate_engine()).await??;
    Ok((resource, log))
}

/// A real process: a library that reads the environment by itself would have its own say.
#[tokio::test(flavor = "multi_thread")]
async fn resource_attributes_are_decoded_or_discarded_as_a_whole() -> Result<()> {
    const REPORT: &str = "OTEL_RESOURCE_ATTRIBUTES cannot be read";
    let (resource, log) = resource_with("team=a%2Cb,deployment.environment.name=test").await?;
    ensure!(resource["team"] == "a,b", "{resource:?}");
    ensure!(
        resource["deployment.environment.name"] == "test",
        "{resource:?}"
    );
    ensure!(!log.contains(REPORT), "{log}");

    let (resource, log) = resource_with("team=s3cr3t,broken=%ff").await?;
    let has = |key: &str| resource.contains_key(key);
    ensure!(!has("team") && !has("broken"), "{resource:?}");
    ensure!(resource["service.name"] == "hotswap-engine", "{resource:?}");
    ensure!(log.contains(REPORT), "{log}");
    ensure!(log.contains("pair 2 is not percent-encoded"), "{log}");
    ensure!(!log.contains("s3cr3t"), "{log}");
    Ok(())
}
