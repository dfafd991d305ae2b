//! Soaks of real nodes under load.

use std::time::Duration;

use anyhow::{Context, Result};
use hotswap_core::{Answer, Condition, Deployment, Event, EventBody, Judgement, Status, Verdict};
use hotswap_tests::{Cluster, LoadGenerator};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

const PRODUCTION: &str = "production";
const CLIENTS: usize = 4;

async fn start() -> Result<(Cluster, LoadGenerator)> {
    let cluster = Cluster::start(&[(PRODUCTION, 4)]).await?;
    cluster.upload_samples().await?;
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    let load = LoadGenerator::start(cluster.module_urls(PRODUCTION, "hello"), CLIENTS);
    Ok((cluster, load))
}

/// The error rate alone: the machine of the tests is busy.
fn config(more: &Value) -> Value {
    let mut config = json!({ "checks": [{ "metric": "error-rate", "maxIncrease": 0.5 }] });
    if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
        config.extend(more.clone());
    }
    config
}

fn verdicts(events: &[Event]) -> Vec<&Verdict> {
    let verdicts = events.iter().filter_map(|event| match &event.body {
        EventBody::Answered {
            answer: Answer::Verdict(verdict),
            ..
        } => Some(verdict),
        _ => None,
    });
    verdicts.collect()
}

fn only_condition(verdict: &Verdict) -> Result<&Condition> {
    let finding = verdict.findings.first().context("a finding")?;
    finding.conditions.first().context("a condition")
}

/// The end of the soak is not waited for once enough was seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_soak_is_shown_live_and_passes_early_where_that_is_asked_for() -> Result<()> {
    let (cluster, load) = start().await?;
    let config = config(&json!({ "steps": [50], "soak": "50s", "passEarly": true }));
    let began = Instant::now();
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let deployments = &cluster.engine.deployments;
    let live = timeout(Duration::from_secs(20), async {
        loop {
            let state: Deployment = deployments.get(id).await?;
            // The first look may come before the first request.
            let findings = deployments.live_findings(&state).unwrap_or_default();
            if findings.iter().any(|finding| finding.canary_samples > 0) {
                return anyhow::Ok(findings);
            }
            sleep(Duration::from_millis(5)).await;
        }
    });
    let live = live.await??;
    assert_eq!(live.len(), 1);
    let state = cluster.wait_for_end(id).await?;
    assert!(began.elapsed() < Duration::from_secs(50));
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    assert_eq!(deployments.live_findings(&state), None);
    let events = cluster.events(id).await?;
    let verdicts = verdicts(&events);
    assert_eq!(verdicts[0].judgement, Judgement::Pass, "{verdicts:?}");
    assert_eq!(only_condition(verdicts[0])?.limit, 1.5);
    load.stop().await;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_one_soak_counts_in_the_next() -> Result<()> {
    let (cluster, load) = start().await?;
    let config = config(&json!({ "steps": [25, 50], "soak": "3s" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, ("canary", config))
        .await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let events = cluster.events(id).await?;
    let verdicts = verdicts(&events);
    let (first, second) = (only_condition(verdicts[0])?, only_condition(verdicts[1])?);
    assert!((first.earlier - 0.5_f64.ln()).abs() < 1e-12, "{first:?}");
    // What the first soak had, times its evidence, and a sixth for a fresh start.
    let carried = (first.earlier + first.evidence).exp();
    let expected = (carried + 1.0 / 6.0).ln();
    assert!(
        (second.earlier - expected).abs() < 1e-9,
        "{first:?} {second:?}"
    );
    load.stop().await;
    cluster.shutdown().await;
    Ok(())
}
