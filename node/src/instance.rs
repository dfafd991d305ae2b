use std::time::Instant;

use bytes::Bytes;
use hyper::Request;
use hyper::body::Body;
use tokio::sync::oneshot;
use wasmtime::component::ResourceTable;
use wasmtime::{
    PoolConcurrencyLimitError, ResourceLimiter, Store, StoreContextMut, UpdateDeadline,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

use crate::runtime::Loaded;

/// What a module answers, or why it says that it cannot.
pub(crate) type Answer = Result<hyper::Response<HyperOutgoingBody>, ErrorCode>;

/// What one instance has: no files, no environment, no network; clocks, randomness and
/// the request that it lives for.
pub(crate) struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    memory: Memory,
    deadline: Instant,
}

impl State {
    /// With at most `limit` bytes of memory, until `deadline`.
    pub(crate) fn new(limit: usize, deadline: Instant) -> Self {
        Self {
            table: ResourceTable::new(),
            wasi: WasiCtx::builder().build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks,
            memory: Memory {
                limit,
                used: 0,
                refused: false,
            },
            deadline,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// Refuses requests that a module would send: it has no right to the network.
struct Hooks;

type Sent = Box<
    dyn Future<
            Output = Result<
                (
                    hyper::Response<WasiBody>,
                    Box<dyn Future<Output = Result<(), HttpError>> + Send>,
                ),
                HttpError,
            >,
        > + Send,
>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        _request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Sent {
        Box::new(async { Err(HttpError::HttpRequestDenied) })
    }
}

/// Counts what an instance's memories hold together.
struct Memory {
    limit: usize,
    used: usize,
    refused: bool,
}

/// Far above what a real module has; bounds what the host allocates for tables.
const TABLE_ELEMENTS: usize = 1 << 20;

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        let allowed = used <= self.limit;
        if allowed {
            self.used = used;
        } else {
            self.refused = true;
        }
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}

/// One instance of a module, for one request.
pub(crate) struct Instance {
    store: Store<State>,
    proxy: Proxy,
}

impl Instance {
    /// From the pool, or, where that is full, on its own.
    pub(crate) async fn new(loaded: &Loaded, state: State) -> wasmtime::Result<Self> {
        let mut store = prepared(loaded.pooled.engine(), state);
        match loaded.pooled.instantiate_async(&mut store).await {
            Ok(proxy) => Ok(Self { store, proxy }),
            Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                let mut state = store.into_data();
                state.memory.used = 0;
                let mut store = prepared(loaded.spare.engine(), state);
                let proxy = loaded.spare.instantiate_async(&mut store).await?;
                Ok(Self { store, proxy })
            }
            Err(error) => Err(error),
        }
    }

    /// Has the module answer a request; its answer goes to `answer` as soon as it is
    /// known, and its body while this runs.
    pub(crate) async fn handle<B>(
        &mut self,
        request: Request<B>,
        answer: oneshot::Sender<Answer>,
    ) -> wasmtime::Result<()>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<HttpError>,
    {
        let mut http = self.store.data_mut().http();
        let request = http.new_incoming_request(Scheme::Http, request)?;
        let answer = http.new_response_outparam(answer)?;
        self.proxy
            .wasi_http_incoming_handler()
            .call_handle(&mut self.store, request, answer)
            .await
    }

    /// Linear memory that it holds, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().memory.used
    }

    /// Whether it asked for more memory than it may have.
    pub(crate) fn wanted_more_memory(&self) -> bool {
        self.store.data().memory.refused
    }
}

fn prepared(engine: &wasmtime::Engine, state: State) -> Store<State> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.epoch_deadline_callback(yield_or_end);
    store.set_epoch_deadline(1);
    store
}

/// Lets others have the thread; ends what has had its time.
fn yield_or_end(store: StoreContextMut<'_, State>) -> wasmtime::Result<UpdateDeadline> {
    if Instant::now() >= store.data().deadline {
        return Ok(UpdateDeadline::Interrupt);
    }
    Ok(UpdateDeadline::YieldCustom(
        1,
        Box::pin(tokio::task::yield_now()),
    ))
}
