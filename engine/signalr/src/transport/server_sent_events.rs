use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use poem::http::header;
use poem::{Body, Request, Response};

use crate::hub::Hub;
use crate::line::Taken;
use crate::refusal::Refusal;
use crate::session::{Session, Transport};

/// A comment, so that the headers go out at once: clients wait for them.
const OPENING: &[u8] = b":\r\n\r\n";

/// Whether the client asks for events rather than for a poll.
pub(crate) fn is_asked(request: &Request) -> bool {
    request
        .header(header::ACCEPT)
        .is_some_and(|accept| accept.contains("text/event-stream"))
}

/// Answers with all that there is to tell, until the connection ends.
pub(crate) fn accept<H: Hub>(session: Arc<Session<H>>) -> Result<Response, Refusal> {
    let carrier = session.carry(Transport::ServerSentEvents).ok_or_else(|| {
        match session.state().transport {
            Some(Transport::ServerSentEvents) => Refusal::InUse,
            _ => Refusal::OtherTransport,
        }
    })?;
    let ending = Ending { session, carrier };
    let events = stream::unfold(Some((ending, true)), |state| async move {
        let (ending, opening) = state?;
        if opening {
            return Some((Bytes::from_static(OPENING), Some((ending, false))));
        }
        let session = &ending.session;
        let (records, over) = match session.line().take(ending.carrier).await {
            Taken::Records(records) => (records, false),
            Taken::Last(records) => (records, true),
            Taken::Lost => return None,
        };
        session.sent();
        let next = (!over).then_some((ending, false));
        Some((written(&records), next))
    });
    let bytes = futures_util::StreamExt::map(events, Ok::<_, std::io::Error>);
    Ok(Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream")
        .header(header::CACHE_CONTROL, "no-cache, no-store")
        // Proxies that gather an answer before they pass it on would hold all events back.
        .header("x-accel-buffering", "no")
        .body(Body::from_bytes_stream(bytes)))
}

/// One event for each record. A record is JSON, which has no line breaks of its own.
fn written(records: &[Bytes]) -> Bytes {
    let size: usize = records.iter().map(|record| record.len() + 10).sum();
    let mut bytes = BytesMut::with_capacity(size);
    for record in records {
        bytes.put_slice(b"data: ");
        bytes.put_slice(record);
        bytes.put_slice(b"\r\n\r\n");
    }
    bytes.freeze()
}

/// The connection ends with its response.
struct Ending<H: Hub> {
    session: Arc<Session<H>>,
    carrier: u64,
}

impl<H: Hub> Drop for Ending<H> {
    fn drop(&mut self) {
        self.session.dropped(self.carrier);
    }
}
