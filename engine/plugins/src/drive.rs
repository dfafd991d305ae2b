use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use hotswap_core::{Call, Cause, CauseKind, Level};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::coop;
use tracing::debug;
use wasmtime::PoolConcurrencyLimitError;

use crate::end;
use crate::mailbox::Mailbox;
use crate::strategy::{Calls, Stop};

/// How a guest ended that did not return.
pub(crate) enum End {
    /// It crashed, or used more than it may.
    Trapped(Cause),
    /// The calls ended it.
    Stopped(Stop),
    /// It did not begin: the pool is full.
    Full,
}

/// What a guest did until it was polled last.
enum Step<R> {
    Called(Call),
    Ended(wasmtime::Result<R>),
    Overran,
}

/// Polls a guest to its end, and passes its calls on. Cancel safe: dropping it ends the
/// guest where it is.
pub(crate) async fn drive<R>(
    mut guest: Pin<&mut (impl Future<Output = wasmtime::Result<R>> + Send)>,
    mailbox: &Mailbox,
    calls: &mut dyn Calls,
    compute: Duration,
) -> Result<R, End> {
    // The last thing that it logged as an error, if it has done nothing since.
    let mut last = None;
    loop {
        match step(guest.as_mut(), mailbox, compute).await {
            Step::Called(call) => {
                last = match &call {
                    Call::Log {
                        level: Level::Error,
                        message,
                    } => Some(message.clone()),
                    _ => None,
                };
                // Answers that are always ready, as in a replay, must not keep others out.
                coop::consume_budget().await;
                let answer = calls.call(call).await.map_err(End::Stopped)?;
                mailbox.answer(answer);
            }
            Step::Ended(Ok(returned)) => return Ok(returned),
            Step::Ended(Err(error)) if error.is::<PoolConcurrencyLimitError>() => {
                return Err(End::Full);
            }
            Step::Ended(Err(error)) => {
                debug!(?error, "a strategy crashed");
                return Err(End::Trapped(end::cause(&error, last.as_deref())));
            }
            Step::Overran => {
                let message = format!("the strategy ran for {} without a call", span(compute));
                return Err(End::Trapped(Cause::new(CauseKind::Trap, message)));
            }
        }
    }
}

/// Polls a guest until it calls or ends, or has computed for too long.
async fn step<R>(
    mut guest: Pin<&mut (impl Future<Output = wasmtime::Result<R>> + Send)>,
    mailbox: &Mailbox,
    compute: Duration,
) -> Step<R> {
    let mut spent = Duration::ZERO;
    // Reading the clock is a system call, which a step that computes for less than a tick
    // does not pay.
    let mut interrupted = false;
    poll_fn(move |context| {
        let before = interrupted.then(processor_time);
        if let Poll::Ready(ended) = guest.as_mut().poll(context) {
            return Poll::Ready(Step::Ended(ended));
        }
        if let Some(call) = mailbox.take() {
            return Poll::Ready(Step::Called(call));
        }
        if let Some(before) = before {
            spent += processor_time().saturating_sub(before);
        }
        interrupted = true;
        if spent >= compute {
            return Poll::Ready(Step::Overran);
        }
        Poll::Pending
    })
    .await
}

/// `1 s`, `250 ms`.
fn span(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{} s", time.as_secs()),
        _ => format!("{} ms", time.as_millis()),
    }
}

/// What this thread has computed: time in which it was not on a processor is not the
/// strategy's fault.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}
