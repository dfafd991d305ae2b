use std::future::poll_fn;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use hotswap_core::{Answer, Call};

/// Passes one call at a time from a guest to the code that drives it, and the answer back.
///
/// Both sides belong to the same future: the driver takes the call between two polls of the
/// guest. So the call is answered on the stack of the task, and the stack of the guest stays
/// as small as the guest made it, however long it waits.
#[derive(Default)]
pub(crate) struct Mailbox(Mutex<Slot>);

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    /// The guest has left a call.
    Requested(Call),
    /// The driver has taken the call and has not answered yet.
    InProgress,
    Answered(Answer),
}

impl Mailbox {
    /// For the guest: leaves a call and waits for its answer.
    pub(crate) async fn call(&self, call: Call) -> Answer {
        *self.slot() = Slot::Requested(call);
        // No waker is registered: the driver polls the guest after it has put the answer.
        poll_fn(|_| {
            let mut slot = self.slot();
            match mem::take(&mut *slot) {
                Slot::Answered(answer) => Poll::Ready(answer),
                other => {
                    *slot = other;
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// For the driver: takes the call, if there is one.
    pub(crate) fn take_call(&self) -> Option<Call> {
        let mut slot = self.slot();
        match mem::replace(&mut *slot, Slot::InProgress) {
            Slot::Requested(call) => Some(call),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// For the driver: puts the answer. The driver must poll the guest next.
    pub(crate) fn put_answer(&self, answer: Answer) {
        *self.slot() = Slot::Answered(answer);
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
