use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde_json::Value;
use tokio::time::timeout;

use crate::replicas::{Replicas, TOKEN};

/// How long an item may take. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A stream of the events of a deployment (server-sent events).
pub struct EventStream {
    bytes: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    text: String,
}

/// What a stream sends.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamedItem {
    /// An event, and its cursor.
    Event(String, Value),
    /// Another item, by its name: `reset`, `live`, `damaged` or `end`.
    Marker(String),
    /// A line that only says that the engine is there.
    Heartbeat,
    /// The connection is closed.
    Closed,
}

impl EventStream {
    /// Opens a stream on an engine, after the event with this cursor.
    ///
    /// # Errors
    /// If the engine refuses.
    pub async fn open(
        replicas: &Replicas,
        engine: usize,
        id: &str,
        after: Option<&str>,
    ) -> Result<Self> {
        Self::open_at(&replicas.url(engine)?, id, after).await
    }

    /// Opens a stream at the base URL of one of [`Replicas`].
    ///
    /// # Errors
    /// If the engine refuses.
    pub async fn open_at(base: &str, id: &str, after: Option<&str>) -> Result<Self> {
        let url = format!("{base}/api/v1/deployments/{id}/events");
        Self::open_url(url, after).await
    }

    /// Opens a stream of the events of all deployments on an engine.
    ///
    /// # Errors
    /// If the engine refuses.
    pub async fn open_all(replicas: &Replicas, engine: usize, after: Option<&str>) -> Result<Self> {
        let url = format!("{}/api/v1/events", replicas.url(engine)?);
        Self::open_url(url, after).await
    }

    async fn open_url(url: String, after: Option<&str>) -> Result<Self> {
        let request = reqwest::Client::new().get(url);
        let mut request = request
            .bearer_auth(TOKEN)
            .header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let answer = request.send().await?.error_for_status()?;
        let bytes = answer.bytes_stream();
        Ok(Self {
            bytes: bytes.map(|chunk| chunk.map(|bytes| bytes.to_vec())).boxed(),
            text: String::new(),
        })
    }

    /// The next item.
    ///
    /// # Errors
    /// If none comes in time, or it cannot be read.
    pub async fn next(&mut self) -> Result<StreamedItem> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|value| value.trim_start_matches(':').trim().to_owned())
                };
                return Ok(match (field("event"), field("id"), field("data")) {
                    (Some(name), ..) => StreamedItem::Marker(name),
                    (None, Some(id), Some(data)) => {
                        StreamedItem::Event(id, serde_json::from_str(&data)?)
                    }
                    _ => StreamedItem::Heartbeat,
                });
            }
            let chunk = timeout(TIMEOUT, self.bytes.next()).await;
            match chunk.context("the stream sends nothing")? {
                Some(Ok(chunk)) => self.text += &String::from_utf8(chunk)?,
                Some(Err(_)) | None => return Ok(StreamedItem::Closed),
            }
        }
    }
}
