use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_util::task::AbortOnDropHandle;

use crate::replicas::{Replicas, TOKEN};

/// How long a message may take. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Several in the time after which an engine misses a client.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Ends each record of the SignalR protocol.
const RECORD_SEPARATOR: char = '\u{1e}';

/// A connection to a hub of an engine, by the SignalR protocol in JSON.
pub struct HubClient {
    sink: Arc<Mutex<Sink>>,
    stream: SplitStream<WebSocketStream<Box<dyn Connection>>>,
    records: VecDeque<Value>,
    /// Engines disconnect a client that sends nothing.
    _pings: AbortOnDropHandle<()>,
}

type Sink = SplitSink<WebSocketStream<Box<dyn Connection>>, Message>;

/// A connection to an engine: TCP, or TLS over it.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl HubClient {
    /// Connects to the hub of deployments.
    ///
    /// # Errors
    /// If the engine does not accept.
    pub async fn connect(replicas: &Replicas, engine: usize) -> Result<Self> {
        Self::connect_at(&replicas.url(engine)?, "deployments").await
    }

    /// Connects to the hub of metrics, and subscribes to those of an environment.
    ///
    /// # Errors
    /// If the engine does not accept.
    pub async fn connect_to_metrics(
        replicas: &Replicas,
        engine: usize,
        environment: &str,
    ) -> Result<Self> {
        let mut client = Self::connect_at(&replicas.url(engine)?, "metrics").await?;
        client
            .call("SubscribeToMetrics", &json!(environment))
            .await?;
        Ok(client)
    }

    /// Connects to a hub at the base URL of one of [`Replicas`].
    ///
    /// # Errors
    /// If the engine does not accept.
    pub async fn connect_at(base: &str, hub: &str) -> Result<Self> {
        let addr = base.trim_start_matches("http://");
        let stream = TcpStream::connect(addr).await?;
        let url = format!("ws://{addr}/hubs/{hub}");
        Self::connect_over(Box::new(stream), &url, TOKEN).await
    }

    /// Connects to the hub of deployments at `url`, over a connection to it with TLS.
    ///
    /// # Errors
    /// If the engine does not accept.
    pub async fn connect_over_tls(
        stream: TlsStream<TcpStream>,
        url: &str,
        token: &str,
    ) -> Result<Self> {
        Self::connect_over(Box::new(stream), url, token).await
    }

    async fn connect_over(stream: Box<dyn Connection>, url: &str, token: &str) -> Result<Self> {
        let mut request = url.into_client_request()?;
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"))?;
        request.headers_mut().insert("authorization", bearer);
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        let (sink, stream) = socket.split();
        let sink = Arc::new(Mutex::new(sink));
        let mut client = Self {
            stream,
            records: VecDeque::new(),
            _pings: AbortOnDropHandle::new(tokio::spawn(ping(Arc::clone(&sink)))),
            sink,
        };
        client
            .send(&json!({ "protocol": "json", "version": 1 }))
            .await?;
        // The answer to the handshake is empty.
        client.record().await?;
        Ok(client)
    }

    /// Subscribes to all deployments, from a position of before (`{epoch, offset}`) where there is
    /// one, and returns the answer.
    ///
    /// # Errors
    /// If the engine refuses.
    pub async fn subscribe_to_all(&mut self, resume: &Value) -> Result<Value> {
        self.call("SubscribeToAllDeployments", resume).await
    }

    /// Calls a method, and returns its answer.
    async fn call(&mut self, method: &str, argument: &Value) -> Result<Value> {
        let call = json!({
            "type": 1,
            "invocationId": "1",
            "target": method,
            "arguments": [argument],
        });
        self.send(&call).await?;
        loop {
            let mut record = self.record().await?;
            match record["type"].as_u64() {
                Some(3) if record["error"].is_null() => return Ok(record["result"].take()),
                Some(6) => {}
                _ => bail!("unexpected: {record}"),
            }
        }
    }

    /// The next message: its target, and its argument.
    ///
    /// # Errors
    /// If none comes in time, or the connection is closed.
    pub async fn next(&mut self) -> Result<(String, Value)> {
        loop {
            let mut record = self.record().await?;
            match record["type"].as_u64() {
                Some(1) => {
                    let target = record["target"].as_str().context("no target")?.to_owned();
                    return Ok((target, record["arguments"][0].take()));
                }
                Some(6) => {}
                _ => bail!("unexpected: {record}"),
            }
        }
    }

    async fn send(&mut self, record: &Value) -> Result<()> {
        let text = format!("{record}{RECORD_SEPARATOR}");
        Ok(self.sink.lock().await.send(Message::text(text)).await?)
    }

    async fn record(&mut self) -> Result<Value> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Ok(record);
            }
            let message = timeout(TIMEOUT, self.stream.next()).await;
            let message = message.context("the hub sends nothing")?;
            match message.context("the connection is closed")?? {
                Message::Text(text) => {
                    let records = text.split_terminator(RECORD_SEPARATOR);
                    let records = records.map(serde_json::from_str);
                    self.records.extend(records.collect::<Result<Vec<_>, _>>()?);
                }
                Message::Close(_) => bail!("the connection is closed"),
                _ => {}
            }
        }
    }
}

/// Sends pings until the connection is closed.
async fn ping(sink: Arc<Mutex<Sink>>) {
    let ping = format!("{}{RECORD_SEPARATOR}", json!({ "type": 6 }));
    loop {
        // Not before the handshake.
        sleep(PING_INTERVAL).await;
        if sink
            .lock()
            .await
            .send(Message::text(ping.clone()))
            .await
            .is_err()
        {
            return;
        }
    }
}
