use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hotswap_runner::Engine;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use poem::http::HeaderValue;
use poem::http::header::CONNECTION;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, IntoEndpoint};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authenticator;
use crate::context::Context;
use crate::live::{HubRouter, Hubs};
use crate::metrics::Metrics;
use crate::middleware::{WithMiddleware, take_query_token};
use crate::openapi::{openapi, service};
use crate::pages::Pages;
use crate::rest::operations;
use crate::routes::Routes;
use crate::unread_body::UnreadBody;
use crate::{Config, Origin};

/// How long a connection may be idle before and between requests. Common clients keep one for
/// 90 s. With a longer time the client closes first, and never sends a request into a
/// connection that the server is closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(100);
/// Maximum buffer of a connection in bytes: the request head and what has arrived of the body.
const READ_BUFFER: usize = 64 << 10;
/// In milliseconds: a connection whose client acknowledges nothing for so long is lost.
/// Without it, a stream to a lost client would end a quarter of an hour later.
#[cfg(target_os = "linux")]
const TCP_USER_TIMEOUT: u32 = 30_000;
/// The pause after a failure to accept. The reason, such as no free file handles, does not
/// pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The HTTP server of an engine, bound to an address.
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    context: Context,
    hubs: Hubs,
    origins: Vec<Origin>,
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be bound.
    #[error("cannot listen on {addr}; choose another address or port")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

impl Server {
    /// Binds the address. Connections wait until [`Self::run`] accepts them.
    ///
    /// # Errors
    /// [`Error::Bind`] where the address is in use, or is not an address of this machine.
    pub async fn bind(config: Config, engine: Engine) -> Result<Self, Error> {
        let addr = config.addr;
        let bound = async {
            let listener = TcpListener::bind(addr).await?;
            let addr = listener.local_addr()?;
            io::Result::Ok((listener, addr))
        };
        let (listener, addr) = bound.await.map_err(|source| Error::Bind { addr, source })?;
        if !addr.ip().is_loopback() {
            tracing::warn!(%addr, "tokens are sent in clear text on this address; put a proxy with TLS in front");
        }
        let sources = config.sources.after(Arc::new(engine.registry.clone()));
        let hubs = Hubs::new(&engine, sources.clone(), &config.live);
        let hub_connections = {
            let hubs = hubs.clone();
            move || hubs.connections()
        };
        let metrics = Metrics::new(
            engine.registry.clone(),
            (sources.clone(), config.polled.clone()),
            engine.deployments.clone(),
            hub_connections,
        );
        let context = Context {
            sources,
            polled: config.polled,
            metrics: Arc::new(metrics),
            engine,
            authenticator: Arc::new(Authenticator::new(config.tokens, config.jwt)),
            limits: config.limits,
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Ok(Self {
            hubs,
            listener,
            addr,
            context,
            origins: config.cors_origins,
        })
    }

    /// The bound address, with the actual port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown` completes. Then accepts no more connections, answers waiting
    /// requests at once, and gives the others [`crate::Limits::grace`] to finish.
    ///
    /// Not cancel safe: dropping the future closes all connections at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self {
            listener,
            addr,
            context,
            hubs,
            origins,
        } = self;
        let (limits, metrics) = (context.limits, Arc::clone(&context.metrics));
        let (engine, closing) = (context.engine.clone(), context.closing.clone());
        // If this future is dropped, tasks that outlive their request end too.
        let _cancel_on_drop = closing.clone().drop_guard();
        let tasks = context.tasks.clone();
        let endpoint = Arc::new(endpoint(context, hubs.clone(), origins));
        let slots = Arc::new(Semaphore::new(limits.connections));
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let mut following = pin!(async {
            tokio::join!(
                metrics.follow(&engine),
                metrics.follow_disk(&engine),
                hubs.follow()
            )
        });
        let mut following_ended = false;
        tracing::info!(%addr, "api listening");
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = &mut following, if !following_ended => following_ended = true,
                Some(_) = connections.join_next() => {}
                (stream, peer, slot) = accept(&listener, &slots) => {
                    let served = serve(stream, (addr, peer), Arc::clone(&endpoint), graceful.watcher());
                    connections.spawn(async move {
                        served.await;
                        drop(slot);
                    });
                }
            }
        }
        drop(listener);
        closing.cancel();
        tracing::info!(connections = graceful.count(), "api shutting down");
        tasks.close();
        let drained = async {
            tokio::join!(
                graceful.shutdown(),
                hubs.shutdown(limits.grace),
                tasks.wait()
            )
        };
        if tokio::time::timeout(limits.grace, drained).await.is_err() {
            tracing::warn!("requests did not finish in time; closing their connections");
        }
    }
}

/// The hubs, the REST API and the pages, behind the middleware.
fn endpoint(
    context: Context,
    hubs: Hubs,
    origins: Vec<Origin>,
) -> WithMiddleware<impl Endpoint<Output = poem::Response>> {
    let document = serde_json::from_str(&openapi()).unwrap_or_default();
    let routes = Routes::from_openapi(&document).with(Hubs::routes());
    let api = service((operations(), Pages)).into_endpoint();
    WithMiddleware::new(HubRouter::new(api, hubs), context, routes, origins)
}

/// The next connection, once there is a free slot for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            // Unreachable: nothing closes the semaphore.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, slot),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Moves a token from the query to a header. This must happen before poem gets the request,
/// because poem keeps the original URI.
fn without_query_token(request: hyper::Request<Incoming>) -> hyper::Request<Incoming> {
    let (mut parts, body) = request.into_parts();
    take_query_token(&mut parts.uri, &mut parts.headers);
    hyper::Request::from_parts(parts, body)
}

/// Answers the requests of one connection, one after the other, until it closes.
async fn serve(
    stream: TcpStream,
    (local, peer): (SocketAddr, SocketAddr),
    endpoint: Arc<impl Endpoint<Output = poem::Response> + 'static>,
    watcher: Watcher,
) {
    // Responses are written whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, TCP_USER_TIMEOUT);
    let (local, peer) = (LocalAddr(local.into()), RemoteAddr(peer.into()));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let request = without_query_token(request);
        let endpoint = Arc::clone(&endpoint);
        let mut request = (request, local.clone(), peer.clone(), Scheme::HTTP).into();
        async move {
            let unread = UnreadBody::of(&mut request);
            let mut response = endpoint.get_response(request).await;
            if let Some(unread) = unread
                && !unread.drain().await
            {
                let headers = response.headers_mut();
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<hyper::Response<_>, Infallible>(response.into())
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(READ_BUFFER);
    let connection = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .into_owned();
    if let Err(error) = watcher.watch(connection).await {
        // Debug, because clients go away all the time.
        let error: &dyn std::error::Error = &*error;
        tracing::debug!(error, "connection ended");
    }
}
