use std::sync::Arc;

use hotswap_core::{Answer, Call, CauseKind};
use tokio::task;
use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};

use crate::end::Ended;
use crate::engine::memory;
use crate::limits::{ARGUMENTS, Limits};
use crate::mailbox::Mailbox;

/// Elements of a table: functions that are called by pointer.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;

/// What belongs to one instance.
pub(crate) struct State {
    mailbox: Arc<Mailbox>,
    /// Bytes of all its memories.
    memory: usize,
    /// The most that these may have.
    most: usize,
    /// Whether it has not been interrupted since its last call was answered.
    fresh: bool,
}

impl State {
    /// Passes a call on, and waits for its answer.
    pub(crate) async fn ask(&mut self, call: Call) -> Answer {
        let answer = self.mailbox.ask(call).await;
        self.fresh = true;
        answer
    }
}

/// A store with all limits set, and where its guest leaves its calls.
pub(crate) fn store(engine: &Engine, limits: &Limits) -> (Store<State>, Arc<Mailbox>) {
    let mailbox = Arc::new(Mailbox::default());
    let state = State {
        mailbox: Arc::clone(&mailbox),
        memory: 0,
        most: memory(limits),
        fresh: true,
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| state);
    store.set_hostcall_fuel(ARGUMENTS);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        // The epoch went on while the guest waited for an answer: it has not computed.
        if std::mem::take(&mut store.data_mut().fresh) {
            return Ok(UpdateDeadline::Continue(1));
        }
        let others = Box::pin(task::yield_now());
        Ok(UpdateDeadline::YieldCustom(1, others))
    });
    (store, mailbox)
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let memory = (self.memory - current).saturating_add(desired);
        if memory > self.most {
            let most = self.most >> 10;
            let message = match most % 1024 {
                0 => format!("the strategy needs more than {} MiB of memory", most >> 10),
                _ => format!("the strategy needs more than {most} KiB of memory"),
            };
            return Err(Ended::new(CauseKind::Limit, message).into());
        }
        self.memory = memory;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            let message =
                format!("the strategy needs a table of more than {TABLE_ELEMENTS} elements");
            return Err(Ended::new(CauseKind::Limit, message).into());
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        4
    }
}
