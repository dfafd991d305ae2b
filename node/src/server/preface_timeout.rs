use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Length of the connection preface, with which an HTTP/2 client begins. hyper knows the
/// protocol of an HTTP/1 client after at most as many bytes.
const HTTP2_PREFACE_BYTES: usize = 24;

/// A connection that fails if its client does not send the first bytes in time. hyper's
/// own time-outs begin only when it knows the protocol.
pub(super) struct PrefaceTimeout<S> {
    stream: S,
    bytes_read: usize,
    /// `None` once the client has sent enough.
    timeout: Option<Pin<Box<Sleep>>>,
}

impl<S> PrefaceTimeout<S> {
    /// Starts the time-out now.
    pub(super) fn new(stream: S, timeout: Duration) -> Self {
        Self {
            stream,
            bytes_read: 0,
            timeout: Some(Box::pin(tokio::time::sleep(timeout))),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PrefaceTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled_before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(timeout) = &mut self.timeout else {
            return polled;
        };
        if polled.is_pending() && timeout.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.bytes_read += buffer.filled().len() - filled_before;
        if self.bytes_read >= HTTP2_PREFACE_BYTES {
            self.timeout = None;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PrefaceTimeout<S> {
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

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
