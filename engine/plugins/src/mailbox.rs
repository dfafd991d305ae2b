use std::future::poll_fn;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use hotswap_core::{Answer, Call};

/// Where a guest leaves a call, and finds its answer. Both sides belong to one future:
/// whoever runs the guest takes the call between two polls of it.
///
/// So the call is answered on the task's own stack, and the guest's stack stays as small
/// as the guest made it, however long it waits.
#[derive(Default)]
pub(crate) struct Mailbox(Mutex<Slot>);

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    Asked(Call),
    Asking,
    Answered(Answer),
}

impl Mailbox {
    /// The guest's side: leaves the call, and is pending until it is polled again with
    /// an answer there.
    pub(crate) async fn ask(&self, call: Call) -> Answer {
        *self.slot() = Slot::Asked(call);
        // Nobody is to be woken: the other side polls when it has put the answer there.
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

    /// The other side: takes the call, if there is one.
    pub(crate) fn take(&self) -> Option<Call> {
        let mut slot = self.slot();
        match mem::replace(&mut *slot, Slot::Asking) {
            Slot::Asked(call) => Some(call),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// The other side: puts the answer there. The guest is to be polled next.
    pub(crate) fn answer(&self, answer: Answer) {
        *self.slot() = Slot::Answered(answer);
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
