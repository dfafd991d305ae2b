use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A server that takes connections, reads what comes, and never answers.
pub struct SilentServer {
    addr: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl SilentServer {
    /// Starts to listen on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let read_all = async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while let Ok(1..) = connection.read(&mut bytes).await {}
                });
            }
        };
        Ok(Self {
            addr,
            _task: AbortOnDropHandle::new(tokio::spawn(read_all)),
        })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}
