use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Frame, SizeHint};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use crate::counters::Ticket;

/// The body of an answer on the data port.
#[derive(Debug)]
pub(crate) enum Body {
    /// A module's.
    Module(Module),
    /// The node's own, which is all there.
    Own(Full<Bytes>, Option<Ticket>),
}

/// A body that a module writes, perhaps while it is being sent.
#[derive(Debug)]
pub(crate) struct Module {
    inner: HyperOutgoingBody,
    broken: Broken,
    /// Counts the request when the body has ended.
    ticket: Option<Ticket>,
}

/// Set where a module ended other than by returning. Its streams then look as if they
/// had come to their end.
pub(crate) type Broken = Arc<AtomicBool>;

impl Body {
    /// The node's own.
    pub(crate) fn own(bytes: Bytes) -> Self {
        Self::Own(Full::new(bytes), None)
    }

    /// A module's; uncounted until [`Body::count`].
    pub(crate) fn module(inner: HyperOutgoingBody, broken: Broken) -> Self {
        Self::Module(Module {
            inner,
            broken,
            ticket: None,
        })
    }

    /// Has the request counted when this has been sent.
    pub(crate) fn count(&mut self, request: Ticket) {
        match self {
            Self::Module(Module { ticket, .. }) | Self::Own(_, ticket) => *ticket = Some(request),
        }
    }
}

impl Module {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            None if self.broken.load(Acquire) => Some(Err(Error::HttpResponseIncomplete)),
            frame => frame,
        };
        if let (Some(Err(_)), Some(ticket)) = (&frame, &mut self.ticket) {
            ticket.broke();
        }
        if frame.is_none() {
            self.ticket = None;
        }
        Poll::Ready(frame)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut *self {
            Self::Module(module) => module.poll(context),
            Self::Own(body, _) => Pin::new(body)
                .poll_frame(context)
                .map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Module(module) => module.inner.is_end_stream(),
            Self::Own(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Module(module) => module.inner.size_hint(),
            Self::Own(body, _) => body.size_hint(),
        }
    }
}
