//! Bodies of requests that are answered before anybody reads them, as those without a token are.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use poem::Request;
use poem::http::header::EXPECT;

/// How much of an unread body is read to keep its connection, in bytes.
const MOST: usize = 64 << 10;
/// How long that may take.
const PATIENCE: Duration = Duration::from_millis(100);

type RequestBody = BoxBody<Bytes, io::Error>;

/// The unread part of a request's body, after the request was answered.
///
/// HTTP/1 has one way to the next request: the end of this one's body. Where that is not read, the
/// server closes the connection after the answer, and must say so: else the client sends its next
/// request into a closed connection.
pub(crate) struct UnreadBody {
    rest: Arc<Mutex<Option<RequestBody>>>,
    /// The client waits for a sign that its body is wanted.
    is_expecting: bool,
}

/// A body that comes back where it is dropped before its end.
struct Lent {
    body: Option<RequestBody>,
    rest: Arc<Mutex<Option<RequestBody>>>,
}

impl UnreadBody {
    /// Keeps hold of a request's body. `None` if it has none.
    pub(crate) fn of(request: &mut Request) -> Option<Self> {
        let body = RequestBody::from(request.take_body());
        if body.is_end_stream() {
            return None;
        }
        let rest = Arc::default();
        let lent = Lent {
            body: Some(body),
            rest: Arc::clone(&rest),
        };
        request.set_body(RequestBody::new(lent));
        Some(Self {
            rest,
            is_expecting: request.headers().contains_key(EXPECT),
        })
    }

    /// Reads what is left, if that is little and comes soon. Returns whether it got to the end.
    pub(crate) async fn drain(self) -> bool {
        let Some(mut rest) = lock(&self.rest).take() else {
            return true;
        };
        if self.is_expecting {
            return false;
        }
        let read = async {
            let mut left = MOST;
            while let Some(frame) = rest.frame().await {
                let Ok(frame) = frame else { return false };
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let Some(fewer) = left.checked_sub(bytes) else {
                    return false;
                };
                left = fewer;
            }
            true
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap_or(false)
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let body = self.body.take();
        *lock(&self.rest) = body.filter(|body| !body.is_end_stream());
    }
}

fn lock(rest: &Mutex<Option<RequestBody>>) -> MutexGuard<'_, Option<RequestBody>> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}
