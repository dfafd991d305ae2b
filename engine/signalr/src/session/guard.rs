use std::sync::Arc;

use super::{Session, Transport};
use crate::hub::Hub;
use crate::rejection::Rejection;
use crate::send_queue::{Attachment, Batch};

/// A transport that is attached to a session. Dropping it detaches the transport, also where
/// its task or response is cancelled.
pub(crate) struct SessionGuard<H: Hub> {
    pub session: Arc<Session<H>>,
    attachment: Attachment,
}

impl<H: Hub> SessionGuard<H> {
    /// # Errors
    /// Where the session does not allow this transport, or is already in use.
    pub fn attach(session: Arc<Session<H>>, transport: Transport) -> Result<Self, Rejection> {
        let Some(attachment) = session.attach(transport) else {
            return Err(match session.transport_state().transport {
                Some(current) if current == transport => Rejection::ConnectionInUse,
                _ => Rejection::TransportMismatch,
            });
        };
        Ok(Self {
            session,
            attachment,
        })
    }

    /// Waits for something to send. Cancel safe.
    pub async fn next_batch(&self) -> Batch {
        self.session.send_queue().next_batch(self.attachment).await
    }
}

impl<H: Hub> Drop for SessionGuard<H> {
    fn drop(&mut self) {
        self.session.detach(self.attachment);
    }
}
