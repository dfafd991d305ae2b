//! A collector that takes no spans, or not all, costs those spans and nothing else, by both protocols
//! of OTLP. Real processes send to a real receiver.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{
    CollectorAnswer, CollectorLog, Installation, OtlpReceiver, SilentServer, UnusedAddress,
};
use tokio::time::Instant;

const QA: &str = "qa";
const GRPC: &str = "grpc";
const HTTP: &str = "http/protobuf";
/// Time limit of each wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Engine and one node with a module, which record every request, and send its span at once to the
/// collector.
async fn start(url: &str, protocol: &str) -> Result<Installation> {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "300"),
    ];
    let hotswap = Installation::start_with(QA, 1, &variables).await?;
    let id = hotswap
        .propose("2.0.0", "direct", serde_json::json!({}))
        .await?;
    hotswap.approve(&id).await?;
    let ended = hotswap.wait_for_end(&id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");
    Ok(hotswap)
}

/// The URLs at which engine and node show what became of their spans.
async fn shown_at(hotswap: &Installation) -> Result<[(String, &'static str); 2]> {
    let nodes = hotswap.get("/api/v1/nodes").await?;
    let url = nodes["nodes"][0]["controlUrl"].as_str().context("no URL")?;
    Ok([
        (hotswap.url.clone(), "hotswap"),
        (url.to_owned(), "hotswap_node"),
    ])
}

/// How many spans have had an outcome.
async fn spans((url, prefix): &(String, &str), outcome: &str) -> Result<u64> {
    let text = reqwest::get(format!("{url}/metrics")).await?.text().await?;
    let series = format!("{prefix}_trace_spans_total{{outcome=\"{outcome}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&series));
    let value = value.with_context(|| format!("no {series}: {text}"))?;
    Ok(value.parse()?)
}

/// Asks the engine and the node's module for something, which each record as a span, until `more`
/// spans of the process have had this outcome. Returns how many.
async fn ask_until(
    hotswap: &Installation,
    process: &(String, &str),
    outcome: &str,
    more: u64,
) -> Result<u64> {
    let deadline = Instant::now() + TIMEOUT;
    let before = spans(process, outcome).await?;
    let urls = hotswap.data_urls().await?;
    loop {
        hotswap.get("/api/v1/nodes").await?;
        for url in &urls {
            reqwest::get(url).await?;
        }
        let now = spans(process, outcome).await?;
        if now >= before + more {
            return Ok(now - before);
        }
        ensure!(
            Instant::now() < deadline,
            "{process:?}: {now} spans {outcome}, {before} before"
        );
    }
}

/// Ends node and engine, and takes their logs.
async fn logs(hotswap: &mut Installation) -> Result<[CollectorLog; 2]> {
    let node = CollectorLog::of_node(hotswap, "qa-1").await?;
    Ok([node, CollectorLog::of_engine(hotswap).await?])
}

/// Checks that a collector that takes nothing costs spans, and nothing else.
async fn check_lost(url: &str, protocol: &str) -> Result<()> {
    let mut hotswap = start(url, protocol).await?;
    for process in shown_at(&hotswap).await? {
        ask_until(&hotswap, &process, "failed", 3).await?;
        ensure!(spans(&process, "exported").await? == 0);
    }
    for log in logs(&mut hotswap).await? {
        log.check(1, 0)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_costs_spans_and_nothing_else() -> Result<()> {
    let silent = SilentServer::start().await?;
    check_lost(&silent.url(), HTTP).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_by_grpc_costs_spans_and_nothing_else() -> Result<()> {
    let silent = SilentServer::start().await?;
    check_lost(&silent.url(), GRPC).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_costs_spans_and_nothing_else() -> Result<()> {
    let nobody = UnusedAddress::new()?;
    check_lost(&nobody.url(), HTTP).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_by_grpc_costs_spans_and_nothing_else() -> Result<()> {
    let nobody = UnusedAddress::new()?;
    check_lost(&nobody.url(), GRPC).await
}

/// Checks that spans come again once a collector takes them, and that those are counted that it
/// rejects with a success.
async fn check_return(protocol: &str) -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    receiver.answer_spans(CollectorAnswer::Unavailable);
    let mut hotswap = start(&receiver.url(), protocol).await?;
    for process in shown_at(&hotswap).await? {
        ask_until(&hotswap, &process, "failed", 1).await?;
    }
    ensure!(receiver.spans().is_empty());

    receiver.answer_spans(CollectorAnswer::Takes);
    for process in shown_at(&hotswap).await? {
        ask_until(&hotswap, &process, "exported", 3).await?;
    }
    let arrived = receiver.spans();
    ensure!(arrived.iter().all(|span| span.protocol == protocol));

    receiver.answer_spans(CollectorAnswer::Rejects(1));
    for process in shown_at(&hotswap).await? {
        // Of each request the collector takes all spans but one.
        ask_until(&hotswap, &process, "failed", 2).await?;
    }
    // More than a request has: all of it is lost, and no count runs backwards.
    receiver.answer_spans(CollectorAnswer::Rejects(1 << 40));
    for process in shown_at(&hotswap).await? {
        let exported = spans(&process, "exported").await?;
        ask_until(&hotswap, &process, "failed", 3).await?;
        let now = spans(&process, "exported").await?;
        // A request may have been under way.
        ensure!((exported..exported + 1000).contains(&now), "{now}");
    }
    for log in logs(&mut hotswap).await? {
        log.check(2, 1)?;
        log.check_once("it rejects some spans: out of range")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_come_again_by_grpc_and_what_is_rejected_is_counted() -> Result<()> {
    check_return(GRPC).await
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_come_again_by_http_and_what_is_rejected_is_counted() -> Result<()> {
    check_return(HTTP).await
}
