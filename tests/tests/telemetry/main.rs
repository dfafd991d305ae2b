//! One deployment is one trace: from the request of a client over the engine's orders to the
//! nodes and the requests to the module, whatever becomes of the engine meanwhile. Real processes
//! send their spans to a real receiver.

mod documented;
mod headers;
mod requests;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hotswap_tests::{
    EMAIL, Installation, OtlpReceiver, ReceivedSpan, RedisKind, Replicas, SilentServer,
};
use serde_json::{Value, json};

use documented::check_documented;

const QA: &str = "qa";
/// The client's part of the trace.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT_SPAN: &str = "00f067aa0ba902b7";

fn trace_parent() -> String {
    format!("00-{TRACE}-{CLIENT_SPAN}-01")
}

/// Stages, probes, and waits for a person before it switches.
fn blue_green() -> Value {
    json!({
        "moduleName": "hello",
        "version": "2.0.0",
        "targetEnvironment": QA,
        "strategy": "blue-green",
        "config": { "approval": true, "approvalTimeout": "1h", "soak": "0s" },
        "requesterEmail": EMAIL,
    })
}

/// Requests a deployment with the client's trace, and returns its id.
async fn deploy(url: &str, token: &str) -> Result<String> {
    let request = reqwest::Client::new()
        .post(format!("{url}/api/v1/deployments"))
        .bearer_auth(token)
        .header("traceparent", trace_parent())
        .json(&blue_green());
    let answer = request.send().await?;
    let (status, accepted) = (answer.status(), answer.text().await?);
    ensure!(status.is_success(), "{status}: {accepted}");
    let accepted: Value = serde_json::from_str(&accepted)?;
    Ok(accepted["executionId"]
        .as_str()
        .context("no id")?
        .to_owned())
}

/// The spans of the client's trace.
fn of_trace(spans: &[ReceivedSpan]) -> Vec<&ReceivedSpan> {
    spans.iter().filter(|span| span.trace_id == TRACE).collect()
}

fn named<'a>(spans: &[&'a ReceivedSpan], name: &str) -> Vec<&'a ReceivedSpan> {
    let named = spans.iter().filter(|span| span.name == name);
    named.copied().collect()
}

/// Whether the trace has a span of that name from each of `nodes` nodes.
fn has_from_nodes(spans: &[ReceivedSpan], name: &str, nodes: usize) -> bool {
    let spans = named(&of_trace(spans), name);
    let processes: BTreeSet<_> = spans.iter().map(|span| span.process()).collect();
    processes.len() == nodes
}

/// Checks that the trace is whole: each span was caused by another one, up to the client.
fn check_tree(spans: &[&ReceivedSpan]) -> Result<()> {
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.as_str()).collect();
    for span in spans {
        let parent = span.parent_id.as_str();
        ensure!(
            parent == CLIENT_SPAN || ids.contains(parent),
            "{} has a parent that nobody sent: {span:#?}",
            span.name
        );
    }
    Ok(())
}

/// Checks that each order of the engine is followed by a node, that has loaded the version, and
/// whose module was asked within the trace.
fn check_orders(spans: &[&ReceivedSpan], nodes: usize) -> Result<()> {
    let parent_of = |span: &ReceivedSpan| {
        let parent = spans.iter().find(|other| other.span_id == span.parent_id);
        parent.map_or("", |parent| parent.name.as_str())
    };
    for order in ["node.stage", "node.promote"] {
        let orders = named(spans, order);
        ensure!(orders.len() == nodes, "{order}: {orders:#?}");
        ensure!(orders.iter().all(|span| span.service() == "hotswap-engine"));
        ensure!(
            orders
                .iter()
                .all(|span| parent_of(span) == "deployment.call")
        );
    }
    let carried_out = named(spans, "PUT /v1/modules/:module/operations/:operation");
    ensure!(carried_out.len() >= 2 * nodes, "{carried_out:#?}");
    for span in carried_out {
        ensure!(span.service() == "hotswap-node", "{span:#?}");
        ensure!(parent_of(span).starts_with("node."), "{span:#?}");
    }
    for step in [
        "module.fetch",
        "module.compile",
        "slots.stage",
        "slots.promote",
    ] {
        let steps = named(spans, step);
        ensure!(steps.len() == nodes, "{step}: {steps:#?}");
        ensure!(steps.iter().all(|span| parent_of(span).starts_with("PUT ")));
    }
    let asked = named(spans, "GET hello");
    ensure!(asked.len() >= nodes, "the probes: {asked:#?}");
    for span in asked {
        ensure!(
            parent_of(span) == "POST /v1/modules/:module/probe",
            "{span:#?}"
        );
        ensure!(span.attribute("hotswap.module.version") == "2.0.0");
        ensure!(span.attribute("http.response.status_code") == "200");
    }
    check_servers(spans)
}

/// Checks that each span of a request says which server it is for, and only those that failed how.
fn check_servers(spans: &[&ReceivedSpan]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for span in spans {
        let is_http = !span.attribute("http.request.method").is_empty();
        let port = span.attribute("server.port").parse::<u16>();
        ensure!(is_http == port.is_ok(), "{span:#?}");
        if !is_http {
            continue;
        }
        let has_type = !span.attribute("error.type").is_empty();
        ensure!(span.is_error == has_type, "{span:#?}");
        ensure!(span.attribute("url.scheme") == "http", "{span:#?}");
        // A probe goes through no port: its host is the module.
        let expected = match span.name.as_str() {
            "GET hello" => "hello",
            _ => "127.0.0.1",
        };
        let address = span.attribute("server.address");
        ensure!(address == expected, "{span:#?}");
        seen.insert(span.name.as_str());
    }
    for name in [
        "POST /api/v1/deployments",
        "node.stage",
        "node.probe",
        "module.download",
        "PUT /v1/modules/:module/operations/:operation",
        "GET hello",
    ] {
        ensure!(seen.contains(name), "no {name}: {seen:?}");
    }
    Ok(())
}

/// Checks that each driver but the first names the one before it, and that all of them are
/// children of the request.
fn check_drivers(spans: &[&ReceivedSpan]) -> Result<()> {
    let request = named(spans, "POST /api/v1/deployments");
    let [request] = request.as_slice() else {
        anyhow::bail!("not one request: {request:#?}");
    };
    ensure!(request.parent_id == CLIENT_SPAN, "{request:#?}");
    let mut drivers = named(spans, "deployment.drive");
    let fence = |span: &ReceivedSpan| span.attribute("hotswap.fence").parse::<u64>();
    drivers.sort_by_key(|span| fence(span).unwrap_or_default());
    ensure!(drivers[0].links.is_empty(), "{drivers:#?}");
    for (before, after) in drivers.iter().zip(drivers.iter().skip(1)) {
        ensure!(after.links == [before.span_id.as_str()], "{drivers:#?}");
    }
    let is_child = |span: &&ReceivedSpan| span.parent_id == request.span_id;
    ensure!(drivers.iter().all(is_child), "{drivers:#?}");
    let processes: BTreeSet<_> = drivers.iter().map(|span| span.process()).collect();
    ensure!(
        processes.len() == 2,
        "two engines have driven: {drivers:#?}"
    );
    Ok(())
}

async fn wait_until_asked(receiver: &OtlpReceiver, nodes: usize) -> Result<()> {
    let what = "the probes, and the driver";
    let wait = receiver.wait_for(what, |spans| {
        let has_driver = !named(&of_trace(spans), "deployment.drive").is_empty();
        let has_calls = named(&of_trace(spans), "deployment.call").len() >= 2;
        (has_driver && has_calls && has_from_nodes(spans, "GET hello", nodes)).then_some(())
    });
    wait.await
}

async fn wait_until_settled(receiver: &OtlpReceiver, nodes: usize) -> Result<Vec<ReceivedSpan>> {
    let wait = receiver.wait_for("the end of the trace", |spans| {
        let trace = of_trace(spans);
        let is_settled = !named(&trace, "deployment.settle").is_empty()
            && has_from_nodes(spans, "slots.settle", nodes);
        // A span ends after those within it, and may be in a later batch.
        (is_settled && check_tree(&trace).is_ok()).then(|| spans.to_vec())
    });
    wait.await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_one_trace_though_its_engine_is_killed_and_restarted() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        ),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let mut hotswap = Installation::start_with(QA, 2, &variables).await?;
    let id = deploy(&hotswap.url, &hotswap.token).await?;
    wait_until_asked(&receiver, 2).await?;
    hotswap
        .wait_for_state(&id, |state| state["status"] == "awaitingApproval")
        .await?;
    hotswap.kill_engine().await?;
    hotswap.restart_engine().await?;
    hotswap.approve(&id).await?;
    let ended = hotswap.wait_for_end(&id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");

    let spans = wait_until_settled(&receiver, 2).await?;
    check_documented(&spans)?;
    let spans = of_trace(&spans);
    check_tree(&spans)?;
    check_drivers(&spans)?;
    check_orders(&spans, 2)?;
    for span in spans {
        ensure!(span.protocol == "grpc");
        ensure!(span.resource["deployment.environment.name"] == "test");
        ensure!(!span.is_error, "{span:#?}");
    }
    Ok(())
}

/// The engine is killed while nodes have its orders: they neither carry them out nor refuse them.
#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_one_trace_though_its_engine_is_killed_within_an_order() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let mut hotswap = Installation::start_with(QA, 2, &variables).await?;
    let id = deploy(&hotswap.url, &hotswap.token).await?;
    wait_until_asked(&receiver, 2).await?;
    hotswap
        .wait_for_state(&id, |state| state["status"] == "awaitingApproval")
        .await?;
    hotswap.stop()?;
    hotswap.continue_engine()?;
    hotswap.approve(&id).await?;
    let path = format!("/api/v1/deployments/{id}/events");
    loop {
        // Both nodes are asked to promote, and nobody has an answer.
        let events = hotswap.get(&path).await?;
        let last = events["events"].as_array().and_then(|events| events.last());
        let body = &last.context("no events")?["body"];
        if body["type"] == "called" && body["data"]["request"]["call"] == "promote" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    hotswap.kill_engine().await?;
    hotswap.continue_nodes()?;
    hotswap.restart_engine().await?;
    let ended = hotswap.wait_for_end(&id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");

    let spans = receiver.wait_for("the end of the trace", |spans| {
        let trace = of_trace(spans);
        let is_settled = !named(&trace, "deployment.settle").is_empty()
            && has_from_nodes(spans, "slots.settle", 2);
        (is_settled && check_tree_after_kill(&trace).is_ok()).then(|| spans.to_vec())
    });
    let spans = spans.await?;
    let spans = of_trace(&spans);
    check_tree_after_kill(&spans)?;
    check_drivers(&spans)?;
    let promoted = named(&spans, "node.promote");
    let engines: BTreeSet<_> = promoted.iter().map(|span| span.process()).collect();
    ensure!(promoted.len() == 2 && engines.len() == 1, "{promoted:#?}");
    let steps = named(&spans, "slots.promote");
    let nodes: BTreeSet<_> = steps.iter().map(|span| span.process()).collect();
    ensure!(nodes.len() == 2, "{steps:#?}");
    Ok(())
}

/// As [`check_tree`]. A node's span of an order may lack its parent: that was open in the engine that
/// was killed.
fn check_tree_after_kill(spans: &[&ReceivedSpan]) -> Result<()> {
    let is_order = |span: &&ReceivedSpan| span.name.starts_with("PUT /v1/modules/");
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let has_parent = |span: &ReceivedSpan| {
        span.parent_id == CLIENT_SPAN || ids.contains(span.parent_id.as_str())
    };
    let orphan = spans
        .iter()
        .find(|span| !is_order(span) && !has_parent(span));
    ensure!(orphan.is_none(), "its parent was not sent: {orphan:#?}");
    Ok(())
}

/// The spans up to the first of the trace, beginning with the parent.
fn ancestors<'a>(spans: &'a [ReceivedSpan], span: &ReceivedSpan) -> Vec<&'a ReceivedSpan> {
    let parent_of = |id: &str| spans.iter().find(|span| span.span_id == id);
    std::iter::successors(parent_of(&span.parent_id), |span| {
        parent_of(&span.parent_id)
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn shifts_restarts_and_repairs_are_parts_of_traces() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let mut hotswap = Installation::start_with(QA, 4, &variables).await?;
    for (version, strategy, config) in [
        ("1.0.0", "direct", json!({})),
        (
            "2.0.0",
            "canary",
            json!({ "by": "requests", "steps": [50, 100], "soak": "500ms" }),
        ),
        (
            "3.0.0",
            "canary",
            json!({ "steps": [25], "soak": "500ms", "baselineNodes": 1 }),
        ),
    ] {
        let id = hotswap.propose(version, strategy, config).await?;
        hotswap.approve(&id).await?;
        let ended = hotswap.wait_for_end(&id).await?;
        ensure!(ended["status"] == "succeeded", "{ended}");
    }
    hotswap.terminate_node("qa-2").await?;
    std::fs::remove_dir_all(hotswap.folder().join("qa-2"))?;
    hotswap.start_node("qa-2")?;

    // What takes effect on a node, the order of the engine, and what gave the order. A soak restarts
    // the baseline's nodes by itself, outside of a call.
    let expected = [
        ("slots.shift", "node.shift", "deployment.call"),
        ("node.restart", "deployment.drive", "deployment.drive"),
        ("slots.promote", "node.promote", "node.repair"),
    ];
    let find = |spans: &[ReceivedSpan]| {
        let has = |(step, order, origin): (&str, &str, &str)| {
            let mut steps = spans.iter().filter(|span| span.name == step);
            steps.any(|span| {
                let ancestors = ancestors(spans, span);
                let names: Vec<_> = ancestors.iter().map(|span| span.name.as_str()).collect();
                names.contains(&order) && names.contains(&origin)
            })
        };
        expected.into_iter().all(has).then(|| spans.to_vec())
    };
    let spans = receiver.wait_for("a shift, a restart and a repair", find);
    check_documented(&spans.await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_one_trace_though_another_engine_takes_it_over() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let mut replicas = Replicas::start_with(RedisKind::Valkey, 2, QA, 2, &variables).await?;
    let id = deploy(&replicas.url(0)?, replicas.token()).await?;
    wait_until_asked(&receiver, 2).await?;
    let driver = replicas.wait_for_driver(&id, None).await?;
    let other = 1 - driver;
    replicas.kill_engine(driver).await?;
    replicas.wait_for_driver(&id, Some(driver)).await?;
    let path = format!("/api/v1/deployments/{id}/approval");
    let approval = json!({ "approved": true, "requesterEmail": EMAIL });
    replicas.post(other, &path, approval).await?;
    let ended = replicas.wait_for_end(other, &id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");

    let spans = wait_until_settled(&receiver, 2).await?;
    check_documented(&spans)?;
    let spans = of_trace(&spans);
    check_tree(&spans)?;
    check_drivers(&spans)?;
    check_orders(&spans, 2)?;
    ensure!(spans.iter().all(|span| span.protocol == "http/protobuf"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spans_of_a_revert_have_what_the_guide_lists() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
    ];
    let hotswap = Installation::start_with(QA, 2, &variables).await?;
    let id = deploy(&hotswap.url, &hotswap.token).await?;
    wait_until_asked(&receiver, 2).await?;
    hotswap
        .wait_for_state(&id, |state| state["status"] == "awaitingApproval")
        .await?;
    let path = format!("/api/v1/deployments/{id}/approval");
    let rejection = json!({ "approved": false, "requesterEmail": EMAIL });
    hotswap.post(&path, rejection).await?;
    hotswap.wait_for_end(&id).await?;
    let spans = receiver.wait_for("the end of the revert", |spans| {
        let trace = of_trace(spans);
        let is_over = !named(&trace, "deployment.revert").is_empty()
            && !named(&trace, "node.revert").is_empty()
            && has_from_nodes(spans, "slots.revert", 2);
        (is_over && check_tree(&trace).is_ok()).then(|| spans.to_vec())
    });
    check_documented(&spans.await?)
}

/// The lines of a log that belong to the client's trace, each with its span.
fn log_of_trace(log: &str) -> Result<Vec<Value>> {
    let mut lines = Vec::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        if line["trace_id"] == TRACE {
            lines.push(line);
        }
    }
    Ok(lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_the_log_name_the_trace_and_a_span_of_it() -> Result<()> {
    let receiver = OtlpReceiver::start().await?;
    let url = receiver.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("RUST_LOG", "info"),
    ];
    let mut hotswap = Installation::start_with(QA, 0, &variables).await?;
    hotswap.add_node_flags(&["--log-format", "json"]);
    hotswap.start_node("qa-1")?;
    hotswap.wait_for_nodes(1).await?;
    let id = deploy(&hotswap.url, &hotswap.token).await?;
    hotswap
        .wait_for_state(&id, |state| state["status"] == "awaitingApproval")
        .await?;
    hotswap.approve(&id).await?;
    let ended = hotswap.wait_for_end(&id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");
    wait_until_settled(&receiver, 1).await?;
    let node = log_of_trace(&hotswap.terminate_node("qa-1").await?)?;
    let engine = log_of_trace(&hotswap.terminate_engine().await?)?;
    // A process sends what it has before it ends.
    let spans = receiver
        .wait_for("the spans", |spans| Some(spans.to_vec()))
        .await?;
    let spans = of_trace(&spans);
    for (service, lines) in [("hotswap-engine", engine), ("hotswap-node", node)] {
        ensure!(
            !lines.is_empty(),
            "{service} has logged nothing of the trace"
        );
        for line in &lines {
            let span = spans.iter().find(|span| line["span_id"] == *span.span_id);
            let span = span.with_context(|| format!("nobody has sent the span: {line}"))?;
            ensure!(span.service() == service, "{line}: {span:#?}");
        }
    }
    Ok(())
}

/// A collector that takes connections, and never answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_costs_spans_and_nothing_else() -> Result<()> {
    let silent = SilentServer::start().await?;
    let url = silent.url();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
    ];
    let mut hotswap = Installation::start_with(QA, 1, &variables).await?;
    for data_url in hotswap.data_urls().await? {
        let url = format!("{data_url}no-module-yet");
        reqwest::get(&url).await?;
    }
    let id = deploy(&hotswap.url, &hotswap.token).await?;
    hotswap
        .wait_for_state(&id, |state| state["status"] == "awaitingApproval")
        .await?;
    hotswap.approve(&id).await?;
    let ended = hotswap.wait_for_end(&id).await?;
    ensure!(ended["status"] == "succeeded", "{ended}");
    for _ in 0..64 {
        hotswap.get("/api/v1/nodes").await?;
    }
    let metrics = reqwest::Client::new()
        .get(format!("{}/metrics", hotswap.url))
        .bearer_auth(&hotswap.token);
    let metrics = metrics.send().await?.text().await?;
    let dropped = metrics
        .lines()
        .find_map(|line| line.strip_prefix("hotswap_trace_spans_total{outcome=\"dropped\"} "));
    let dropped: u64 = dropped.context("no such metric")?.parse()?;
    ensure!(dropped > 0, "{metrics}");
    // It does not wait for the collector for longer than a moment either.
    let stopped = tokio::time::timeout(Duration::from_secs(20), hotswap.terminate_engine());
    stopped.await??;
    Ok(())
}
