//! Polls a guest to its end and passes its calls on.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use hotswap_core::{Call, Cause, CauseKind, Level};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::coop;
use tracing::debug;
use wasmtime::PoolConcurrencyLimitError;

use super::cause;
use super::interface::{CallHandler, RunError};
use super::mailbox::Mailbox;

/// What a guest did next.
enum GuestEvent<R> {
    Called(Call),
    Ended(wasmtime::Result<R>),
    ExceededComputeTime,
}

/// Polls a guest to its end, passes its calls to `handler`, and returns what it returned.
/// `compute_time` is the processor time that the guest may use between two calls.
///
/// Cancel safe: dropping the future ends the guest where it is.
pub(crate) async fn drive<R>(
    mut guest: Pin<&mut (impl Future<Output = wasmtime::Result<R>> + Send)>,
    mailbox: &Mailbox,
    handler: &mut dyn CallHandler,
    compute_time: Duration,
) -> Result<R, RunError> {
    // The error that the guest logged, if it has made no other call since.
    let mut last_error_log = None;
    loop {
        match next_event(guest.as_mut(), mailbox, compute_time).await {
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
            GuestEvent::Ended(Err(error)) => {
                debug!(?error, "strategy crashed");
                let cause = cause::explain(&error, last_error_log.as_deref());
                return Err(RunError::Trapped(cause));
            }
            GuestEvent::ExceededComputeTime => {
                let time = format_duration(compute_time);
                let message = format!("the strategy ran for {time} without a call");
                return Err(RunError::Trapped(Cause::new(CauseKind::Trap, message)));
            }
        }
    }
}

/// Polls a guest until it makes a call, ends, or has computed for too long.
async fn next_event<R>(
    mut guest: Pin<&mut (impl Future<Output = wasmtime::Result<R>> + Send)>,
    mailbox: &Mailbox,
    compute_time: Duration,
) -> GuestEvent<R> {
    let mut spent = Duration::ZERO;
    // Reading the clock is a system call. A guest that computes for less than a tick between
    // two calls does not pay for it.
    let mut interrupted = false;
    poll_fn(move |context| {
        let before = interrupted.then(thread_cpu_time);
        if let Poll::Ready(ended) = guest.as_mut().poll(context) {
            return Poll::Ready(GuestEvent::Ended(ended));
        }
        if let Some(call) = mailbox.take_call() {
            return Poll::Ready(GuestEvent::Called(call));
        }
        if let Some(before) = before {
            spent += thread_cpu_time().saturating_sub(before);
        }
        interrupted = true;
        if spent >= compute_time {
            return Poll::Ready(GuestEvent::ExceededComputeTime);
        }
        Poll::Pending
    })
    .await
}

/// `1 s`, `250 ms`.
fn format_duration(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{} s", duration.as_secs()),
        _ => format!("{} ms", duration.as_millis()),
    }
}

/// Processor time that this thread has used. Wall-clock time would blame the strategy for
/// time in which the machine was busy with something else.
fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
