use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use poem::http::header;
use poem::{Body, Request, Response};

use crate::hub::Hub;
use crate::rejection::Rejection;
use crate::send_queue::Batch;
use crate::session::{Session, SessionGuard, Transport};

/// A comment that is sent first, so that the headers go out at once: clients wait for them.
const OPENING_COMMENT: &[u8] = b":\r\n\r\n";

/// Whether the client asks for an event stream rather than for a poll.
pub(crate) fn is_requested(request: &Request) -> bool {
    request
        .header(header::ACCEPT)
        .is_some_and(|accept| accept.contains("text/event-stream"))
}

/// Answers with an event stream. The session ends with the response.
pub(crate) fn accept<H: Hub>(session: Arc<Session<H>>) -> Result<Response, Rejection> {
    let guard = SessionGuard::attach(session, Transport::ServerSentEvents)?;
    let events = stream::unfold(Some((guard, true)), |state| async move {
        let (guard, is_first) = state?;
        if is_first {
            return Some((Bytes::from_static(OPENING_COMMENT), Some((guard, false))));
        }
        let (encoded, is_last) = match guard.next_batch().await {
            Batch::Messages(encoded) => (encoded, false),
            Batch::Last(encoded) => (encoded, true),
            Batch::Detached => return None,
        };
        guard.session.mark_sent();
        let next_state = (!is_last).then_some((guard, false));
        Some((to_events(&encoded), next_state))
    });
    let bytes = futures_util::StreamExt::map(events, Ok::<_, std::io::Error>);
    Ok(Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .header(header::CACHE_CONTROL, "no-cache, no-store")
        // Without this, proxies that buffer responses would hold back all events.
        .header("x-accel-buffering", "no")
        .body(Body::from_bytes_stream(bytes)))
}

/// One event for each message. A message is JSON on one line, so it needs one `data` field.
fn to_events(messages: &[Bytes]) -> Bytes {
    let size: usize = messages.iter().map(|message| message.len() + 10).sum();
    let mut bytes = BytesMut::with_capacity(size);
    for message in messages {
        bytes.put_slice(b"data: ");
        bytes.put_slice(message);
        bytes.put_slice(b"\r\n\r\n");
    }
    bytes.freeze()
}
