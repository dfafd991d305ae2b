use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hotswap_tests::bench::quantile;
use hotswap_tests::{RedisKind, Replicas};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::modules::{ENVIRONMENT, settle};
use crate::report::Report;

const SUBSCRIBERS: usize = 1000;
/// Until buffers have grown.
const WARM_UP: usize = 10;
const EVENTS: usize = 40;
/// The goal of the bench `live` for as many subscribers of a single engine, without the request and
/// the way to another engine, in milliseconds.
const LIMIT: f64 = 100.0;
/// An event counts as lost after this time.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Fewer than fit into the accept queue of an engine.
const CONNECTS: usize = 32;

/// The event that is awaited, and when it came to each subscriber.
#[derive(Default)]
struct Arrivals {
    awaited: u64,
    at: Vec<Instant>,
}

/// The delay from the request at the engine that drives to the subscribers of another one. It holds
/// the request itself, and the append.
pub async fn run(report: &mut Report) -> Result<()> {
    let replicas = Replicas::start(RedisKind::Redis, 2, ENVIRONMENT, 2).await?;
    let strategy = ("rolling", json!({ "batch": 1, "settle": "6h" }));
    let id = replicas.deploy(0, "1.0.0", strategy).await?;
    let driver = replicas.wait_for_driver(&id, None).await?;
    let arrivals = Arc::<Mutex<Arrivals>>::default();
    let subscribers = subscribe(&replicas, 1 - driver, &id, &arrivals).await?;
    settle().await;
    let mut delays = Vec::new();
    for round in 0..WARM_UP + EVENTS {
        let what = if round % 2 == 0 { "pause" } else { "resume" };
        let path = format!("/api/v1/deployments/{id}");
        let last = replicas.get(driver, &path).await?["lastEvent"].as_u64();
        *lock(&arrivals) = Arrivals {
            awaited: last.context("no event")? + 1,
            at: Vec::with_capacity(SUBSCRIBERS),
        };
        let start = Instant::now();
        let asked: Value = replicas
            .post(driver, &format!("{path}/{what}"), json!({}))
            .await?;
        while lock(&arrivals).at.len() < SUBSCRIBERS {
            let there = lock(&arrivals).at.len();
            ensure!(start.elapsed() < TIMEOUT, "{there} have the event: {asked}");
            // Polling does not distort the measurement: arrivals have their own times.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let at = std::mem::take(&mut lock(&arrivals).at);
        if round >= WARM_UP {
            delays.extend(at.iter().map(|at| (*at - start).as_secs_f64() * 1e3));
        }
        // Lets the engines finish all work on this event before the next.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(subscribers);
    for (what, share) in [("p50", 0.5), ("p99", 0.99)] {
        let what = format!("an event to 1,000 on another engine, {what}");
        report.row(&what, quantile(&delays, share), LIMIT, "ms");
    }
    Ok(())
}

/// Opens a connection for each subscriber. Returns once all follow the deployment.
async fn subscribe(
    replicas: &Replicas,
    engine: usize,
    id: &str,
    arrivals: &Arc<Mutex<Arrivals>>,
) -> Result<JoinSet<Result<()>>> {
    let url = format!("{}/api/v1/deployments/{id}/events", replicas.url(engine)?);
    let client = reqwest::Client::new();
    let answers: Vec<_> = stream::iter(0..SUBSCRIBERS)
        .map(|_| {
            let request = client.get(&url).bearer_auth(replicas.token());
            let request = request.header("accept", "text/event-stream");
            async { anyhow::Ok(request.send().await?.error_for_status()?) }
        })
        .buffer_unordered(CONNECTS)
        .try_collect()
        .await?;
    let mut tasks = JoinSet::new();
    for answer in answers {
        tasks.spawn(follow(answer, Arc::clone(arrivals)));
    }
    Ok(tasks)
}

/// Notes when the awaited event comes.
async fn follow(answer: reqwest::Response, arrivals: Arc<Mutex<Arrivals>>) -> Result<()> {
    let mut bytes = answer.bytes_stream();
    let mut text = String::new();
    while let Some(chunk) = bytes.next().await {
        let at = Instant::now();
        text += str::from_utf8(&chunk?)?;
        while let Some(end) = text.find("\n\n") {
            let block: String = text.drain(..end + 2).collect();
            if let Some(seq) = number_of(&block) {
                let mut arrivals = lock(&arrivals);
                if seq == arrivals.awaited {
                    arrivals.at.push(at);
                }
            }
        }
    }
    Ok(())
}

/// The number of an event. Parsing all of it would delay the subscribers that come next.
fn number_of(block: &str) -> Option<u64> {
    let (_, rest) = block.split_once("\"seq\":")?;
    let digits = rest.trim_start();
    let end = digits.find(|one: char| !one.is_ascii_digit())?;
    digits[..end].parse().ok()
}

fn lock(arrivals: &Mutex<Arrivals>) -> std::sync::MutexGuard<'_, Arrivals> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}
