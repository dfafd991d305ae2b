use std::time::Instant;

use hyper::{Request, Response};
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::memory_budget::MemoryGrant;

/// Far above what a real module needs; bounds what the host allocates for tables.
const MAX_TABLE_ELEMENTS: usize = 1 << 20;

/// Host state of one instance. An instance has clocks, randomness and the request that it
/// handles, but no files, environment variables or network.
pub(super) struct InstanceState {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: DenyOutgoingRequests,
    pub(super) memory: MemoryLimiter,
    deadline: Instant,
}

/// Limits the memory of an instance, and counts it over all linear memories.
pub(super) struct MemoryLimiter {
    limit_bytes: usize,
    pub(super) used_bytes: usize,
    /// Whether the instance asked for more than the limit.
    pub(super) limit_exceeded: bool,
    /// What it has of the node's memory.
    grant: MemoryGrant,
    /// Whether the instance asked for more than the node has left.
    pub(super) budget_exceeded: bool,
}

/// Rejects HTTP requests that a module sends: modules have no network.
struct DenyOutgoingRequests;

impl InstanceState {
    /// State of an instance that may use `memory_bytes`, as far as the node has them beyond `grant`,
    /// and run until `deadline`.
    pub(super) fn new(memory_bytes: usize, grant: MemoryGrant, deadline: Instant) -> Self {
        Self {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder().build(),
            http: WasiHttpCtx::new(),
            hooks: DenyOutgoingRequests,
            memory: MemoryLimiter {
                limit_bytes: memory_bytes,
                used_bytes: 0,
                limit_exceeded: false,
                grant,
                budget_exceeded: false,
            },
            deadline,
        }
    }
}

/// Epoch callback: yields the thread to other requests, or ends an instance whose time is
/// over.
pub(super) fn yield_or_interrupt(
    store: StoreContextMut<'_, InstanceState>,
) -> wasmtime::Result<UpdateDeadline> {
    if Instant::now() >= store.data().deadline {
        return Ok(UpdateDeadline::Interrupt);
    }
    Ok(UpdateDeadline::YieldCustom(
        1,
        Box::pin(tokio::task::yield_now()),
    ))
}

impl WasiView for InstanceState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for InstanceState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

type SendRequestFuture = Box<
    dyn Future<
            Output = Result<
                (
                    Response<WasiBody>,
                    Box<dyn Future<Output = Result<(), Error>> + Send>,
                ),
                Error,
            >,
        > + Send,
>;

impl WasiHttpHooks for DenyOutgoingRequests {
    fn send_request(
        &mut self,
        _request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _body_sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> SendRequestFuture {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self
            .used_bytes
            .saturating_add(desired.saturating_sub(current));
        if used > self.limit_bytes {
            self.limit_exceeded = true;
            return Ok(false);
        }
        if !self.grant.grow_to(used) {
            self.budget_exceeded = true;
            return Ok(false);
        }
        self.used_bytes = used;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }
}
