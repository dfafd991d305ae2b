//! Serves HTTP on a port.

mod preface_timeout;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Limits;
use preface_timeout::PrefaceTimeout;

/// Longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Delay before accepting again after an error, such as too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Signals for shutting down a node: first graceful, then immediate.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shutdown {
    /// Accept no new connections. Open connections end after their current request.
    pub(crate) graceful: CancellationToken,
    /// Close all connections and end all tasks.
    pub(crate) immediate: CancellationToken,
}

/// Accepts connections and serves requests on them, HTTP/1.1 and HTTP/2 without TLS,
/// until `shutdown` is signalled. Tracks connections in `tasks`. Calls `on_malformed` for each
/// request that is not valid HTTP: it ends its connection, and `service` does not see it. `service`
/// gets each request with the address of this machine at which it arrived.
pub(crate) async fn serve<S, F, B>(
    listener: TcpListener,
    service: S,
    on_malformed: impl Fn() + Clone + Send + 'static,
    limits: Limits,
    shutdown: Shutdown,
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
            () = shutdown.graceful.cancelled() => return,
            accepted = accept(&listener, &free_connections) => accepted,
        };
        let (stream, local, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let (builder, service, shutdown) = (builder.clone(), service.clone(), shutdown.clone());
        let on_malformed = on_malformed.clone();
        let header_timeout = limits.header_timeout;
        tasks.spawn(async move {
            let io = TokioIo::new(PrefaceTimeout::new(stream, header_timeout));
            let service = service_fn(move |request| {
                let response = service(request, local);
                async move { Ok::<_, Infallible>(response.await) }
            });
            let mut connection = pin!(builder.serve_connection(io, service));
            let result = tokio::select! {
                result = connection.as_mut() => result,
                () = shutdown.immediate.cancelled() => Ok(()),
                () = shutdown.graceful.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        result = connection => result,
                        () = shutdown.immediate.cancelled() => Ok(()),
                    }
                }
            };
            if let Err(error) = result {
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
