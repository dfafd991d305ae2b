//! A subscriber of the events of all deployments, on whichever engine answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::stream::{Blocks, SILENCE};
use crate::{History, lock};

/// The events that it saw, in this order: deployments, and the numbers of their events.
pub type SeenEvents = Arc<Mutex<Vec<(String, u64)>>>;

/// Follows until it is dropped. Cancels `begun` once it is subscribed.
pub async fn follow(
    history: Arc<History>,
    mut rng: Rng,
    token: &'static str,
    seen: SeenEvents,
    begun: CancellationToken,
) -> Result<()> {
    let http = reqwest::Client::new();
    let mut cursor = None::<String>;
    loop {
        sleep(Duration::from_millis(rng.u64(..200))).await;
        let Some(url) = history.url(&mut rng) else {
            continue;
        };
        let request = http.get(format!("{url}/api/v1/events")).bearer_auth(token);
        let mut request = request.header("accept", "text/event-stream");
        if let Some(cursor) = &cursor {
            request = request.header("last-event-id", cursor);
        }
        let Ok(Ok(answer)) = timeout(SILENCE, request.send()).await else {
            continue;
        };
        if answer.status().is_server_error() {
            continue;
        }
        ensure!(answer.status().is_success(), "{}", answer.status());
        let mut blocks = Blocks::of(answer);
        // It leaves early, and comes back to another engine.
        let mut left = rng.usize(1..60);
        while left > 0 {
            let Some(block) = blocks.next().await? else {
                break;
            };
            match (block.event.as_deref(), block.data) {
                (Some("reset" | "damaged" | "end"), _) => {
                    bail!("{:?} after {cursor:?}", block.event);
                }
                (None, Some(data)) => {
                    let event: Value = serde_json::from_str(&data)?;
                    let id = event["executionId"].as_str().context("no id")?;
                    let number = event["seq"].as_u64().context("no number")?;
                    lock(&seen).push((id.to_owned(), number));
                    left -= 1;
                }
                _ => {}
            }
            if block.id.is_some() {
                cursor = block.id;
                begun.cancel();
            }
        }
    }
}
