use std::net::SocketAddr;

use anyhow::Result;
use tokio::net::TcpSocket;

/// An address at which nobody listens. The socket is bound as long as this lives, so no other program
/// gets the port.
pub struct UnusedAddress {
    addr: SocketAddr,
    _socket: TcpSocket,
}

impl UnusedAddress {
    /// Takes a free port.
    ///
    /// # Errors
    /// If there is none.
    pub fn new() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        Ok(Self {
            addr: socket.local_addr()?,
            _socket: socket,
        })
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}
