use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// Receive buffer of the socket, in bytes. Small, so that the server soon has to queue messages
/// for a reader that does not read.
const RECEIVE_BUFFER: u32 = 16 << 10;
/// The most that one read returns, in bytes.
const MAX_READ: usize = 4096;

/// A connection that breaks after a number of received bytes.
pub struct TruncatingStream {
    stream: TcpStream,
    /// Never breaks if `None`.
    bytes_left: Option<usize>,
}

impl TruncatingStream {
    /// Connects. The connection breaks after `bytes_left` bytes, or never if that is `None`.
    pub async fn connect(addr: SocketAddr, bytes_left: Option<usize>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let stream = socket.connect(addr).await?;
        Ok(Self { stream, bytes_left })
    }
}

impl AsyncRead for TruncatingStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let limit = self
            .bytes_left
            .unwrap_or(MAX_READ)
            .min(buffer.remaining())
            .min(MAX_READ);
        if self.bytes_left == Some(0) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let mut bytes = [0; MAX_READ];
        let mut chunk = ReadBuf::new(&mut bytes[..limit]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut chunk))?;
        let received = chunk.filled();
        buffer.put_slice(received);
        if let Some(bytes_left) = &mut self.bytes_left {
            *bytes_left -= received.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TruncatingStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
