//! A proxy that cuts connections at random: in the middle of what is sent or between, in
//! either direction, with a farewell or without.

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

/// The longest that a connection is left alone.
const LONGEST: Duration = Duration::from_millis(400);

/// Ends with this value, and all connections with it.
pub struct Proxy {
    addr: SocketAddr,
    cuts: watch::Receiver<u64>,
    _accepting: AbortOnDropHandle<()>,
}

/// A random sequence that can be had again.
#[derive(Clone, Copy)]
pub struct Seed(u64);

/// When a connection is cut, whichever comes first, and how.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// After so many bytes to the client.
    down: u64,
    /// After so many bytes to the engine.
    up: u64,
    after: Duration,
    /// Without a farewell: what is under way may be lost.
    resets: bool,
}

impl Proxy {
    /// Stands before the engine at this `host:port`.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub async fn start(engine: &str, mut seed: Seed) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let (count, cuts) = watch::channel(0);
        let (engine, count) = (engine.to_owned(), Arc::new(count));
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (engine, cut, count) = (engine.clone(), seed.cut(), Arc::clone(&count));
                connections.spawn(async move {
                    if matches!(cut.carry(client, &engine).await, Ok(End::Cut)) {
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

    /// Where it listens: `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How many connections it has cut.
    pub fn cuts(&self) -> u64 {
        *self.cuts.borrow()
    }

    /// Waits until it has cut one more since the last call; not for longer than a connection
    /// is left alone, for there may be none.
    pub async fn cut(&mut self) {
        let _ = timeout(LONGEST, self.cuts.changed()).await;
    }
}

impl Cut {
    async fn carry(self, mut client: TcpStream, engine: &str) -> io::Result<End> {
        let mut engine = TcpStream::connect(engine).await?;
        let end = self.pass(&mut client, &mut engine).await?;
        if end == End::Cut && self.resets {
            client.set_zero_linger()?;
            engine.set_zero_linger()?;
        }
        Ok(end)
    }

    /// Passes on what is sent until one side closes, or this is due.
    async fn pass(mut self, client: &mut TcpStream, engine: &mut TcpStream) -> io::Result<End> {
        let (mut from_client, mut from_engine) = ([0; 4096], [0; 4096]);
        let clock = tokio::time::sleep(self.after);
        tokio::pin!(clock);
        loop {
            let (bytes, to, left) = tokio::select! {
                count = engine.read(&mut from_engine) => {
                    (&from_engine[..count?], &mut *client, &mut self.down)
                }
                count = client.read(&mut from_client) => {
                    (&from_client[..count?], &mut *engine, &mut self.up)
                }
                () = &mut clock => return Ok(End::Cut),
            };
            if bytes.is_empty() {
                return Ok(End::Closed);
            }
            let part = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
            *left -= part as u64;
            to.write_all(&bytes[..part]).await?;
            if part < bytes.len() {
                return Ok(End::Cut);
            }
        }
    }
}

/// How a connection ended.
#[derive(Debug, PartialEq)]
enum End {
    /// One side closed it.
    Closed,
    Cut,
}

impl Seed {
    /// That of the environment variable HOTSWAP_SEED, or a new one.
    ///
    /// # Errors
    /// Where the variable is no number.
    pub fn new() -> Result<Self> {
        match std::env::var("HOTSWAP_SEED") {
            Ok(seed) => Ok(Self(seed.parse().context("HOTSWAP_SEED is no number")?)),
            Err(_) => Ok(Self(RandomState::new().build_hasher().finish())),
        }
    }

    /// A number below `end`. SplitMix64, for it is short.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn cut(&mut self) -> Cut {
        // A few do not get through the handshake, and then the connection is lost for good.
        let (least, more) = match self.below(16) {
            0 => (0, 400),
            _ => (2_000, 40_000),
        };
        Cut {
            down: least + self.below(more),
            up: least + self.below(more),
            after: LONGEST * u32::try_from(self.below(100)).unwrap_or(0) / 100,
            resets: self.below(2) == 0,
        }
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HOTSWAP_SEED={}", self.0)
    }
}
