use std::sync::Arc;

use poem::http::{StatusCode, header};
use poem::{Body, Response};

use crate::hub::Hub;
use crate::rejection::Rejection;
use crate::response;
use crate::send_queue::Batch;
use crate::session::{Session, SessionGuard, Transport};

/// Answers one poll. The first is answered at once and confirms the connection. Each later
/// one waits for messages; it is answered empty after the poll time-out.
pub(crate) async fn poll<H: Hub>(session: Arc<Session<H>>) -> Result<Response, Rejection> {
    let is_first = session.transport_state().transport.is_none();
    let guard = SessionGuard::attach(session, Transport::LongPolling)?;
    if is_first {
        return Ok(response::empty(StatusCode::OK));
    }
    let poll_timeout = guard.session.context.config.poll_timeout;
    let batch = tokio::time::timeout(poll_timeout, guard.next_batch());
    guard.session.mark_sent();
    Ok(match batch.await {
        Err(_) => response::empty(StatusCode::OK),
        Ok(Batch::Detached) => response::empty(StatusCode::NO_CONTENT),
        Ok(Batch::Messages(encoded) | Batch::Last(encoded)) => Response::builder()
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CACHE_CONTROL, "no-cache, no-store")
            .body(Body::from_bytes(encoded.concat().into())),
    })
}
