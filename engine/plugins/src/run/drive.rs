//! Lets a guest compute to its end and passes its calls on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hotswap_core::{Call, Cause, CauseKind, Level, StrategyLimits};
use tokio::task::{self, coop};
use tracing::debug;
use wasmtime::PoolConcurrencyLimitError;

use super::cause;
use super::guest_threads::GuestThreads;
use super::interface::{CallHandler, NotInstantiated, ReadyAnswers, RunError};
use super::mailbox::Mailbox;
use crate::limits::FUEL_SLICE;

/// How much more fuel a replay may use than the limits say.
const REPLAY_MARGIN: u64 = 10;

/// A guest that has been started.
pub(crate) struct Guest<R> {
    /// Ends when the guest returns.
    returned: Pin<Box<dyn Future<Output = wasmtime::Result<R>> + Send>>,
    mailbox: Arc<Mailbox>,
    ready_answers: Option<Arc<dyn ReadyAnswers>>,
    /// The fuel that it has used so far, in whole slices.
    used: u64,
    /// The same since its last call.
    used_since_call: u64,
    /// The error that it logged, if it has made no other call since.
    last_error_log: Option<String>,
}

/// How much fuel a guest may use, in whole slices.
#[derive(Clone, Copy)]
pub(crate) struct FuelLimits {
    /// Between two calls.
    pub between_calls: u64,
    /// From its start to its end.
    pub total: u64,
}

/// What a guest did next.
enum GuestEvent<R> {
    Called(Call),
    Ended(wasmtime::Result<R>),
    /// It has used up these limits.
    OutOfFuel(FuelLimits),
    OutOfTotalFuel(FuelLimits),
}

/// The outcome of one poll of a guest.
enum Polled<R> {
    Event(GuestEvent<R>),
    /// It made a call whose answer was ready.
    Answered,
    /// It has used up a slice of fuel.
    Computed,
}

/// Lets a guest compute to its end, passes its calls to `handler`, and returns what it returned.
/// It computes on `threads`, except for the first slice of fuel after each call where the handler
/// allows that: changing threads twice takes longer than what most strategies compute between two
/// calls.
///
/// Cancel safe: dropping the future ends the guest where it is. A guest that computes ends with
/// its slice of fuel.
pub(crate) async fn drive<R: Send + 'static>(
    mut guest: Guest<R>,
    threads: &GuestThreads,
    handler: &mut dyn CallHandler,
    fuel: FuelLimits,
) -> Result<R, RunError> {
    guest.ready_answers = handler.ready_answers();
    loop {
        let is_replaying = handler.is_replaying();
        let soon = match handler.may_compute_here() {
            true => guest.event_within_slice(fuel, is_replaying).await,
            false => None,
        };
        let event = match soon {
            Some(event) => event,
            None => {
                let computed = threads.run(async move {
                    let event = guest.next_event(fuel, is_replaying).await;
                    (guest, event)
                });
                let Some((back, event)) = computed.await else {
                    let reason = "the threads for strategies have stopped";
                    return Err(RunError::NoRoom(reason.to_owned()));
                };
                guest = back;
                event
            }
        };
        match event {
            GuestEvent::Called(call) => {
                let answer = handler.call(call).await.map_err(RunError::Stopped)?;
                guest.mailbox.put_answer(answer);
            }
            GuestEvent::Ended(Ok(returned)) => return Ok(returned),
            GuestEvent::Ended(Err(error)) if error.is::<PoolConcurrencyLimitError>() => {
                return Err(RunError::PoolFull);
            }
            GuestEvent::Ended(Err(error)) if error.is::<NotInstantiated>() => {
                return Err(RunError::NoRoom(format!("{error:#}")));
            }
            GuestEvent::Ended(Err(error)) => {
                debug!(?error, "strategy crashed");
                let last = guest.last_error_log.as_deref();
                let cause = cause::explain("the strategy", &error, last);
                return Err(RunError::Trapped(cause));
            }
            GuestEvent::OutOfFuel(limits) => {
                let millions = limits.between_calls / 1_000_000;
                let message =
                    format!("the strategy ran {millions} million instructions without a call");
                return Err(RunError::Trapped(Cause::new(CauseKind::Trap, message)));
            }
            GuestEvent::OutOfTotalFuel(limits) => {
                let millions = limits.total / 1_000_000;
                let message = format!(
                    "the strategy ran {millions} million instructions, the limit for one run"
                );
                return Err(RunError::Trapped(Cause::new(CauseKind::Limit, message)));
            }
        }
    }
}

impl<R> Guest<R> {
    /// A guest that `returned` runs, and that leaves its calls in `mailbox`.
    pub(crate) fn new(
        mailbox: Arc<Mailbox>,
        returned: impl Future<Output = wasmtime::Result<R>> + Send + 'static,
    ) -> Self {
        Self {
            returned: Box::pin(returned),
            mailbox,
            ready_answers: None,
            used: 0,
            used_since_call: 0,
            last_error_log: None,
        }
    }

    /// Polls the guest until it makes a call whose answer is not ready, ends, or has used up its
    /// fuel.
    async fn next_event(&mut self, fuel: FuelLimits, is_replaying: bool) -> GuestEvent<R> {
        loop {
            match self.poll(fuel, is_replaying) {
                Polled::Event(event) => return event,
                // Many answers may be ready. Let other guests compute, too.
                Polled::Answered => coop::consume_budget().await,
                Polled::Computed => task::yield_now().await,
            }
        }
    }

    /// As [`Self::next_event`], but `None` if the guest computes for longer than a slice of
    /// fuel.
    async fn event_within_slice(
        &mut self,
        fuel: FuelLimits,
        is_replaying: bool,
    ) -> Option<GuestEvent<R>> {
        loop {
            match self.poll(fuel, is_replaying) {
                Polled::Event(event) => return Some(event),
                Polled::Answered => coop::consume_budget().await,
                Polled::Computed => return None,
            }
        }
    }

    /// Lets the guest compute until its next call, or for a slice of fuel. `was_replaying` holds
    /// up to its first call; later the ready answers tell.
    fn poll(&mut self, fuel: FuelLimits, was_replaying: bool) -> Polled<R> {
        // A guest is never woken: it waits only to be polled.
        let returned = self.returned.as_mut();
        let polled = returned.poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(ended) = polled {
            return Polled::Event(GuestEvent::Ended(ended));
        }
        if let Some(call) = self.mailbox.take_call() {
            self.last_error_log = error_log(&call);
            self.used_since_call = 0;
            let answers = self.ready_answers.as_ref();
            let Some(answer) = answers.and_then(|answers| answers.answer(&call)) else {
                return Polled::Event(GuestEvent::Called(call));
            };
            self.mailbox.put_answer(answer);
            return Polled::Answered;
        }
        let answers = self.ready_answers.as_ref();
        let is_replaying = answers.map_or(was_replaying, |answers| answers.is_replaying());
        // It made its next call within the limits before. The margin is for another release
        // of wasmtime, which may count differently.
        let limits = if is_replaying {
            fuel.times(REPLAY_MARGIN)
        } else {
            fuel
        };
        // Without a call it yields only after each slice of fuel, at the same instruction in
        // every run.
        self.used_since_call = self.used_since_call.saturating_add(FUEL_SLICE);
        self.used = self.used.saturating_add(FUEL_SLICE);
        if self.used_since_call >= limits.between_calls {
            return Polled::Event(GuestEvent::OutOfFuel(limits));
        }
        if self.used >= limits.total {
            return Polled::Event(GuestEvent::OutOfTotalFuel(limits));
        }
        Polled::Computed
    }
}

fn error_log(call: &Call) -> Option<String> {
    match call {
        Call::Log {
            level: Level::Error,
            message,
        } => Some(message.clone()),
        _ => None,
    }
}

impl FuelLimits {
    fn times(self, factor: u64) -> Self {
        Self {
            between_calls: self.between_calls.saturating_mul(factor),
            total: self.total.saturating_mul(factor),
        }
    }
}

impl From<StrategyLimits> for FuelLimits {
    fn from(limits: StrategyLimits) -> Self {
        Self {
            between_calls: limits.fuel,
            total: limits.total_fuel,
        }
    }
}
