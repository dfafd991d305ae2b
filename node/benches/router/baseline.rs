//! The baseline: the smallest server that runs a component.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

struct InstanceState {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: DenyOutgoingRequests,
}

struct DenyOutgoingRequests;

type Body = UnsyncBoxBody<Bytes, Error>;

/// Serves a component on a free loopback port until the process ends.
pub async fn start(component: &[u8]) -> SocketAddr {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(4000)
        .linear_memory_keep_resident(512 << 10)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let engine = Engine::new(&config).expect("an engine");
    let component = Component::new(&engine, component).expect("a component");
    let mut linker = Linker::<InstanceState>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("imports");
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).expect("imports");
    let linked = linker.instantiate_pre(&component).expect("its imports");
    let pre = Arc::new(ProxyPre::new(linked).expect("its exports"));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let addr = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).expect("a socket");
            let pre = pre.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| {
                    let pre = pre.clone();
                    async move { Ok::<_, Infallible>(respond(&pre, request).await) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    addr
}

async fn respond(pre: &ProxyPre<InstanceState>, request: Request<Incoming>) -> Response<Body> {
    let state = InstanceState {
        table: ResourceTable::new(),
        wasi: WasiCtx::builder().build(),
        http: WasiHttpCtx::new(),
        hooks: DenyOutgoingRequests,
    };
    let mut store = Store::new(pre.engine(), state);
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let mut http = store.data_mut().http();
    let request = http
        .new_incoming_request(Scheme::Http, request)
        .expect("a request");
    let response = http.new_response_outparam(sender).expect("a response");
    let pre = pre.clone();
    let task = tokio::spawn(async move {
        let proxy = pre
            .instantiate_async(&mut store)
            .await
            .expect("an instance");
        proxy
            .wasi_http_incoming_handler()
            .call_handle(&mut store, request, response)
            .await
            .expect("no trap");
    });
    let response = receiver.await.expect("a response").expect("no error");
    drop(task);
    response
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
