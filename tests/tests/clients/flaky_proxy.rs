//! A proxy that cuts connections at random: within a message or between two, in either
//! direction, with a clean close or a reset.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// Every connection is cut after this time at the latest.
const MAX_CONNECTION_TIME: Duration = Duration::from_millis(400);

/// Dropping it closes all connections.
pub struct FlakyProxy {
    addr: SocketAddr,
    cuts: watch::Receiver<u64>,
    _accepting: AbortOnDropHandle<()>,
}

/// A reproducible sequence of random numbers.
#[derive(Clone, Copy)]
pub struct SeededRandom(u64);

/// When to cut a connection, whichever condition comes first, and how.
#[derive(Debug, Clone, Copy)]
struct CutPlan {
    /// After this many bytes to the client.
    bytes_to_client: u64,
    /// After this many bytes to the engine.
    bytes_to_engine: u64,
    after: Duration,
    /// Resets the connection: data in flight may be lost.
    reset: bool,
}

impl FlakyProxy {
    /// Starts a proxy in front of the engine at this `host:port`.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start(engine: &str, mut random: SeededRandom) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let (count, cuts) = watch::channel(0);
        let (engine, count) = (engine.to_owned(), Arc::new(count));
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (engine, cut, count) = (engine.clone(), random.next_cut(), Arc::clone(&count));
                connections.spawn(async move {
                    if matches!(cut.relay(client, &engine).await, Ok(ConnectionEnd::Cut)) {
                        count.send_modify(|count| *count += 1);
                    }
                });
            }
        });
        Ok(Self {
            addr,
            cuts,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }

    /// The base URL of the proxy: `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How many connections it has cut.
    pub fn cut_count(&self) -> u64 {
        *self.cuts.borrow()
    }

    /// Waits for the next cut, at most [`MAX_CONNECTION_TIME`]: there may be no connection to
    /// cut.
    pub async fn wait_for_cut(&mut self) {
        let _ = timeout(MAX_CONNECTION_TIME, self.cuts.changed()).await;
    }
}

impl CutPlan {
    async fn relay(self, mut client: TcpStream, engine: &str) -> io::Result<ConnectionEnd> {
        let mut engine = TcpStream::connect(engine).await?;
        let end = self.relay_until_cut(&mut client, &mut engine).await?;
        if end == ConnectionEnd::Cut && self.reset {
            client.set_zero_linger()?;
            engine.set_zero_linger()?;
        }
        Ok(end)
    }

    /// Relays data until one side closes the connection, or the cut is due.
    async fn relay_until_cut(
        mut self,
        client: &mut TcpStream,
        engine: &mut TcpStream,
    ) -> io::Result<ConnectionEnd> {
        let (mut from_client, mut from_engine) = ([0; 4096], [0; 4096]);
        let timer = tokio::time::sleep(self.after);
        tokio::pin!(timer);
        loop {
            let (bytes, to, budget) = tokio::select! {
                count = engine.read(&mut from_engine) => {
                    (&from_engine[..count?], &mut *client, &mut self.bytes_to_client)
                }
                count = client.read(&mut from_client) => {
                    (&from_client[..count?], &mut *engine, &mut self.bytes_to_engine)
                }
                () = &mut timer => return Ok(ConnectionEnd::Cut),
            };
            if bytes.is_empty() {
                return Ok(ConnectionEnd::Closed);
            }
            let length =
                usize::try_from(*budget).map_or(bytes.len(), |budget| budget.min(bytes.len()));
            *budget -= length as u64;
            to.write_all(&bytes[..length]).await?;
            if length < bytes.len() {
                return Ok(ConnectionEnd::Cut);
            }
        }
    }
}

/// How a connection ended.
#[derive(Debug, PartialEq)]
enum ConnectionEnd {
    /// By one of the peers.
    Closed,
    /// By the proxy.
    Cut,
}

impl SeededRandom {
    /// Starts from the seed in `HOTSWAP_SEED`, else from a new one.
    ///
    /// # Errors
    /// If the variable is not a number.
    pub fn from_environment() -> Result<Self> {
        match std::env::var("HOTSWAP_SEED") {
            Ok(seed) => Ok(Self(seed.parse().context("HOTSWAP_SEED is not a number")?)),
            Err(_) => Ok(Self(RandomState::new().build_hasher().finish())),
        }
    }

    /// The next number below `end`. The algorithm is SplitMix64, because it is short.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn next_cut(&mut self) -> CutPlan {
        // One in 16 is cut during the handshake, so that stateful reconnect fails for good.
        let (min, range) = match self.below(16) {
            0 => (0, 400),
            _ => (2_000, 40_000),
        };
        CutPlan {
            bytes_to_client: min + self.below(range),
            bytes_to_engine: min + self.below(range),
            after: MAX_CONNECTION_TIME * u32::try_from(self.below(100)).unwrap_or(0) / 100,
            reset: self.below(2) == 0,
        }
    }
}

impl fmt::Display for SeededRandom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HOTSWAP_SEED={}", self.0)
    }
}
