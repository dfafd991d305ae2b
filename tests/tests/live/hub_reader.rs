//! Readers of hubs: they speak the SignalR protocol in JSON over a WebSocket.

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::reader::{ConnectionEnd, Reader, Received, WatchMethod};
use crate::test_server::TOKEN;
use crate::truncating_stream::TruncatingStream;

/// Ends each record of the SignalR protocol.
const RECORD_SEPARATOR: char = '\u{1e}';

/// Opens a WebSocket. `None` if the connection is lost first.
pub async fn open_websocket(
    stream: TruncatingStream,
    path: &str,
) -> Result<Option<WebSocketStream<TruncatingStream>>> {
    let mut request = format!("ws://127.0.0.1{path}").into_client_request()?;
    let bearer = HeaderValue::from_str(&format!("Bearer {TOKEN}"))?;
    request.headers_mut().insert("authorization", bearer);
    let connected = tokio_tungstenite::client_async(request, stream).await;
    Ok(connected.ok().map(|(socket, _)| socket))
}

/// The next text message. `None` if the connection is lost.
pub async fn next_text(socket: &mut WebSocketStream<TruncatingStream>) -> Option<String> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return Some(text.to_string()),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

impl Reader {
    pub async fn read_hub(&mut self, stream: TruncatingStream) -> Result<ConnectionEnd> {
        let Some(mut socket) = open_websocket(stream, "/hubs/deployments").await? else {
            return Ok(ConnectionEnd::Lost);
        };
        let resume = self.resume_position();
        let (method, arguments) = match (self.method, self.watched) {
            (WatchMethod::HubStream, Some(id)) => ("StreamDeployment", json!([id, resume])),
            (_, Some(id)) => ("SubscribeToDeployment", json!([id, resume])),
            (_, None) => ("SubscribeToAllDeployments", json!([resume])),
        };
        let call = json!({
            "type": if self.method == WatchMethod::HubStream { 4 } else { 1 },
            "invocationId": "1",
            "target": method,
            "arguments": arguments,
        });
        let handshake = r#"{"protocol":"json","version":1}"#;
        let request = Message::text(format!(
            "{handshake}{RECORD_SEPARATOR}{call}{RECORD_SEPARATOR}"
        ));
        if socket.send(request).await.is_err() {
            return Ok(ConnectionEnd::Lost);
        }
        let mut before_handshake = true;
        let mut subscribed = false;
        loop {
            self.wait_while_stalled().await;
            let text = tokio::select! {
                text = next_text(&mut socket) => text,
                changed = self.last_position.changed(), if self.watched.is_none() => {
                    changed?;
                    if self.has_reached_end(|position| position.to_string()) {
                        return Ok(ConnectionEnd::Complete);
                    }
                    continue;
                }
            };
            let Some(text) = text else {
                return Ok(ConnectionEnd::Lost);
            };
            let records = text
                .strip_suffix(RECORD_SEPARATOR)
                .context("an incomplete record")?;
            for record in records.split(RECORD_SEPARATOR) {
                let record: Value = serde_json::from_str(record)?;
                if std::mem::take(&mut before_handshake) {
                    ensure!(
                        record == json!({}),
                        "unexpected answer to the handshake: {record}"
                    );
                    continue;
                }
                if let Some(end) = self.take_record(record, &mut subscribed)? {
                    return Ok(end);
                }
            }
        }
    }

    /// Handles a record. Returns how the connection ended, if this was the last record.
    fn take_record(
        &mut self,
        mut record: Value,
        subscribed: &mut bool,
    ) -> Result<Option<ConnectionEnd>> {
        match (record["type"].as_u64(), self.method) {
            (Some(1), WatchMethod::HubSubscription) => {
                ensure!(*subscribed, "a message before the answer: {record}");
                let argument = record["arguments"][0].take();
                let target = record["target"].as_str().context("no target")?;
                self.take_message(target.to_owned(), argument)?;
            }
            (Some(2), WatchMethod::HubStream) => {
                let argument = record["item"]["argument"].take();
                match record["item"]["target"].as_str().context("no target")? {
                    "Subscribed" => {
                        *subscribed = true;
                        self.take_subscription(argument)?;
                    }
                    target => {
                        ensure!(*subscribed, "a message before the subscription: {record}");
                        let target = target.to_owned();
                        self.take_message(target, argument)?;
                    }
                }
            }
            // The store was closed while the server shut down.
            (Some(3), _) if record["error"].is_string() => return Ok(Some(ConnectionEnd::Lost)),
            (Some(3), WatchMethod::HubSubscription) => {
                ensure!(!*subscribed, "a second answer: {record}");
                *subscribed = true;
                self.take_subscription(record["result"].take())?;
            }
            (Some(3), _) => return Ok(Some(ConnectionEnd::Complete)),
            (Some(6), _) => {}
            (Some(7), _) => {
                ensure!(
                    record["allowReconnect"] == true,
                    "closed without leave to reconnect: {record}"
                );
                return Ok(Some(ConnectionEnd::Lost));
            }
            _ => bail!("unexpected record: {record}"),
        }
        let complete = match self.watched {
            // A stream ends with a record of its own.
            Some(_) => self.method == WatchMethod::HubSubscription && self.has_ended(),
            None => self.has_reached_end(|position| position.to_string()),
        };
        Ok(complete.then_some(ConnectionEnd::Complete))
    }

    fn take_subscription(&mut self, answer: Value) -> Result<()> {
        let after = std::mem::replace(&mut self.position, offset_of(&answer)?);
        self.record_received(Received::Subscribed { after, answer });
        Ok(())
    }

    fn take_message(&mut self, target: String, argument: Value) -> Result<()> {
        ensure!(argument["epoch"] == self.epoch, "wrong epoch: {argument}");
        self.position = offset_of(&argument)?;
        self.record_received(Received::Message { target, argument });
        Ok(())
    }

    /// Whether the last message or snapshot says that the deployment has ended.
    fn has_ended(&self) -> bool {
        match self.received.last() {
            Some(Received::Message { target, .. }) => {
                target == "DeploymentCompleted" || target == "DeploymentFailed"
            }
            Some(Received::Subscribed { answer, .. }) => answer["snapshot"]["endedAt"].is_u64(),
            _ => false,
        }
    }
}

fn offset_of(object: &Value) -> Result<String> {
    let offset = object["offset"].as_str();
    Ok(offset
        .with_context(|| format!("no offset in {object}"))?
        .to_owned())
}
