//! Follows the sources of an engine by its hub.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use hotswap_tests::Installation;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_util::task::AbortOnDropHandle;

/// Ends each record of the SignalR protocol.
const RECORD_SEPARATOR: char = '\u{1e}';

/// Time limit of each wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How often the hub hears of its client. It disconnects one that is silent for half a minute.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// A subscription to the sources of an engine. It goes on while nobody waits for it.
pub struct SourceFeed {
    /// The source each time it was sent.
    received: mpsc::UnboundedReceiver<Result<Value>>,
    /// The source as it was last looked at.
    last: Value,
    _task: AbortOnDropHandle<()>,
}

impl SourceFeed {
    /// Follows the source of this name.
    pub async fn follow(installation: &Installation, name: &str) -> Result<Self> {
        let addr = installation.url.strip_prefix("http://");
        let addr = addr.context("a URL")?;
        let mut request = format!("ws://{addr}/hubs/metrics").into_client_request()?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", installation.token))?;
        request.headers_mut().insert("authorization", bearer);
        let stream = TcpStream::connect(addr).await?;
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        let handshake = r#"{"protocol":"json","version":1}"#;
        let call = json!({
            "type": 1, "invocationId": "1", "target": "SubscribeToSources", "arguments": [],
        });
        let message = format!("{handshake}{RECORD_SEPARATOR}{call}{RECORD_SEPARATOR}");
        socket.send(Message::text(message)).await?;
        let (sender, received) = mpsc::unbounded_channel();
        let name = name.to_owned();
        let task = tokio::spawn(async move {
            if let Err(error) = receive(socket, &name, &sender).await {
                let _ = sender.send(Err(error));
            }
        });
        Ok(Self {
            received,
            last: Value::Null,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// Waits until the source is as `is_met` wants it.
    pub async fn until(&mut self, what: &str, is_met: impl Fn(&Value) -> bool) -> Result<()> {
        let met = timeout(TIMEOUT, async {
            while !is_met(&self.last) {
                let next = self.received.recv().await;
                self.last = next.context("the hub has failed before")??;
            }
            anyhow::Ok(())
        });
        let met = met.await;
        met.with_context(|| format!("{what}: {:#}", self.last))?
    }
}

/// Passes on each source of this name that the hub sends.
async fn receive(
    mut socket: WebSocketStream<TcpStream>,
    name: &str,
    sender: &mpsc::UnboundedSender<Result<Value>>,
) -> Result<()> {
    let mut pings = interval(PING_INTERVAL);
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = pings.tick() => {
                let ping = json!({ "type": 6 });
                let ping = format!("{ping}{RECORD_SEPARATOR}");
                socket.send(Message::text(ping)).await?;
                continue;
            }
        };
        let Message::Text(text) = message.context("the hub has closed the connection")?? else {
            continue;
        };
        for record in text.split_terminator(RECORD_SEPARATOR) {
            let record: Value = serde_json::from_str(record)?;
            ensure!(record.get("error").is_none(), "{record}");
            let now = record["result"]["sources"].as_array().into_iter().flatten();
            let changed = record["arguments"].as_array().into_iter().flatten();
            if let Some(source) = now.chain(changed).find(|it| it["name"] == *name) {
                let _ = sender.send(Ok(source.clone()));
            }
        }
    }
}
