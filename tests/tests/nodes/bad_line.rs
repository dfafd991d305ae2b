use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// How often a connection sends on what it has received.
const INTERVAL: Duration = Duration::from_millis(10);

/// A proxy in front of an engine, as a bad line: slow to the client, and each connection is
/// cut after so many bytes to the client. Dropping it closes all connections.
pub struct BadLine {
    addr: SocketAddr,
    sent: Arc<AtomicU64>,
    cuts: Arc<AtomicU64>,
    _accepting: AbortOnDropHandle<()>,
}

impl BadLine {
    /// Starts a proxy in front of the engine at this `host:port`. Each connection carries
    /// `bytes_per_second` to the client, and is cut after `bytes_per_connection`.
    pub async fn start(
        engine: &str,
        bytes_per_second: u64,
        bytes_per_connection: u64,
    ) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let (sent, cuts) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (engine, counters) = (engine.to_owned(), (sent.clone(), cuts.clone()));
        let chunk = usize::try_from(bytes_per_second / 100)?;
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (engine, (sent, cuts)) = (engine.clone(), counters.clone());
                connections.spawn(async move {
                    let relayed = relay(client, &engine, chunk, bytes_per_connection, &sent);
                    if let Ok(true) = relayed.await {
                        cuts.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Ok(Self {
            addr,
            sent,
            cuts,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }

    /// The base URL of the proxy: `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Bytes that were sent to clients so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

/// Relays a connection. Returns whether it was cut.
async fn relay(
    mut client: TcpStream,
    engine: &str,
    chunk: usize,
    mut budget: u64,
    sent: &AtomicU64,
) -> io::Result<bool> {
    let mut engine = TcpStream::connect(engine).await?;
    let (mut from_client, mut from_engine) = (vec![0; 4096], vec![0; chunk]);
    loop {
        tokio::select! {
            count = engine.read(&mut from_engine) => {
                let count = count?;
                if count == 0 {
                    return Ok(false);
                }
                client.write_all(&from_engine[..count]).await?;
                sent.fetch_add(count as u64, Ordering::Relaxed);
                budget = budget.saturating_sub(count as u64);
                if budget == 0 {
                    client.set_zero_linger()?;
                    return Ok(true);
                }
                if count == chunk {
                    tokio::time::sleep(INTERVAL).await;
                }
            }
            count = client.read(&mut from_client) => {
                let count = count?;
                if count == 0 {
                    return Ok(false);
                }
                engine.write_all(&from_client[..count]).await?;
            }
        }
    }
}
