use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::task::AbortOnDropHandle;
use wasmtime_wasi_http::Error;

/// The body of an answer. Ends with an error where it is too long, or where no byte arrives for
/// too long. Holds the connection, and its permit.
pub(super) struct LimitedBody {
    incoming: Incoming,
    bytes_left: usize,
    timeout: Duration,
    idle: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
    _connection: AbortOnDropHandle<()>,
}

impl LimitedBody {
    pub(super) fn new(
        incoming: Incoming,
        max_bytes: usize,
        timeout: Duration,
        permit: OwnedSemaphorePermit,
        connection: AbortOnDropHandle<()>,
    ) -> Self {
        Self {
            incoming,
            bytes_left: max_bytes,
            timeout,
            idle: Box::pin(sleep(timeout)),
            _permit: permit,
            _connection: connection,
        }
    }
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) {
            let Some(frame) = frame else {
                return Poll::Ready(None);
            };
            let frame = frame.map_err(Error::from)?;
            if let Some(data) = frame.data_ref() {
                match self.bytes_left.checked_sub(data.len()) {
                    Some(left) => self.bytes_left = left,
                    None => return Poll::Ready(Some(Err(Error::HttpResponseBodySize(None)))),
                }
            }
            let at = Instant::now() + self.timeout;
            self.idle.as_mut().reset(at);
            return Poll::Ready(Some(Ok(frame)));
        }
        ready!(self.idle.as_mut().poll(context));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
