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

/// Lets a guest compute on `threads` to its end, passes its calls to `handler`, and returns what
/// it returned.
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
        let computed = threads.run(async move {
            let event = guest.next_event(fuel, is_replaying).await;
            (guest, event)
        });
        let Some((back, event)) = computed.await else {
            let reason = "the threads for strategies have stopped";
            return Err(RunError::NoRoom(reason.to_owned()));
        };
        guest = back;
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
                let cause = cause::explain(&error, guest.last_error_log.as_deref());
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
            last_error_log: None,
        }
    }

    /// Polls the guest until it makes a call whose answer is not ready, ends, or has used up its
    /// fuel.
    async fn next_event(&mut self, fuel: FuelLimits, mut is_replaying: bool) -> GuestEvent<R> {
        let mut used_since_call = 0_u64;
        loop {
            // Nothing wakes a guest: it waits for this loop alone.
            let returned = self.returned.as_mut();
            let polled = returned.poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(ended) = polled {
                return GuestEvent::Ended(ended);
            }
            if let Some(call) = self.mailbox.take_call() {
                self.last_error_log = error_log(&call);
                let Some(answers) = &self.ready_answers else {
                    return GuestEvent::Called(call);
                };
                let Some(answer) = answers.answer(&call) else {
                    return GuestEvent::Called(call);
                };
                is_replaying = answers.is_replaying();
                self.mailbox.put_answer(answer);
                used_since_call = 0;
                // Many answers may be ready. Let other guests compute, too.
                coop::consume_budget().await;
                continue;
            }
            // It made its next call within the limits before. The margin is for another release
            // of wasmtime, which may count differently.
            let limits = if is_replaying {
                fuel.times(REPLAY_MARGIN)
            } else {
                fuel
            };
            // Without a call it yields only after each slice of fuel, at the same instruction in
            // every run.
            used_since_call = used_since_call.saturating_add(FUEL_SLICE);
            self.used = self.used.saturating_add(FUEL_SLICE);
            if used_since_call >= limits.between_calls {
                return GuestEvent::OutOfFuel(limits);
            }
            if self.used >= limits.total {
                return GuestEvent::OutOfTotalFuel(limits);
            }
            task::yield_now().await;
        }
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
