use std::sync::Arc;

use hotswap_core::{Answer, Call, CauseKind};
use wasmtime::{Engine, ResourceLimiter, Store};

use super::cause::RunTermination;
use super::mailbox::Mailbox;
use crate::limits::{CALL_BYTES, FUEL_SLICE, TABLE_ELEMENTS};

/// State of one instance, kept in its wasmtime store.
pub(crate) struct InstanceState {
    mailbox: Arc<Mailbox>,
    /// Bytes of all memories together.
    memory_used: usize,
    memory_limit: usize,
}

impl InstanceState {
    /// Passes a call on and waits for its answer.
    pub(crate) async fn call(&mut self, call: Call) -> Answer {
        self.mailbox.call(call).await
    }
}

/// Makes a store with all limits set, and the mailbox of the instance that will live in it.
///
/// # Errors
/// Never for an engine of this crate: each counts fuel.
pub(crate) fn new_store(
    engine: &Engine,
    memory_limit: usize,
) -> wasmtime::Result<(Store<InstanceState>, Arc<Mailbox>)> {
    let mailbox = Arc::new(Mailbox::default());
    let state = InstanceState {
        mailbox: Arc::clone(&mailbox),
        memory_used: 0,
        memory_limit,
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| state);
    store.set_hostcall_fuel(CALL_BYTES);
    // The store never runs dry: whoever drives the guest counts the slices.
    store.set_fuel(u64::MAX)?;
    store.fuel_async_yield_interval(Some(FUEL_SLICE))?;
    Ok((store, mailbox))
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
