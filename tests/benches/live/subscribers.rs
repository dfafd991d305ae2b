use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::server_kind::{ParsedRecord, ServerKind};
use crate::server_process::{ServerProcess, TOKEN};

/// Fewer than fit into the accept queue of any server.
const CONCURRENT_CONNECTS: usize = 64;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(60);

/// Clients of one server, each with a connection of its own, all subscribed.
pub struct Subscribers {
    kind: ServerKind,
    port: u16,
    deployment: Arc<str>,
    clients: JoinSet<Result<()>>,
    logs: Vec<Arc<ArrivalLog>>,
    arrived: Arc<AtomicU64>,
}

/// The events that one client has received.
#[derive(Default)]
struct ArrivalLog(Mutex<Vec<Arrival>>);

/// The arrival of an event.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The number of the event.
    pub number: u64,
    /// When it arrived.
    pub at: Instant,
}

impl Subscribers {
    /// No clients yet.
    pub fn new(server: &ServerProcess) -> Self {
        Self {
            kind: server.kind,
            port: server.port,
            deployment: server.deployment.to_string().into(),
            clients: JoinSet::new(),
            logs: Vec::new(),
            arrived: Arc::default(),
        }
    }

    /// Opens `count` more connections. Returns once all are subscribed.
    pub async fn add(&mut self, count: usize) -> Result<()> {
        let opened: Vec<Client> = stream::iter(0..count)
            .map(|_| {
                let client = Client {
                    kind: self.kind,
                    deployment: Arc::clone(&self.deployment),
                    log: Arc::default(),
                    arrived: Arc::clone(&self.arrived),
                };
                let url = self.kind.url(self.port, TOKEN);
                let opened = client.open(url, self.port);
                async { tokio::time::timeout(TIMEOUT, opened).await? }
            })
            .buffer_unordered(CONCURRENT_CONNECTS)
            .try_fold(Vec::new(), |mut all, (client, socket)| {
                self.clients.spawn(client.clone().listen(socket));
                all.push(client);
                std::future::ready(Ok(all))
            })
            .await
            .context("opening connections")?;
        self.logs
            .extend(opened.into_iter().map(|client| client.log));
        Ok(())
    }

    /// Waits until each client has received that many events, or `time` has passed. Returns
    /// whether all have received them.
    ///
    /// # Errors
    /// If a connection has ended.
    pub async fn wait_for_events(&mut self, events: u64, time: Duration) -> Result<bool> {
        let deadline = Instant::now() + time;
        let all = events * self.logs.len() as u64;
        loop {
            if let Some(ended) = self.clients.try_join_next() {
                ended?.context("a connection ended")?;
            }
            if self.arrived.load(Ordering::Acquire) >= all {
                return Ok(true);
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
            // Polling does not distort the measurement: arrivals have their own times.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Takes the arrivals at each client since the last call.
    pub fn take_arrivals(&self) -> Vec<Vec<Arrival>> {
        self.arrived.store(0, Ordering::Release);
        self.logs.iter().map(|log| log.take()).collect()
    }
}

impl ArrivalLog {
    fn push(&self, arrival: Arrival) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(arrival);
    }

    fn take(&self) -> Vec<Arrival> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Clone)]
struct Client {
    kind: ServerKind,
    deployment: Arc<str>,
    log: Arc<ArrivalLog>,
    arrived: Arc<AtomicU64>,
}

type Socket = WebSocketStream<TcpStream>;

impl Client {
    /// Connects and subscribes.
    async fn open(self, url: String, port: u16) -> Result<(Self, Socket)> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        // Small buffers, because 10,000 connections get small messages.
        let config = WebSocketConfig::default()
            .read_buffer_size(2048)
            .write_buffer_size(0);
        let (mut socket, _) =
            tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
        if let Some(first_message) = self.kind.first_message(&self.deployment) {
            socket.send(Message::text(first_message)).await?;
        }
        loop {
            let message = socket
                .next()
                .await
                .context("closed before the subscription")??;
            if self.handle_message(&mut socket, message).await? {
                return Ok((self, socket));
            }
        }
    }

    async fn listen(self, mut socket: Socket) -> Result<()> {
        let mut keepalive = tokio::time::interval_at(
            tokio::time::Instant::now() + KEEPALIVE_INTERVAL,
            KEEPALIVE_INTERVAL,
        );
        loop {
            tokio::select! {
                message = socket.next() => {
                    let message = message.context("closed")??;
                    self.handle_message(&mut socket, message).await?;
                }
                _ = keepalive.tick() => {
                    if let Some(text) = self.kind.keepalive() {
                        socket.send(Message::text(text)).await?;
                    }
                }
            }
        }
    }

    /// Returns whether the message confirmed the subscription.
    async fn handle_message(&self, socket: &mut Socket, message: Message) -> Result<bool> {
        let at = Instant::now();
        let text = match message {
            Message::Text(text) => text,
            // The WebSocket library answers pings itself.
            Message::Ping(_) | Message::Pong(_) => return Ok(false),
            other => bail!("the server sent {other:?}"),
        };
        let mut subscribed = false;
        for record in self.kind.records(&text) {
            match self.kind.parse(record, &self.deployment, TOKEN)? {
                ParsedRecord::Ignored => {}
                ParsedRecord::Reply(reply) => socket.send(Message::text(reply)).await?,
                ParsedRecord::Subscribed => subscribed = true,
                ParsedRecord::Event(number) => {
                    self.log.push(Arrival { number, at });
                    self.arrived.fetch_add(1, Ordering::Release);
                }
            }
        }
        Ok(subscribed)
    }
}
