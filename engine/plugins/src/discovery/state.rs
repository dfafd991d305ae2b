use std::sync::Arc;

use hotswap_core::{Cause, CauseKind};
use tokio::time::Instant;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store};
use wasmtime_wasi::clocks::WasiClocksCtx;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::limits::BackendLimits;
use super::outgoing::{Outgoing, OutgoingHooks};
use crate::limits::FUEL_SLICE;
use crate::run::MemoryLimiter;

/// Bytes that one call may pass between the component and the engine.
const CALL_BYTES: usize = 64 << 20;

/// Requests, answers, streams and waits that an instance has at the same time.
const MAX_RESOURCES: usize = 1024;

/// State of one instance, kept in its wasmtime store.
pub(super) struct BackendState {
    pub(super) table: ResourceTable,
    pub(super) clocks: WasiClocksCtx,
    pub(super) outgoing: Arc<Outgoing>,
    pub(super) started: Instant,
    /// Lines that it may still log in this call.
    pub(super) log_lines_left: u32,
    /// The line that it last logged as an error.
    pub(super) last_error_log: Option<String>,
    http: WasiHttpCtx,
    hooks: OutgoingHooks,
    memory: MemoryLimiter,
}

impl WasiHttpView for BackendState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: &mut self.table,
            hooks: &mut self.hooks,
        }
    }
}

/// Makes a store with all limits set.
pub(super) fn new_store(
    engine: &Engine,
    outgoing: Arc<Outgoing>,
) -> wasmtime::Result<Store<BackendState>> {
    let mut table = ResourceTable::new();
    table.set_max_capacity(MAX_RESOURCES);
    let memory = outgoing.limits.max_memory();
    let state = BackendState {
        table,
        clocks: WasiClocksCtx::default(),
        hooks: OutgoingHooks(Arc::clone(&outgoing)),
        outgoing,
        started: Instant::now(),
        log_lines_left: 0,
        last_error_log: None,
        http: WasiHttpCtx::new(),
        memory: MemoryLimiter::new("the backend", memory),
    };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(CALL_BYTES);
    store.fuel_async_yield_interval(Some(FUEL_SLICE))?;
    Ok(store)
}

/// Gives the instance what it may use in one call.
pub(super) fn begin_call(
    store: &mut Store<BackendState>,
    limits: &BackendLimits,
) -> wasmtime::Result<()> {
    store.set_fuel(limits.fuel)?;
    let state = store.data_mut();
    state.log_lines_left = limits.log_lines;
    state.last_error_log = None;
    Ok(())
}

/// Why the component ended with an error.
pub(super) fn explain(
    error: &wasmtime::Error,
    state: &BackendState,
    limits: &BackendLimits,
) -> Cause {
    if error.downcast_ref() == Some(&wasmtime::Trap::OutOfFuel) {
        let millions = limits.fuel / 1_000_000;
        let message = format!("the backend ran {millions} million instructions in one call");
        return Cause::new(CauseKind::Limit, message);
    }
    crate::run::cause::explain("the backend", error, state.last_error_log.as_deref())
}
