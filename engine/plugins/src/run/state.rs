use std::sync::Arc;

use hotswap_core::{Answer, Call};
use wasmtime::{Engine, Store};

use super::mailbox::Mailbox;
use super::memory_limiter::MemoryLimiter;
use crate::limits::{CALL_BYTES, FUEL_SLICE};

/// State of one instance, kept in its wasmtime store.
pub(crate) struct InstanceState {
    mailbox: Arc<Mailbox>,
    memory: MemoryLimiter,
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
        memory: MemoryLimiter::new("the strategy", memory_limit),
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(CALL_BYTES);
    // The store never runs dry: whoever drives the guest counts the slices.
    store.set_fuel(u64::MAX)?;
    store.fuel_async_yield_interval(Some(FUEL_SLICE))?;
    Ok((store, mailbox))
}
