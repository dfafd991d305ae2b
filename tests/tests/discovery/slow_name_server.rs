use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// Bytes of the largest message over UDP.
const MAX_MESSAGE: usize = 64 << 10;

/// A way to a name server, over UDP, on which each answer takes a while.
pub struct SlowNameServer {
    pub addr: SocketAddr,
    delay: watch::Sender<Duration>,
    _task: AbortOnDropHandle<()>,
}

impl SlowNameServer {
    /// Passes questions on to `server`.
    pub async fn start(server: SocketAddr, delay: Duration) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let addr = socket.local_addr()?;
        let (delay, current) = watch::channel(delay);
        let task = tokio::spawn(async move {
            let (socket, mut questions) = (Arc::new(socket), JoinSet::new());
            let mut question = vec![0; MAX_MESSAGE];
            while let Ok((length, client)) = socket.recv_from(&mut question).await {
                let (question, delay) = (question[..length].to_vec(), *current.borrow());
                let socket = Arc::clone(&socket);
                questions.spawn(async move {
                    if let Ok(answer) = ask(server, &question).await {
                        // What is slow here is the point of the test.
                        sleep(delay).await;
                        let _ = socket.send_to(&answer, client).await;
                    }
                });
            }
        });
        Ok(Self {
            addr,
            delay,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// From now on answers take this long.
    pub fn set_delay(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }
}

async fn ask(server: SocketAddr, question: &[u8]) -> Result<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; MAX_MESSAGE];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}
