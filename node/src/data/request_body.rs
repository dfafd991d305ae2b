use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::exchange::SharedExchange;

/// The body of a request, as the module reads it. Measures how long the module waits for the
/// client, and notices a client that breaks it off.
#[derive(Debug)]
pub(super) struct RequestBody<B> {
    inner: B,
    exchange: SharedExchange,
}

impl<B> RequestBody<B> {
    pub(super) fn new(inner: B, exchange: SharedExchange) -> Self {
        Self { inner, exchange }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Pending => self.exchange.upload.begin(),
            Poll::Ready(frame) => {
                self.exchange.upload.end();
                if let Some(Err(_)) = frame {
                    self.exchange.set_upload_broke();
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A module that does not read the rest of the body does not wait for it.
impl<B> Drop for RequestBody<B> {
    fn drop(&mut self) {
        self.exchange.upload.end();
    }
}
