use std::sync::Arc;

use poem::http::{StatusCode, header};
use poem::{Body, Response};

use crate::hub::Hub;
use crate::line::Taken;
use crate::refusal::Refusal;
use crate::service::empty;
use crate::session::{Session, Transport};

/// Answers one poll: the first at once, to say that the connection stands; each later one
/// with what there is to tell, or with nothing once it has waited long enough.
pub(crate) async fn poll<H: Hub>(session: &Arc<Session<H>>) -> Result<Response, Refusal> {
    let first = session.state().transport.is_none();
    let carrier = session
        .carry(Transport::LongPolling)
        .ok_or(Refusal::OtherTransport)?;
    // Says that it is over also where the client has gone and this is dropped.
    let _poll = Poll { session, carrier };
    if first {
        return Ok(empty(StatusCode::OK));
    }
    let taken = tokio::time::timeout(
        session.shared.config.poll_timeout,
        session.line().take(carrier),
    );
    session.sent();
    Ok(match taken.await {
        Err(_) => empty(StatusCode::OK),
        Ok(Taken::Lost) => empty(StatusCode::NO_CONTENT),
        Ok(Taken::Records(records) | Taken::Last(records)) => Response::builder()
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CACHE_CONTROL, "no-cache, no-store")
            .body(Body::from_bytes(records.concat().into())),
    })
}

struct Poll<'a, H: Hub> {
    session: &'a Arc<Session<H>>,
    carrier: u64,
}

impl<H: Hub> Drop for Poll<'_, H> {
    fn drop(&mut self) {
        self.session.dropped(self.carrier);
    }
}
