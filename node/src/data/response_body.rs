use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::counters::RequestTracker;

/// Body of a response on the data port.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// Written by a module.
    Module(ModuleBody),
    /// Written by the node, complete in memory.
    Node(Full<Bytes>, Option<RequestTracker>),
}

/// A body that a module writes, perhaps while it is being sent.
#[derive(Debug)]
pub(crate) struct ModuleBody {
    inner: HyperOutgoingBody,
    failed: FailedFlag,
    /// Counts the request when it is dropped, at the end of the body.
    tracker: Option<RequestTracker>,
}

/// Set when a module ends by a trap or a time-out. Its streams then look as if they had
/// ended normally, so that only this flag tells a truncated body from a complete one.
pub(crate) type FailedFlag = Arc<AtomicBool>;

impl ResponseBody {
    /// A body of the node.
    pub(crate) fn from_bytes(bytes: Bytes) -> Self {
        Self::Node(Full::new(bytes), None)
    }

    /// A body of a module.
    pub(crate) fn from_module(inner: HyperOutgoingBody, failed: FailedFlag) -> Self {
        Self::Module(ModuleBody {
            inner,
            failed,
            tracker: None,
        })
    }

    /// Keeps `tracker` until the body has been sent. Without this the request is not counted.
    pub(crate) fn set_tracker(&mut self, request: RequestTracker) {
        match self {
            Self::Module(ModuleBody { tracker, .. }) | Self::Node(_, tracker) => {
                *tracker = Some(request);
            }
        }
    }
}

impl ModuleBody {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            None if self.failed.load(Acquire) => Some(Err(Error::HttpResponseIncomplete)),
            frame => frame,
        };
        if let (Some(Err(_)), Some(tracker)) = (&frame, &mut self.tracker) {
            tracker.set_failed();
        }
        if frame.is_none() {
            self.tracker = None;
        }
        Poll::Ready(frame)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut *self {
            Self::Module(body) => body.poll_frame(context),
            Self::Node(body, _) => Pin::new(body)
                .poll_frame(context)
                .map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Module(body) => body.inner.is_end_stream(),
            Self::Node(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Module(body) => body.inner.size_hint(),
            Self::Node(body, _) => body.size_hint(),
        }
    }
}
