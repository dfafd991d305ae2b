use std::sync::Arc;

use hotswap_core::{
    Append, Cause, CauseKind, Clock, Decision, DeploymentId, Event, EventBody, Fence, Lifecycle,
    Step,
};
use hotswap_store::{AppendError, Journal, Lease, ReadError};

/// The writing end of one journal, under one lease. Events are collected and appended
/// together, so that the answer to one call and the intent of the next cost one write.
pub(crate) struct Tape {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    deployment: DeploymentId,
    fence: Fence,
    next_seq: u64,
    lifecycle: Lifecycle,
    pending: Vec<EventBody>,
    /// Why somebody asked for the end, if somebody did.
    abort: Option<Cause>,
    /// The newest decision of a person that no answer has taken up.
    decision: Option<Decision>,
}

/// Why the tape cannot be written any more. What is on it stays true; the driver that
/// holds it must let go.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Another engine drives the deployment now.
    #[error("the lease has passed to another engine")]
    Lost,
    /// The store failed, or refused what it should have taken.
    #[error("the journal could not be written")]
    Append(#[source] AppendError),
    /// The store failed.
    #[error("the journal could not be read")]
    Read(#[source] ReadError),
}

impl Tape {
    pub(crate) fn new(
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        deployment: DeploymentId,
        lease: Lease,
    ) -> Self {
        Self {
            journal,
            clock,
            deployment,
            fence: lease.fence,
            next_seq: lease.head.next_seq,
            lifecycle: lease.head.lifecycle,
            pending: Vec::new(),
            abort: None,
            decision: None,
        }
    }

    pub(crate) fn fence(&self) -> Fence {
        self.fence
    }

    /// How far the deployment is.
    pub(crate) fn step(&self) -> Step {
        self.lifecycle.step
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.lifecycle.paused
    }

    /// Why the deployment is to end, if somebody asked for that.
    pub(crate) fn abort(&self) -> Option<&Cause> {
        self.abort.as_ref()
    }

    /// The decision of a person that came since the question was asked.
    pub(crate) fn take_decision(&mut self) -> Option<Decision> {
        self.decision.take()
    }

    /// Takes note of an event that is in the journal already; each counts once.
    pub(crate) fn heard(&mut self, event: &Event) {
        if event.seq >= self.next_seq {
            self.next_seq = event.seq + 1;
            // The store checked that it follows before it let it in.
            self.lifecycle = self.lifecycle.next(&event.body).unwrap_or(self.lifecycle);
        }
        match &event.body {
            EventBody::AbortRequested { by, reason } => {
                let why = reason.as_ref().map(|reason| format!(": {reason}"));
                let message = format!("aborted by {by}{}", why.unwrap_or_default());
                self.abort = Some(Cause::new(CauseKind::Abort, message));
            }
            EventBody::Decided { decision } => self.decision = Some(decision.clone()),
            // An answer to a question takes its decision up.
            EventBody::Answered { .. } | EventBody::Planned { .. } => self.decision = None,
            _ => {}
        }
    }

    /// Adds an event, to be appended with the next [`Self::flush`].
    pub(crate) fn push(&mut self, body: EventBody) {
        self.pending.push(body);
    }

    /// How many events wait for the next flush.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Appends what was pushed. Durable once it returns.
    ///
    /// Not safe to cancel: whether the events are in the journal is then unknown, and the
    /// tape must be made anew.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut append = Append {
            deployment: self.deployment,
            expected: self.next_seq,
            fence: Some(self.fence),
            at: self.clock.now(),
            bodies: std::mem::take(&mut self.pending),
        };
        loop {
            append.expected = self.next_seq;
            match self.journal.append(append.clone()).await {
                Ok(head) => {
                    self.next_seq = head.next_seq;
                    self.lifecycle = head.lifecycle;
                    // What was decided too late for its question is no answer to the next one.
                    if append
                        .bodies
                        .iter()
                        .any(|body| matches!(body, EventBody::Answered { .. }))
                    {
                        self.decision = None;
                    }
                    return Ok(());
                }
                Err(AppendError::Conflict(head)) if head.next_seq > self.next_seq => {
                    self.catch_up().await?;
                }
                Err(AppendError::Fenced(_)) => return Err(Error::Lost),
                Err(error) => return Err(Error::Append(error)),
            }
        }
    }

    /// Reads what people have asked for since the tape was last at the journal's end.
    pub(crate) async fn catch_up(&mut self) -> Result<(), Error> {
        let events = self
            .journal
            .events(self.deployment, self.next_seq, usize::MAX)
            .await;
        for event in events.map_err(Error::Read)? {
            self.heard(&event);
        }
        Ok(())
    }
}
