//! Subscribers: each follows one deployment to its end, on whichever engine answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::{History, lock};

/// A connection that is silent for so long is given up. Streams send something more often.
pub const SILENCE: Duration = Duration::from_secs(20);
/// How long a stream may take to its end once the clients have stopped.
const END: Duration = Duration::from_secs(240);

/// The numbers of the events that the subscribers of each deployment saw.
pub type Seen = BTreeMap<String, Vec<u64>>;

/// Follows every deployment that is accepted, until all have ended.
pub async fn watch_all(history: Arc<History>, mut rng: Rng, token: &'static str) -> Result<Seen> {
    let mut known = BTreeSet::new();
    let mut tasks = JoinSet::new();
    let mut seen = Seen::new();
    let mut progress = Instant::now();
    loop {
        let ids: Vec<_> = lock(&history.deployments).keys().cloned().collect();
        for id in ids {
            if known.insert(id.clone()) {
                tasks.spawn(watch(Arc::clone(&history), rng.fork(), token, id));
                progress = Instant::now();
            }
        }
        match timeout(Duration::from_millis(500), tasks.join_next()).await {
            Ok(Some(ended)) => {
                let (id, numbers) = ended??;
                seen.insert(id, numbers);
                progress = Instant::now();
            }
            // Nothing is open, and nothing new comes.
            Ok(None) if progress.elapsed() > Duration::from_secs(10) && !known.is_empty() => {
                return Ok(seen);
            }
            Ok(None) => sleep(Duration::from_millis(200)).await,
            Err(_) => ensure!(progress.elapsed() < END, "streams do not end"),
        }
    }
}

async fn watch(
    history: Arc<History>,
    mut rng: Rng,
    token: &'static str,
    id: String,
) -> Result<(String, Vec<u64>)> {
    let http = reqwest::Client::new();
    let (mut numbers, mut cursor) = (Vec::new(), None::<String>);
    loop {
        sleep(Duration::from_millis(rng.u64(..200))).await;
        let Some(url) = history.url(&mut rng) else {
            continue;
        };
        let request = http.get(format!("{url}/api/v1/deployments/{id}/events"));
        let mut request = request
            .bearer_auth(token)
            .header("accept", "text/event-stream");
        if let Some(cursor) = &cursor {
            request = request.header("last-event-id", cursor);
        }
        let Ok(Ok(answer)) = timeout(SILENCE, request.send()).await else {
            continue;
        };
        if answer.status().is_server_error() {
            continue;
        }
        ensure!(answer.status().is_success(), "{id}: {}", answer.status());
        // It left between the last event and the end.
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok((id, numbers));
        }
        // Some leave early, and come back to another engine.
        let leave_after = rng.usize(1..12);
        if read(answer, &id, &mut numbers, &mut cursor, leave_after).await? {
            return Ok((id, numbers));
        }
    }
}

/// Reads a stream. Returns whether that was its end.
async fn read(
    answer: reqwest::Response,
    id: &str,
    numbers: &mut Vec<u64>,
    cursor: &mut Option<String>,
    leave_after: usize,
) -> Result<bool> {
    let (mut blocks, mut count) = (Blocks::of(answer), 0);
    while count < leave_after {
        let Some(block) = blocks.next().await? else {
            return Ok(false);
        };
        match (block.event.as_deref(), block.id, block.data) {
            (Some("end"), ..) => return Ok(true),
            (Some("reset"), ..) => bail!("{id}: the stream starts over after {numbers:?}"),
            (None, Some(place), Some(data)) => {
                let event: Value = serde_json::from_str(&data)?;
                numbers.push(event["seq"].as_u64().context("no number")?);
                *cursor = Some(place);
                count += 1;
            }
            _ => {}
        }
    }
    Ok(false)
}

/// A block of server-sent events: an event, or a comment without any of these fields.
pub struct Block {
    pub event: Option<String>,
    pub id: Option<String>,
    pub data: Option<String>,
}

/// The blocks of an answer.
pub struct Blocks {
    bytes: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    text: Vec<u8>,
}

impl Blocks {
    pub fn of(answer: reqwest::Response) -> Self {
        let bytes = answer.bytes_stream();
        Self {
            bytes: bytes.map(|chunk| chunk.map(|bytes| bytes.to_vec())).boxed(),
            text: Vec::new(),
        }
    }

    /// The next block. `None` where the connection ends, or is silent for too long.
    pub async fn next(&mut self) -> Result<Option<Block>> {
        loop {
            if let Some(end) = self.text.windows(2).position(|bytes| bytes == b"\n\n") {
                let block: Vec<u8> = self.text.drain(..end + 2).collect();
                let block = String::from_utf8(block)?;
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|value| value.trim_start_matches(':').trim().to_owned())
                };
                return Ok(Some(Block {
                    event: field("event"),
                    id: field("id"),
                    data: field("data"),
                }));
            }
            let Ok(Some(Ok(chunk))) = timeout(SILENCE, self.bytes.next()).await else {
                return Ok(None);
            };
            self.text.extend_from_slice(&chunk);
        }
    }
}
