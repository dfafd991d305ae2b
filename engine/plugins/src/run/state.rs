use std::sync::Arc;

use hotswap_core::{Answer, Call, CauseKind};
use tokio::task;
use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};

use super::cause::RunTermination;
use super::mailbox::Mailbox;
use crate::limits::{CALL_BYTES, Limits, TABLE_ELEMENTS};

/// State of one instance, kept in its wasmtime store.
pub(crate) struct InstanceState {
    mailbox: Arc<Mailbox>,
    /// Bytes of all memories together.
    memory_used: usize,
    memory_limit: usize,
    /// Whether the instance was answered a call since the epoch last interrupted it.
    answered_since_interrupt: bool,
}

impl InstanceState {
    /// Passes a call on and waits for its answer.
    pub(crate) async fn call(&mut self, call: Call) -> Answer {
        let answer = self.mailbox.call(call).await;
        self.answered_since_interrupt = true;
        answer
    }
}

/// Makes a store with all limits set, and the mailbox of the instance that will live in it.
pub(crate) fn new_store(engine: &Engine, limits: &Limits) -> (Store<InstanceState>, Arc<Mailbox>) {
    let mailbox = Arc::new(Mailbox::default());
    let state = InstanceState {
        mailbox: Arc::clone(&mailbox),
        memory_used: 0,
        memory_limit: limits.max_memory(),
        answered_since_interrupt: true,
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| state);
    store.set_hostcall_fuel(CALL_BYTES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        // The epoch advanced while the guest waited for its answer, not while it computed.
        if std::mem::take(&mut store.data_mut().answered_since_interrupt) {
            return Ok(UpdateDeadline::Continue(1));
        }
        let yield_to_others = Box::pin(task::yield_now());
        Ok(UpdateDeadline::YieldCustom(1, yield_to_others))
    });
    (store, mailbox)
}

impl ResourceLimiter for InstanceState {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let memory = (self.memory_used - current).saturating_add(desired);
        if memory > self.memory_limit {
            let kib = self.memory_limit >> 10;
            let message = match kib % 1024 {
                0 => format!("the strategy needs more than {} MiB of memory", kib >> 10),
                _ => format!("the strategy needs more than {kib} KiB of memory"),
            };
            return Err(RunTermination::new(CauseKind::Limit, message).into());
        }
        self.memory_used = memory;
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
            return Err(RunTermination::new(CauseKind::Limit, message).into());
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
