use bytes::Bytes;
use hyper::body::Body;
use hyper::{Request, Response};
use tokio::sync::oneshot;
use wasmtime::{Engine, PoolConcurrencyLimitError, Store};
use wasmtime_wasi_http::Error as HttpError;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::instance_state::{InstanceState, yield_or_interrupt};
use super::linked_component::LinkedComponent;

/// What a module responds, or the error code that it reports instead.
pub(super) type ModuleResponse = Result<Response<HyperOutgoingBody>, ErrorCode>;

/// One instance of a module, for one request.
pub(super) struct Instance {
    store: Store<InstanceState>,
    proxy: Proxy,
}

impl Instance {
    /// Creates an instance in the pool, or outside it if the pool is full.
    pub(super) async fn new(
        component: &LinkedComponent,
        state: InstanceState,
    ) -> wasmtime::Result<Self> {
        let mut store = new_store(component.pooled.engine(), state);
        match component.pooled.instantiate_async(&mut store).await {
            Ok(proxy) => Ok(Self { store, proxy }),
            Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                let mut state = store.into_data();
                state.memory.used_bytes = 0;
                let mut store = new_store(component.on_demand.engine(), state);
                let proxy = component.on_demand.instantiate_async(&mut store).await?;
                Ok(Self { store, proxy })
            }
            Err(error) => Err(error),
        }
    }

    /// Runs the module's handler for a request. Sends the head of the response to
    /// `response` as soon as the module sets it; the module writes the body while this runs.
    pub(super) async fn handle<B>(
        &mut self,
        request: Request<B>,
        response: oneshot::Sender<ModuleResponse>,
    ) -> wasmtime::Result<()>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<HttpError>,
    {
        let mut http = self.store.data_mut().http();
        let request = http.new_incoming_request(Scheme::Http, request)?;
        let response = http.new_response_outparam(response)?;
        self.proxy
            .wasi_http_incoming_handler()
            .call_handle(&mut self.store, request, response)
            .await
    }

    /// Linear memory of the instance, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.store.data().memory.used_bytes
    }

    /// Whether the instance asked for more memory than its node had left.
    pub(super) fn exceeded_memory_budget(&self) -> bool {
        self.store.data().memory.budget_exceeded
    }

    /// Whether the instance asked for more memory than its limit.
    pub(super) fn exceeded_memory_limit(&self) -> bool {
        self.store.data().memory.limit_exceeded
    }
}

fn new_store(engine: &Engine, state: InstanceState) -> Store<InstanceState> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.epoch_deadline_callback(yield_or_interrupt);
    store.set_epoch_deadline(1);
    store
}
