//! Reads a journal, and appends to it under one lease.

use std::sync::Arc;

use hotswap_common::trace;
use hotswap_core::{
    Append, Clock, Damage, Decision, DeploymentId, Event, EventBody, Fence, JournalTail, Promotion,
    ReplayState,
};
use hotswap_store::{AppendError, Journal};
use tokio::time::Instant;

use super::append_wait;
use super::attempt_trace::drive_span;
use super::error::Error;
use crate::metrics::APPENDS;
use crate::retries::Retries;

/// Events read from the store at once: enough that most journals take one read.
const PAGE: usize = 4096;

/// Events that wait at most for an append that must be durable at once. A strategy that only
/// logs or reads must not fill the memory, and watchers want to see what it does.
const MAX_PENDING_EVENTS: usize = 64;
/// Bytes of these events, likewise.
const MAX_PENDING_BYTES: u64 = 256 << 10;

/// Appends to the journal of one deployment under one lease. Events are collected and
/// appended together, so that the answer to one call and the intent of the next cost one
/// write to disk.
///
/// After an error, drop the writer and open another one.
pub(super) struct JournalWriter {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    retries: Arc<Retries>,
    deployment: DeploymentId,
    fence: Fence,
    tail: JournalTail,
    pending: Vec<EventBody>,
    /// About the bytes of those that came by [`Self::push_soon`].
    pending_bytes: u64,
}

impl JournalWriter {
    /// Reads the whole journal. Returns the writer that continues it, and the state that its
    /// events add up to. Later events change the writer's tail alone.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Damaged`].
    pub(super) async fn open(
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        retries: Arc<Retries>,
        (deployment, fence): (DeploymentId, Fence),
    ) -> Result<(Self, ReplayState), Error> {
        let state = read(journal.as_ref(), deployment).await?;
        let writer = Self {
            journal,
            clock,
            retries,
            deployment,
            fence,
            tail: state.tail.clone(),
            pending: Vec::new(),
            pending_bytes: 0,
        };
        Ok((writer, state))
    }

    /// Appends to a journal that cannot be read, whose end is this.
    pub(super) fn at_end(
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        retries: Arc<Retries>,
        (deployment, fence): (DeploymentId, Fence),
        tail: JournalTail,
    ) -> Self {
        Self {
            journal,
            clock,
            retries,
            deployment,
            fence,
            tail,
            pending: Vec::new(),
            pending_bytes: 0,
        }
    }

    /// The right under which this writer appends. Orders to nodes carry it too.
    pub(super) fn fence(&self) -> Fence {
        self.fence
    }

    pub(super) fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    /// The end of the journal as last read or written. Does not include pending events.
    pub(super) fn tail(&self) -> &JournalTail {
        &self.tail
    }

    pub(super) fn is_paused(&self) -> bool {
        self.tail.lifecycle.paused
    }

    /// The decision on the question that was asked last. Each is returned once.
    pub(super) fn take_decision(&mut self) -> Option<Decision> {
        self.tail.signals.decision.take()
    }

    /// Who ended the wait that is under way, or every wait.
    pub(super) fn promotion(&self) -> Option<&Promotion> {
        self.tail.signals.promotion.as_ref()
    }

    /// Adds an event to be appended by the next [`Self::flush`].
    pub(super) fn push(&mut self, body: EventBody) {
        self.pending.push(body);
    }

    /// Adds an event of about `bytes` bytes that need not be durable at once. Appends the
    /// pending events where they have become many or large.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub(super) async fn push_soon(&mut self, body: EventBody, bytes: u64) -> Result<(), Error> {
        self.push(body);
        self.pending_bytes = self.pending_bytes.saturating_add(bytes);
        let must_flush =
            self.pending.len() >= MAX_PENDING_EVENTS || self.pending_bytes >= MAX_PENDING_BYTES;
        if must_flush {
            self.flush().await?;
        }
        Ok(())
    }

    /// Appends the pending events, after those that people appended meanwhile. Durable once
    /// it returns.
    ///
    /// Not cancel safe: it is then unknown whether the events are in the journal.
    ///
    /// # Errors
    /// [`Error::Superseded`], [`Error::LeaseLost`], [`Error::Append`], [`Error::Read`],
    /// [`Error::Damaged`].
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.pending_bytes = 0;
        let mut append = Append {
            deployment: self.deployment,
            expected: self.tail.next_seq,
            fence: Some(self.fence),
            at: self.clock.now(),
            bodies: std::mem::take(&mut self.pending),
        };
        loop {
            append.expected = self.tail.next_seq;
            let started = Instant::now();
            let appended = append_wait::wait_for(self.journal.append(append.clone())).await;
            APPENDS.observe(started.elapsed());
            match appended {
                Ok(head) => {
                    // Progress: whatever was in the way has passed.
                    self.retries.clear(self.deployment);
                    self.tail.next_seq = head.next_seq;
                    self.tail.lifecycle = head.lifecycle;
                    for body in &append.bodies {
                        self.tail.deadline.apply(append.at, body);
                        self.tail.signals.apply(body);
                        self.tail.apply_repair(body);
                    }
                    return Ok(());
                }
                Err(AppendError::Conflict(head)) if head.next_seq > self.tail.next_seq => {
                    self.catch_up().await?;
                    // It may have ended before it began: another deployment superseded it.
                    let has_ended = self.tail.lifecycle.is_ended();
                    if has_ended || self.tail.supersedes(&append.bodies) {
                        return Err(Error::Superseded);
                    }
                }
                Err(AppendError::Fenced(_)) => return Err(Error::LeaseLost),
                Err(error) => return Err(Error::Append(error)),
            }
        }
    }

    /// Reads what people appended since the writer was last at the journal's end.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Damaged`].
    pub(super) async fn catch_up(&mut self) -> Result<(), Error> {
        let events = self
            .journal
            .events(self.deployment, self.tail.next_seq, usize::MAX)
            .await?;
        for event in &events {
            self.tail
                .apply(event)
                .map_err(|why| Error::Damaged(Damage::illegal(event, &why)))?;
        }
        Ok(())
    }

    /// Acquires a new lease. Nodes then ignore orders under the old one that are still under
    /// way.
    ///
    /// # Errors
    /// [`Error::Lease`], [`Error::LeaseLost`].
    pub(super) async fn renew_lease(&mut self) -> Result<(), Error> {
        let lease = self.journal.acquire_lease(self.deployment).await?;
        self.fence = lease.fence;
        drop(drive_span(trace::current(), lease.fence, lease.previous));
        Ok(())
    }
}

async fn read(journal: &dyn Journal, deployment: DeploymentId) -> Result<ReplayState, Error> {
    let mut state: Option<ReplayState> = None;
    loop {
        let from = state.as_ref().map_or(0, |state| state.tail.next_seq);
        let events = journal.events(deployment, from, PAGE).await?;
        let is_full = events.len() == PAGE;
        for event in events {
            apply(&mut state, event)?;
        }
        state = match state {
            Some(state) if !is_full => return Ok(state),
            state => state,
        };
    }
}

fn apply(state: &mut Option<ReplayState>, event: Event) -> Result<(), Error> {
    // The event is moved into the state, so what a failure would tell is taken before.
    let place = Event {
        body: EventBody::Settling(None),
        ..event
    };
    let applied = match state {
        Some(state) => state.apply(event),
        none => ReplayState::fold([event]).map(|begun| *none = Some(begun)),
    };
    applied.map_err(|why| Error::Damaged(Damage::illegal(&place, &why)))
}
