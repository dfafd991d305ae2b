use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::dialect::{Dialect, Heard};
use crate::server::{Server, TOKEN};

/// Connections that are being opened at the same moment: fewer than any server has queue for.
const SIDE_BY_SIDE: usize = 64;
const KEEPALIVE: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients of one server, each with a connection of its own, all subscribed.
pub struct Crowd {
    dialect: Dialect,
    port: u16,
    deployment: Arc<str>,
    clients: JoinSet<Result<()>>,
    logs: Vec<Arc<Log>>,
    arrived: Arc<AtomicU64>,
}

/// The events that one client has got.
#[derive(Default)]
struct Log(Mutex<Vec<Arrival>>);

/// An event has come.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Its number.
    pub number: u64,
    /// When.
    pub at: Instant,
}

impl Crowd {
    /// Nobody yet.
    pub fn of(server: &Server) -> Self {
        Self {
            dialect: server.dialect,
            port: server.port,
            deployment: server.deployment.to_string().into(),
            clients: JoinSet::new(),
            logs: Vec::new(),
            arrived: Arc::default(),
        }
    }

    /// That many more; comes back once all have been told that they are subscribed.
    pub async fn grow(&mut self, by: usize) -> Result<()> {
        let opened: Vec<Client> = stream::iter(0..by)
            .map(|_| {
                let client = Client {
                    dialect: self.dialect,
                    deployment: Arc::clone(&self.deployment),
                    log: Arc::default(),
                    arrived: Arc::clone(&self.arrived),
                };
                let url = self.dialect.url(self.port, TOKEN);
                let opened = client.open(url, self.port);
                async { tokio::time::timeout(PATIENCE, opened).await? }
            })
            .buffer_unordered(SIDE_BY_SIDE)
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

    /// Waits until `events` have come to each client. Whether they did, in `time`.
    ///
    /// # Errors
    /// Where a connection has ended.
    pub async fn got(&mut self, events: u64, time: Duration) -> Result<bool> {
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
            // The arrivals have their own times: this only looks whether there are enough.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What has come to each client since the last time.
    pub fn take(&self) -> Vec<Vec<Arrival>> {
        self.arrived.store(0, Ordering::Release);
        self.logs.iter().map(|log| log.take()).collect()
    }
}

impl Log {
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
    dialect: Dialect,
    deployment: Arc<str>,
    log: Arc<Log>,
    arrived: Arc<AtomicU64>,
}

type Socket = WebSocketStream<TcpStream>;

impl Client {
    /// Connects and subscribes.
    async fn open(self, url: String, port: u16) -> Result<(Self, Socket)> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        // Of 10,000 connections each gets little at a time.
        let config = WebSocketConfig::default()
            .read_buffer_size(2048)
            .write_buffer_size(0);
        let (mut socket, _) =
            tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
        if let Some(greeting) = self.dialect.greeting(&self.deployment) {
            socket.send(Message::text(greeting)).await?;
        }
        loop {
            let message = socket.next().await.context("closed before it began")??;
            if self.take(&mut socket, message).await? {
                return Ok((self, socket));
            }
        }
    }

    async fn listen(self, mut socket: Socket) -> Result<()> {
        let mut keepalive =
            tokio::time::interval_at(tokio::time::Instant::now() + KEEPALIVE, KEEPALIVE);
        loop {
            tokio::select! {
                message = socket.next() => {
                    let message = message.context("closed")??;
                    self.take(&mut socket, message).await?;
                }
                _ = keepalive.tick() => {
                    if let Some(text) = self.dialect.keepalive() {
                        socket.send(Message::text(text)).await?;
                    }
                }
            }
        }
    }

    /// Whether it said that the client is subscribed.
    async fn take(&self, socket: &mut Socket, message: Message) -> Result<bool> {
        let at = Instant::now();
        let text = match message {
            Message::Text(text) => text,
            // The protocol's own; pings are answered below this.
            Message::Ping(_) | Message::Pong(_) => return Ok(false),
            other => bail!("the server sent {other:?}"),
        };
        let mut subscribed = false;
        for record in self.dialect.records(&text) {
            match self.dialect.hear(record, &self.deployment, TOKEN)? {
                Heard::Nothing => {}
                Heard::Answer(answer) => socket.send(Message::text(answer)).await?,
                Heard::Subscribed => subscribed = true,
                Heard::Event(number) => {
                    self.log.push(Arrival { number, at });
                    self.arrived.fetch_add(1, Ordering::Release);
                }
            }
        }
        Ok(subscribed)
    }
}

/// What came of some events.
pub struct Tally {
    /// How long each took, in seconds, sorted; those of all clients.
    pub delays: Vec<f64>,
    /// How many did not come, of all clients.
    pub lost: usize,
}

impl Tally {
    /// Of the events from `first` on, which were due at the moments `due`.
    ///
    /// # Errors
    /// Where a client has got an event twice, out of order, or another one.
    pub fn of(got: &[Vec<Arrival>], first: u64, due: &[Instant]) -> Result<Self> {
        let mut delays = Vec::with_capacity(got.len() * due.len());
        for arrivals in got {
            let mut next = first;
            for Arrival { number, at } in arrivals {
                ensure!(*number >= next, "event {number} came after {next}");
                let due = usize::try_from(number - first)
                    .ok()
                    .and_then(|n| due.get(n));
                let due = due.with_context(|| format!("event {number} was not published"))?;
                delays.push(at.saturating_duration_since(*due).as_secs_f64());
                next = number + 1;
            }
        }
        delays.sort_by(f64::total_cmp);
        let lost = got.len() * due.len() - delays.len();
        Ok(Self { delays, lost })
    }

    /// The delay that this share of all have not exceeded.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.delays.len() as f64).ceil() as usize;
        let delay = self.delays.get(rank.saturating_sub(1));
        delay.copied().unwrap_or(f64::NAN)
    }
}
