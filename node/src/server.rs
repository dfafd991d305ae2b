//! Serves HTTP on a port.

mod preface_timeout;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hotswap_common::Stopping;
use hotswap_common::tls::{self, ServerTls};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Limits;
use crate::server_span;
use preface_timeout::PrefaceTimeout;

/// Longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Delay before accepting again after an error, such as too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// A port: where it listens, with TLS if it has a certificate.
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<ServerTls>,
}

/// Accepts connections and serves requests on them, HTTP/1.1 and HTTP/2,
/// until the node stops. Tracks connections in `tasks`. Calls `on_malformed` for each
/// request that is not valid HTTP: it ends its connection, and `service` does not see it. `service`
/// gets each request with the address of this machine at which it arrived.
pub(crate) async fn serve<S, F, B>(
    port: Port,
    service: S,
    on_malformed: impl Fn() + Clone + Send + 'static,
    limits: Limits,
    stopping: Stopping,
    tasks: TaskTracker,
) where
    S: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let builder = Arc::new(connection_builder(&limits));
    let free_connections = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            () = stopping.graceful.cancelled() => return,
            accepted = accept(&port.listener, &free_connections) => accepted,
        };
        let (stream, local, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let (builder, service, stopping) = (builder.clone(), service.clone(), stopping.clone());
        let (tls, on_malformed) = (port.tls.clone(), on_malformed.clone());
        let header_timeout = limits.header_timeout;
        let has_tls = tls.is_some();
        tasks.spawn(async move {
            let stream = tokio::select! {
                stream = tls::accept(tls.as_ref(), stream) => stream,
                () = stopping.immediate.cancelled() => return,
            };
            let stream = match stream {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(%error, "a client did not complete the TLS handshake");
                    return;
                }
            };
            let certificate = stream.client_certificate();
            let is_http2 = CancellationToken::new();
            let service = {
                let is_http2 = is_http2.clone();
                service_fn(move |mut request: Request<Incoming>| {
                    if request.version() == Version::HTTP_2 {
                        is_http2.cancel();
                    }
                    if let Some(certificate) = certificate {
                        request.extensions_mut().insert(certificate);
                    }
                    if has_tls {
                        server_span::mark_tls(request.extensions_mut());
                    }
                    let response = service(request, local);
                    async move { Ok::<_, Infallible>(response.await) }
                })
            };
            let io = TokioIo::new(PrefaceTimeout::new(stream, header_timeout));
            let connection = builder.serve_connection(io, service);
            if let Err(error) = stopping.serve(connection, &is_http2).await {
                if is_malformed_request(error.as_ref()) {
                    on_malformed();
                }
                tracing::debug!(error, "a connection failed");
            }
            drop(permit);
        });
    }
}

/// Whether a connection failed because of what its client sent as the head of a request.
fn is_malformed_request(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<hyper::Error>()
        .is_some_and(hyper::Error::is_parse)
}

/// Waits for a free connection before accepting, so that clients above the limit queue in
/// the operating system.
async fn accept(
    listener: &TcpListener,
    free_connections: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = free_connections.clone().acquire_owned().await;
    let permit = permit.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok((stream, local, permit))
}

fn connection_builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        // Detects clients that disappear without closing the connection.
        .keep_alive_interval(limits.header_timeout)
        .keep_alive_timeout(limits.header_timeout);
    builder
}
