//! Readers of journal events, over server-sent events or a plain WebSocket.

use anyhow::{Context, Result, bail, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::hub_reader::{next_text, open_websocket};
use crate::reader::{ConnectionEnd, Reader, Received};
use crate::test_server::TOKEN;
use crate::truncating_stream::TruncatingStream;

impl Reader {
    fn path(&self) -> String {
        match self.watched {
            Some(id) => format!("/api/v1/deployments/{id}/events"),
            None => "/api/v1/events".to_owned(),
        }
    }

    pub async fn read_event_stream(&mut self, stream: TruncatingStream) -> Result<ConnectionEnd> {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let Ok((mut sender, connection)) = handshake else {
            return Ok(ConnectionEnd::Lost);
        };
        // Dropped at the end of this function, which closes the connection.
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(connection);
        let mut request = hyper::Request::get(self.path())
            .header("host", "127.0.0.1")
            .header("accept", "text/event-stream")
            .header("authorization", format!("Bearer {TOKEN}"));
        if !self.position.is_empty() {
            request = request.header("last-event-id", &self.position);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let Ok(mut response) = sender.send_request(request).await else {
            return Ok(ConnectionEnd::Lost);
        };
        match response.status().as_u16() {
            200 => {}
            204 => return Ok(ConnectionEnd::Complete),
            500.. => return Ok(ConnectionEnd::Lost),
            other => bail!("an event stream was answered with status {other}"),
        }
        let mut buffer = Vec::new();
        loop {
            if self.has_all_events() {
                return Ok(ConnectionEnd::Complete);
            }
            self.wait_while_stalled().await;
            let frame = tokio::select! {
                frame = response.frame() => frame,
                changed = self.last_position.changed(), if self.watched.is_none() => {
                    changed?;
                    continue;
                }
            };
            let Some(Ok(frame)) = frame else {
                return Ok(ConnectionEnd::Lost);
            };
            let data = frame.into_data().ok().context("trailers")?;
            buffer.extend_from_slice(&data);
            while let Some(end) = buffer.windows(2).position(|bytes| bytes == b"\n\n") {
                let rest = buffer.split_off(end + 2);
                let block = String::from_utf8(std::mem::replace(&mut buffer, rest))?;
                if self.take_block(&block)? {
                    return Ok(ConnectionEnd::Complete);
                }
            }
        }
    }

    /// Handles one block of the event stream. Returns whether it was the last.
    fn take_block(&mut self, block: &str) -> Result<bool> {
        let field = |name: &str| {
            let mut lines = block.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        if let Some(id) = field("id") {
            id.clone_into(&mut self.position);
        }
        match field("event") {
            None => {
                if let Some(data) = field("data") {
                    self.record_received(Received::Event(serde_json::from_str(data)?));
                }
                Ok(false)
            }
            Some("live") => Ok(false),
            Some("end") => Ok(true),
            Some(other) => bail!("unexpected event: {other}"),
        }
    }

    pub async fn read_websocket(&mut self, stream: TruncatingStream) -> Result<ConnectionEnd> {
        let mut path = format!("{}/socket", self.path());
        if !self.position.is_empty() {
            path = format!("{path}?after={}", self.position);
        }
        let Some(mut socket) = open_websocket(stream, &path).await? else {
            return Ok(ConnectionEnd::Lost);
        };
        loop {
            if self.has_all_events() {
                return Ok(ConnectionEnd::Complete);
            }
            self.wait_while_stalled().await;
            let text = tokio::select! {
                text = next_text(&mut socket) => text,
                changed = self.last_position.changed(), if self.watched.is_none() => {
                    changed?;
                    continue;
                }
            };
            let Some(text) = text else {
                return Ok(ConnectionEnd::Lost);
            };
            let mut message: Value = serde_json::from_str(&text)?;
            ensure!(
                message.get("reset").is_none(),
                "a reset without a new store"
            );
            let fields = message.as_object_mut().context("no object")?;
            if let Some(id) = fields.remove("id") {
                id.as_str().context("no id")?.clone_into(&mut self.position);
            }
            if fields.contains_key("end") {
                return Ok(ConnectionEnd::Complete);
            }
            if !fields.contains_key("live") {
                self.record_received(Received::Event(message));
            }
        }
    }

    /// Whether a reader of all deployments has read their last event.
    fn has_all_events(&self) -> bool {
        let epoch = &self.epoch;
        self.watched.is_none() && self.has_reached_end(|position| format!("{epoch}:{position}"))
    }
}
