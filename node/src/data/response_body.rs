use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::AbortHandle;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::exchange::SharedExchange;
use super::request_tracker::RequestTracker;

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
    exchange: SharedExchange,
    /// Bytes that are still to come, if the head says how many there are. In that case the end of
    /// the body is not polled.
    remaining: Option<u64>,
    /// Counts the request when it is dropped, at the end of the body.
    tracker: Option<RequestTracker>,
    /// The module, where it still writes the body.
    writer: Option<AbortHandle>,
    has_ended: bool,
}

impl ResponseBody {
    /// A body of the node.
    pub(crate) fn from_bytes(bytes: Bytes) -> Self {
        Self::Node(Full::new(bytes), None)
    }

    /// A body of a module. `length` is what the head of the response says of it: 0 where no
    /// body is sent. `writer` is the module, where it still writes: it is ended if the body is
    /// dropped before its end.
    pub(super) fn from_module(
        inner: HyperOutgoingBody,
        exchange: SharedExchange,
        length: Option<u64>,
        writer: Option<AbortHandle>,
    ) -> Self {
        Self::Module(ModuleBody {
            inner,
            exchange,
            remaining: length,
            tracker: None,
            writer,
            has_ended: length == Some(0),
        })
    }

    /// Keeps `tracker` until the body has been sent. Without this the request is not counted.
    pub(super) fn set_tracker(&mut self, mut request: RequestTracker) {
        match self {
            Self::Module(body) => {
                if body.has_ended {
                    request.set_complete();
                }
                body.tracker = Some(request);
            }
            Self::Node(_, tracker) => {
                request.set_complete();
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
        // From the last piece until now, the connection had no room for more.
        self.exchange.download.end();
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            None if self.exchange.has_failed() => Some(Err(Error::HttpResponseIncomplete)),
            frame => frame,
        };
        match &frame {
            Some(Ok(piece)) => {
                if let (Some(remaining), Some(data)) = (&mut self.remaining, piece.data_ref()) {
                    *remaining = remaining.saturating_sub(data.len() as u64);
                    self.has_ended = *remaining == 0;
                }
                self.exchange.download.begin();
            }
            Some(Err(_)) | None => self.has_ended = true,
        }
        if let Some(tracker) = &mut self.tracker {
            match &frame {
                Some(Ok(_)) => {
                    tracker.body_goes_on();
                    if self.has_ended {
                        tracker.set_complete();
                    }
                }
                Some(Err(_)) => tracker.set_broken(),
                None => {
                    tracker.set_complete();
                    self.tracker = None;
                }
            }
        }
        Poll::Ready(frame)
    }
}

impl Drop for ModuleBody {
    /// A client that left reads no more. A module that went on writing would hold its place, and
    /// its memory, until its time is over: other requests would be refused for that.
    fn drop(&mut self) {
        if !self.has_ended
            && !self.inner.is_end_stream()
            && let Some(writer) = &self.writer
        {
            writer.abort();
        }
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

/// The length of a response's body as its head tells it. `None` where only the end of the body
/// does.
pub(super) fn body_length(method: &Method, response: &http::response::Parts) -> Option<u64> {
    let has_none = method == Method::HEAD
        || response.status.is_informational()
        || response.status == StatusCode::NO_CONTENT
        || response.status == StatusCode::NOT_MODIFIED;
    if has_none {
        return Some(0);
    }
    let length = response.headers.get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}
