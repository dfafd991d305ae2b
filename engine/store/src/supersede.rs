//! What a create appends to the deployments that the new one supersedes.

use hotswap_core::{Cause, CauseKind, EventBody, Header, Lifecycle, Outcome};

/// What is appended to the open deployment and to the one that waits for it, as far as it can
/// follow what is there.
pub(crate) struct Superseding {
    /// To the open one: an abort.
    pub(crate) open: Vec<EventBody>,
    /// To the one that waits, which has changed nothing yet: an abort, and its end.
    pub(crate) waiting: Vec<EventBody>,
}

impl Superseding {
    /// By the deployment of this header.
    pub(crate) fn by(header: &Header) -> Self {
        let by = header.requester.email.clone();
        let reason = format!(
            "superseded by deployment {} of {}",
            header.id, header.module
        );
        let cause = Cause::new(CauseKind::Abort, format!("aborted by {by}: {reason}"));
        let reason = Some(reason);
        let abort = EventBody::AbortRequested { by, reason };
        let ended = EventBody::Ended {
            outcome: Outcome::Failed,
            failures: Vec::new(),
            not_updated: Vec::new(),
        };
        Self {
            open: vec![abort.clone()],
            waiting: vec![abort, EventBody::Reverting { cause }, ended],
        }
    }
}

/// Keeps those of the events that can follow: an abort may have been requested before. Returns the
/// lifecycle behind them.
pub(crate) fn keep_legal(mut lifecycle: Lifecycle, bodies: &mut Vec<EventBody>) -> Lifecycle {
    bodies.retain(|body| {
        let next = Lifecycle::append(lifecycle, body);
        next.is_ok_and(|next| {
            lifecycle = next;
            true
        })
    });
    lifecycle
}
