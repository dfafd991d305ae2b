//! Readers of hubs.

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::brittle::Brittle;
use crate::reader::{End, Heard, Reader, Way};
use crate::served::TOKEN;

/// Ends each record.
const RECORD: char = '\u{1e}';

/// Opens a WebSocket; none where that does not come about.
pub async fn open(stream: Brittle, path: &str) -> Result<Option<WebSocketStream<Brittle>>> {
    let mut request = format!("ws://127.0.0.1{path}").into_client_request()?;
    let bearer = HeaderValue::from_str(&format!("Bearer {TOKEN}"))?;
    request.headers_mut().insert("authorization", bearer);
    let opened = tokio_tungstenite::client_async(request, stream).await;
    Ok(opened.ok().map(|(socket, _)| socket))
}

/// The next text; none where the connection is lost.
pub async fn text(socket: &mut WebSocketStream<Brittle>) -> Option<String> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return Some(text.to_string()),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

impl Reader {
    pub async fn hub(&mut self, stream: Brittle) -> Result<End> {
        let Some(mut socket) = open(stream, "/hubs/deployments").await? else {
            return Ok(End::Lost);
        };
        let resume = self.resume();
        let (method, arguments) = match (self.way, self.watched) {
            (Way::Stream, Some(id)) => ("StreamDeployment", json!([id, resume])),
            (_, Some(id)) => ("SubscribeToDeployment", json!([id, resume])),
            (_, None) => ("SubscribeToAllDeployments", json!([resume])),
        };
        let call = json!({
            "type": if self.way == Way::Stream { 4 } else { 1 },
            "invocationId": "1",
            "target": method,
            "arguments": arguments,
        });
        let handshake = r#"{"protocol":"json","version":1}"#;
        let said = Message::text(format!("{handshake}{RECORD}{call}{RECORD}"));
        if socket.send(said).await.is_err() {
            return Ok(End::Lost);
        }
        let mut first = true;
        let mut begun = false;
        loop {
            self.awake().await;
            let text = tokio::select! {
                text = text(&mut socket) => text,
                changed = self.last.changed(), if self.watched.is_none() => {
                    changed?;
                    if self.has_all(|last| last.to_string()) {
                        return Ok(End::Over);
                    }
                    continue;
                }
            };
            let Some(text) = text else {
                return Ok(End::Lost);
            };
            let whole = text.strip_suffix(RECORD).context("half a record")?;
            for record in whole.split(RECORD) {
                let record: Value = serde_json::from_str(record)?;
                if std::mem::take(&mut first) {
                    ensure!(record == json!({}), "shook hands with {record}");
                    continue;
                }
                if let Some(end) = self.record(record, &mut begun)? {
                    return Ok(end);
                }
            }
        }
    }

    /// Takes a record in; and where it is the last, why.
    fn record(&mut self, mut record: Value, begun: &mut bool) -> Result<Option<End>> {
        match (record["type"].as_u64(), self.way) {
            (Some(1), Way::Hub) => {
                ensure!(*begun, "told before the answer: {record}");
                let argument = record["arguments"][0].take();
                let target = record["target"].as_str().context("no target")?;
                self.told(target.to_owned(), argument)?;
            }
            (Some(2), Way::Stream) => {
                let argument = record["item"]["argument"].take();
                match record["item"]["target"].as_str().context("no target")? {
                    "Subscribed" => {
                        *begun = true;
                        self.begun(argument)?;
                    }
                    target => {
                        ensure!(*begun, "told before it was subscribed: {record}");
                        let target = target.to_owned();
                        self.told(target, argument)?;
                    }
                }
            }
            // The store was closed meanwhile.
            (Some(3), _) if record["error"].is_string() => return Ok(Some(End::Lost)),
            (Some(3), Way::Hub) => {
                ensure!(!*begun, "answered twice: {record}");
                *begun = true;
                self.begun(record["result"].take())?;
            }
            (Some(3), _) => return Ok(Some(End::Over)),
            (Some(6), _) => {}
            (Some(7), _) => {
                ensure!(
                    record["allowReconnect"] == true,
                    "closed for good: {record}"
                );
                return Ok(Some(End::Lost));
            }
            _ => bail!("an odd record: {record}"),
        }
        let over = match self.watched {
            // A stream says itself when it is over.
            Some(_) => self.way == Way::Hub && self.has_end(),
            None => self.has_all(|last| last.to_string()),
        };
        Ok(over.then_some(End::Over))
    }

    fn begun(&mut self, answer: Value) -> Result<()> {
        let after = std::mem::replace(&mut self.place, offset(&answer)?);
        self.hear(Heard::Begun { after, answer });
        Ok(())
    }

    fn told(&mut self, target: String, argument: Value) -> Result<()> {
        ensure!(
            argument["epoch"] == self.epoch,
            "of another epoch: {argument}"
        );
        self.place = offset(&argument)?;
        self.hear(Heard::Told { target, argument });
        Ok(())
    }

    /// Whether the last that it heard says that the deployment has ended.
    fn has_end(&self) -> bool {
        match self.heard.last() {
            Some(Heard::Told { target, .. }) => {
                target == "DeploymentCompleted" || target == "DeploymentFailed"
            }
            Some(Heard::Begun { answer, .. }) => answer["snapshot"]["endedAt"].is_u64(),
            _ => false,
        }
    }
}

fn offset(of: &Value) -> Result<String> {
    let offset = of["offset"].as_str();
    Ok(offset
        .with_context(|| format!("no offset in {of}"))?
        .to_owned())
}
