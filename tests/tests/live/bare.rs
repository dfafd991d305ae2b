//! Readers of the journal's own events.

use anyhow::{Context, Result, bail, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::brittle::Brittle;
use crate::hub::{open, text};
use crate::reader::{End, Heard, Reader};
use crate::served::TOKEN;

impl Reader {
    fn path(&self) -> String {
        match self.watched {
            Some(id) => format!("/api/v1/deployments/{id}/events"),
            None => "/api/v1/events".to_owned(),
        }
    }

    pub async fn sse(&mut self, stream: Brittle) -> Result<End> {
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let Ok((mut sender, connection)) = shaken else {
            return Ok(End::Lost);
        };
        // Dropped with this, and the connection with it.
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(connection);
        let mut request = hyper::Request::get(self.path())
            .header("host", "127.0.0.1")
            .header("accept", "text/event-stream")
            .header("authorization", format!("Bearer {TOKEN}"));
        if !self.place.is_empty() {
            request = request.header("last-event-id", &self.place);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let Ok(mut response) = sender.send_request(request).await else {
            return Ok(End::Lost);
        };
        match response.status().as_u16() {
            200 => {}
            204 => return Ok(End::Over),
            500.. => return Ok(End::Lost),
            other => bail!("an event stream was answered with {other}"),
        }
        let mut read = Vec::new();
        loop {
            if self.has_all_events() {
                return Ok(End::Over);
            }
            self.awake().await;
            let frame = tokio::select! {
                frame = response.frame() => frame,
                changed = self.last.changed(), if self.watched.is_none() => {
                    changed?;
                    continue;
                }
            };
            let Some(Ok(frame)) = frame else {
                return Ok(End::Lost);
            };
            let data = frame.into_data().ok().context("trailers")?;
            read.extend_from_slice(&data);
            while let Some(end) = read.windows(2).position(|two| two == b"\n\n") {
                let rest = read.split_off(end + 2);
                let block = String::from_utf8(std::mem::replace(&mut read, rest))?;
                if self.block(&block)? {
                    return Ok(End::Over);
                }
            }
        }
    }

    /// Takes a block in. Whether it is the last.
    fn block(&mut self, block: &str) -> Result<bool> {
        let field = |name: &str| {
            let mut lines = block.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        if let Some(id) = field("id") {
            id.clone_into(&mut self.place);
        }
        match field("event") {
            None => {
                if let Some(data) = field("data") {
                    self.hear(Heard::Event(serde_json::from_str(data)?));
                }
                Ok(false)
            }
            Some("live") => Ok(false),
            Some("end") => Ok(true),
            Some(other) => bail!("an odd block: {other}"),
        }
    }

    pub async fn socket(&mut self, stream: Brittle) -> Result<End> {
        let mut path = format!("{}/socket", self.path());
        if !self.place.is_empty() {
            path = format!("{path}?after={}", self.place);
        }
        let Some(mut socket) = open(stream, &path).await? else {
            return Ok(End::Lost);
        };
        loop {
            if self.has_all_events() {
                return Ok(End::Over);
            }
            self.awake().await;
            let text = tokio::select! {
                text = text(&mut socket) => text,
                changed = self.last.changed(), if self.watched.is_none() => {
                    changed?;
                    continue;
                }
            };
            let Some(text) = text else {
                return Ok(End::Lost);
            };
            let mut message: Value = serde_json::from_str(&text)?;
            ensure!(message.get("reset").is_none(), "reset in the same store");
            let fields = message.as_object_mut().context("no object")?;
            if let Some(id) = fields.remove("id") {
                id.as_str().context("no id")?.clone_into(&mut self.place);
            }
            if fields.contains_key("end") {
                return Ok(End::Over);
            }
            if !fields.contains_key("live") {
                self.hear(Heard::Event(message));
            }
        }
    }

    /// Whether it has read all events of all deployments.
    fn has_all_events(&self) -> bool {
        let epoch = &self.epoch;
        self.watched.is_none() && self.has_all(|last| format!("{epoch}:{last}"))
    }
}
