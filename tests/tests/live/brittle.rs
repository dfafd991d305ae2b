use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

/// What the system keeps for a reader that does not read: little, so that the server soon
/// has to keep the rest.
const KEPT: u32 = 16 << 10;
/// Read at once.
const PIECE: usize = 4096;

/// A connection that breaks once so many bytes have come.
pub struct Brittle {
    stream: TcpStream,
    left: Option<usize>,
}

impl Brittle {
    /// Breaks after `left` bytes, where that is given.
    pub async fn connect(addr: SocketAddr, left: Option<usize>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(KEPT)?;
        let stream = socket.connect(addr).await?;
        Ok(Self { stream, left })
    }
}

impl AsyncRead for Brittle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = self
            .left
            .unwrap_or(PIECE)
            .min(buffer.remaining())
            .min(PIECE);
        if self.left == Some(0) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let mut bytes = [0; PIECE];
        let mut piece = ReadBuf::new(&mut bytes[..most]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
        let came = piece.filled();
        buffer.put_slice(came);
        if let Some(left) = &mut self.left {
            *left -= came.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Brittle {
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
