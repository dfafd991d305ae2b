use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// A way to a server on which each part of an answer may take a while. Once this is dropped, its
/// connections break, and it takes no others.
pub struct SlowProxy {
    pub addr: SocketAddr,
    is_frozen: watch::Sender<bool>,
    _task: AbortOnDropHandle<()>,
}

impl SlowProxy {
    /// Passes connections on to `server`.
    pub async fn start(server: SocketAddr, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let (is_frozen, frozen) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(server).await {
                    connections.spawn(pass_on(client, server, delay, frozen.clone()));
                }
            }
        });
        Ok(Self {
            addr,
            is_frozen,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// From now on it takes connections, and passes nothing on: as a machine that stands still.
    pub fn freeze(&self) {
        self.is_frozen.send_replace(true);
    }
}

/// Ends with the connection.
async fn pass_on(
    client: TcpStream,
    server: TcpStream,
    delay: Duration,
    mut frozen: watch::Receiver<bool>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = async {
        let mut part = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_server.read(&mut part).await {
            // What is slow here is the point of the test.
            sleep(delay).await;
            if to_client.write_all(&part[..length]).await.is_err() {
                return;
            }
        }
    };
    let stands_still = async {
        let _ = frozen.wait_for(|is_frozen| *is_frozen).await.is_ok();
        std::future::pending().await
    };
    tokio::select! {
        biased;
        () = stands_still => {}
        () = answers => {}
        _ = copy(&mut from_client, &mut to_server) => {}
    }
}
