//! Polls a guest to its end and passes its calls on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hotswap_core::{Call, Cause, CauseKind, Level};
use tokio::task::{self, coop};
use tracing::debug;
use wasmtime::PoolConcurrencyLimitError;

use super::cause;
use super::interface::{CallHandler, NotInstantiated, RunError};
use super::mailbox::Mailbox;
use crate::limits::FUEL_SLICE;

/// How much more fuel a replay may use than the limit.
const REPLAY_MARGIN: u64 = 10;

/// What a guest did next.
enum GuestEvent<R> {
    Called(Call),
    Ended(wasmtime::Result<R>),
    OutOfFuel,
}

/// Polls a guest to its end, passes its calls to `handler`, and returns what it returned.
/// `fuel` is what the guest may use between two calls, in whole slices.
///
/// Cancel safe: dropping the future ends the guest where it is.
pub(crate) async fn drive<R>(
    mut guest: Pin<&mut (impl Future<Output = wasmtime::Result<R>> + Send)>,
    mailbox: &Mailbox,
    handler: &mut dyn CallHandler,
    fuel: u64,
) -> Result<R, RunError> {
    // The error that the guest logged, if it has made no other call since.
    let mut last_error_log = None;
    loop {
        // It made its next call within the limit before. The margin is for another release of
        // wasmtime, which may count differently.
        let limit = if handler.is_replaying() {
            fuel.saturating_mul(REPLAY_MARGIN)
        } else {
            fuel
        };
        match next_event(guest.as_mut(), mailbox, limit).await {
            GuestEvent::Called(call) => {
                last_error_log = match &call {
                    Call::Log {
                        level: Level::Error,
                        message,
                    } => Some(message.clone()),
                    _ => None,
                };
                // In a replay every answer is ready at once. Yield to other tasks anyway.
                coop::consume_budget().await;
                let answer = handler.call(call).await.map_err(RunError::Stopped)?;
                mailbox.put_answer(answer);
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
                let cause = cause::explain(&error, last_error_log.as_deref());
                return Err(RunError::Trapped(cause));
            }
            GuestEvent::OutOfFuel => {
                let millions = limit / 1_000_000;
                let message =
                    format!("the strategy ran {millions} million instructions without a call");
                return Err(RunError::Trapped(Cause::new(CauseKind::Trap, message)));
            }
        }
    }
}

/// Polls a guest until it makes a call, ends, or has used `limit` of fuel.
async fn next_event<R>(
    mut guest: Pin<&mut (impl Future<Output = wasmtime::Result<R>> + Send)>,
    mailbox: &Mailbox,
    limit: u64,
) -> GuestEvent<R> {
    let mut spent = 0_u64;
    loop {
        // Nothing wakes a guest: it waits for this loop alone.
        let polled = guest.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(ended) = polled {
            return GuestEvent::Ended(ended);
        }
        if let Some(call) = mailbox.take_call() {
            return GuestEvent::Called(call);
        }
        // Without a call it yields only after each slice of fuel, at the same instruction in
        // every run.
        spent = spent.saturating_add(FUEL_SLICE);
        if spent >= limit {
            return GuestEvent::OutOfFuel;
        }
        task::yield_now().await;
    }
}
