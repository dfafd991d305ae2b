//! Spans of requests that clients send to the engine and to modules.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{EMAIL, Installation, OtlpReceiver, ReceivedSpan};
use serde_json::json;

use super::documented::check_documented;
use super::{CLIENT_SPAN, QA, TRACE, of_trace, trace_parent};

/// What a module reads of the header `traceparent` of a request that has the client's.
async fn header_of_module(hotswap: &Installation) -> Result<String> {
    hotswap
        .upload("4.0.0", hotswap_guests::MODULE_PROBE)
        .await?;
    let request = json!({
        "moduleName": "hello", "version": "4.0.0", "targetEnvironment": QA,
        "strategy": "direct", "requesterEmail": EMAIL,
    });
    let accepted = hotswap.post("/api/v1/deployments", request).await?;
    let id = accepted["executionId"].as_str().context("no id")?;
    let ended = hotswap.wait_for_end(id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");
    let url = hotswap.data_urls().await?.remove(0);
    let request = reqwest::Client::new()
        .get(format!("{url}header/traceparent"))
        .header("traceparent", trace_parent());
    Ok(request.send().await?.error_for_status()?.text().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_is_told_of_the_span_that_its_request_is() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let hotswap = Installation::start_with(QA, 1, &variables).await?;
    let header = header_of_module(&hotswap).await?;
    let span = header
        .strip_prefix(&format!("00-{TRACE}-"))
        .and_then(|rest| rest.strip_suffix("-01"))
        .with_context(|| header.clone())?;
    ensure!(span != CLIENT_SPAN, "{header}");
    let wait = receiver.wait_for("the span of the request", |spans| {
        let spans = of_trace(spans);
        let found = spans.into_iter().find(|found| found.span_id == span);
        found.cloned()
    });
    let found = wait.await?;
    ensure!(
        found.name == "GET hello" && found.parent_id == CLIENT_SPAN,
        "{found:#?}"
    );
    ensure!(found.service() == "hotswap-node", "{found:#?}");
    Ok(())
}

/// The span of a client's request says which server it asked, and how the module failed.
#[tokio::test(flavor = "multi_thread")]
async fn spans_of_requests_name_the_server_and_the_kind_of_a_failure() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let hotswap = Installation::start_with(QA, 1, &variables).await?;
    // The module of the tests: `header_of_module` has activated it.
    header_of_module(&hotswap).await?;
    let url = hotswap.data_urls().await?.remove(0);
    let data = reqwest::Url::parse(&url)?;
    let request = reqwest::Client::new()
        .get(format!("{url}trap"))
        .header("traceparent", trace_parent());
    ensure!(request.send().await?.status() == 500);
    let failed = receiver
        .wait_for("the span of the crash", |spans| {
            let spans = of_trace(spans);
            spans.into_iter().find(|span| span.is_error).cloned()
        })
        .await?;
    check_documented(std::slice::from_ref(&failed))?;
    ensure!(failed.name == "GET hello", "{failed:#?}");
    ensure!(failed.attribute("error.type") == "trap", "{failed:#?}");
    ensure!(failed.attribute("url.scheme") == "http", "{failed:#?}");
    let address = failed.attribute("server.address");
    ensure!(Some(address) == data.host_str(), "{failed:#?}");
    let port = failed.attribute("server.port").parse().ok();
    ensure!(port == data.port(), "{failed:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_a_module_gets_the_header_of_its_client() -> Result<()> {
    let hotswap = Installation::start(QA, 1, &[]).await?;
    let header = header_of_module(&hotswap).await?;
    ensure!(header == trace_parent(), "{header}");
    Ok(())
}

/// A client may send any word as a method, and any path. Neither names a span or labels a series.
#[tokio::test(flavor = "multi_thread")]
async fn methods_and_paths_that_nobody_knows_name_no_span() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let hotswap = Installation::start_with(QA, 1, &variables).await?;
    // The module of the tests: `header_of_module` has activated it.
    header_of_module(&hotswap).await?;
    let module = hotswap.data_urls().await?.remove(0);
    let nodes = hotswap.get("/api/v1/nodes").await?;
    let control = nodes["nodes"][0]["controlUrl"].as_str().context("no URL")?;
    let client = reqwest::Client::new();
    for (method, url) in [
        ("BREW", format!("{}/api/v1/pots", hotswap.url)),
        ("get", format!("{}/api/v1/deployments", hotswap.url)),
        ("DELETE", format!("{}/api/v1/pots", hotswap.url)),
        ("PUT", format!("{control}/v1/pots/operations/d1.3")),
        ("BREW", module),
    ] {
        let request = client.request(method.parse()?, url);
        let request = request.header("traceparent", trace_parent());
        // Whatever it says: it has a span, or none.
        request.send().await?;
    }
    // Those of the second kind have no span, so the last request's is the last one.
    let expected = ["HTTP", "HTTP /api/v1/deployments", "DELETE", "HTTP hello"];
    let spans = receiver.wait_for("the spans", |spans| {
        let has = |name: &str| of_trace(spans).iter().any(|span| span.name == name);
        expected.into_iter().all(has).then(|| spans.to_vec())
    });
    let spans = spans.await?;
    check_documented(&spans)?;
    let of_client = |span: &&ReceivedSpan| span.parent_id == CLIENT_SPAN;
    let spans: Vec<_> = of_trace(&spans).into_iter().filter(of_client).collect();
    let outline = spans.iter().map(|span| {
        let texts = [
            "http.request.method",
            "http.request.method_original",
            "http.route",
        ];
        let [method, original, route] = texts.map(|name| span.attribute(name));
        (span.name.as_str(), method, original, route)
    });
    let outline: BTreeSet<_> = outline.collect();
    let expected = [
        ("GET hello", "GET", "", ""),
        ("HTTP", "_OTHER", "BREW", ""),
        (
            "HTTP /api/v1/deployments",
            "_OTHER",
            "get",
            "/api/v1/deployments",
        ),
        ("DELETE", "DELETE", "", ""),
        ("HTTP hello", "_OTHER", "BREW", ""),
    ];
    ensure!(outline == expected.into(), "{outline:#?}");
    let metrics = reqwest::get(format!("{}/metrics", hotswap.url)).await?;
    let metrics = metrics.text().await?;
    for labels in [
        "method=\"_OTHER\",route=\"unmatched\"",
        "method=\"_OTHER\",route=\"/api/v1/deployments\"",
    ] {
        ensure!(metrics.contains(labels), "no {labels}: {metrics}");
    }
    ensure!(!metrics.contains("BREW"), "{metrics}");
    Ok(())
}
