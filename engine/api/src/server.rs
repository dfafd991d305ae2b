use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hotswap_common::Stopping;
use hotswap_common::tls::{self, ServerTls};
use hotswap_runner::Engine;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use poem::http::header::CONNECTION;
use poem::http::uri::Scheme;
use poem::http::{HeaderValue, StatusCode, Version};
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
/// Requests of one client with HTTP/2 at the same time.
const MAX_HTTP2_STREAMS: u32 = 128;
/// Size of the head of a request with HTTP/2.
const MAX_HTTP2_HEAD: u32 = 64 << 10;
/// How often clients with HTTP/2 are asked for a sign of life, and how long they may take: a client
/// that is gone does not keep its slot.
const HTTP2_PING: Duration = Duration::from_secs(30);
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
    tls: Option<ServerTls>,
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
        if config.tls.is_none() && !addr.ip().is_loopback() {
            tracing::warn!(%addr, "tokens are sent in clear text on this address; set tls.cert and tls.key, or put a proxy with TLS in front");
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
            diagnostics: config.diagnostics,
            metrics: Arc::new(metrics),
            engine,
            authenticator: Authenticator::new(config.tokens, config.jwt),
            wants_node_certificates: config
                .tls
                .as_ref()
                .is_some_and(ServerTls::asks_for_certificates),
            limits: config.limits,
            stopping: Stopping::default(),
            tasks: TaskTracker::new(),
        };
        Ok(Self {
            hubs,
            listener,
            addr,
            tls: config.tls,
            context,
            origins: config.cors_origins,
        })
    }

    /// The bound address, with the actual port.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Validates the tokens of requests.
    pub fn authenticator(&self) -> Authenticator {
        self.context.authenticator.clone()
    }

    /// Reads all metrics of this server, as `/metrics` shows them.
    pub fn metrics(&self) -> impl Fn() -> String + Send + Sync + use<> {
        let metrics = Arc::clone(&self.context.metrics);
        move || metrics.encode()
    }

    /// Cancel this token to begin the lame-duck phase: the server is not ready but keeps serving
    /// until [`Self::run`] is told to shut down, so load balancers have time to send requests
    /// elsewhere. HTTP/1 responses close their connections; HTTP/2 clients are told to open new
    /// ones.
    pub fn lame_duck(&self) -> CancellationToken {
        self.context.stopping.lame_duck.clone()
    }

    /// Serves until `shutdown` completes. Then accepts no more connections, answers waiting
    /// requests at once, asks those who follow events to connect again, and gives the others
    /// [`crate::Limits::grace`] to finish.
    ///
    /// Not cancel safe: dropping the future closes all connections at once.
    // Boxed, and so compiled in this crate, not again in every program that runs a server.
    pub fn run(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> BoxFuture<'static, ()> {
        self.run_until(Box::pin(shutdown))
    }

    fn run_until(self, shutdown: BoxFuture<'static, ()>) -> BoxFuture<'static, ()> {
        Box::pin(self.accept_until(shutdown))
    }

    async fn accept_until(self, mut shutdown: BoxFuture<'static, ()>) {
        let Self {
            listener,
            addr,
            tls,
            context,
            hubs,
            origins,
        } = self;
        let (limits, metrics) = (context.limits, Arc::clone(&context.metrics));
        let (engine, stopping) = (context.engine.clone(), context.stopping.clone());
        // If this future is dropped, tasks that outlive their request end too.
        let _cancel_on_drop = stopping.graceful.clone().drop_guard();
        let tasks = context.tasks.clone();
        let endpoint = Arc::new(endpoint(context, hubs.clone(), origins));
        let slots = Arc::new(Semaphore::new(limits.connections));
        let mut connections = JoinSet::new();
        let mut following = Box::pin(async {
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
                    let (endpoint, stopping) = (Arc::clone(&endpoint), stopping.clone());
                    let tls = tls.clone();
                    connections.spawn(async move {
                        serve(stream, tls, (addr, peer), endpoint, stopping).await;
                        drop(slot);
                    });
                }
            }
        }
        drop(listener);
        // What is not polled any more must not wait in queues in which requests wait, too.
        drop(following);
        stopping.lame_duck.cancel();
        stopping.graceful.cancel();
        tracing::info!(connections = connections.len(), "api shutting down");
        tasks.close();
        let drained = async {
            let connections = async { while connections.join_next().await.is_some() {} };
            tokio::join!(connections, hubs.shutdown(limits.grace), tasks.wait())
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

/// Answers the requests of one connection until it closes.
async fn serve(
    stream: TcpStream,
    tls: Option<ServerTls>,
    (local, peer): (SocketAddr, SocketAddr),
    endpoint: Arc<impl Endpoint<Output = poem::Response> + 'static>,
    stopping: Stopping,
) {
    // Responses are written whole: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, TCP_USER_TIMEOUT);
    let stream = match tls::accept(tls.as_ref(), stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, %peer, "a client did not complete the TLS handshake");
            return;
        }
    };
    let (local, peer) = (LocalAddr(local.into()), RemoteAddr(peer.into()));
    let certificate = stream.client_certificate();
    let scheme = match stream.is_http2() {
        Some(_) => Scheme::HTTPS,
        None => Scheme::HTTP,
    };
    let builder = connection_builder(stream.is_http2().unwrap_or_default());
    let is_http2 = CancellationToken::new();
    // Of this connection: it can end before the others.
    let own_stopping = Stopping {
        graceful: stopping.graceful.child_token(),
        ..stopping.clone()
    };
    let service = {
        let (closing, is_http2) = (own_stopping.graceful.clone(), is_http2.clone());
        service_fn(move |mut request: hyper::Request<Incoming>| {
            let is_http1 = request.version() <= Version::HTTP_11;
            if !is_http1 {
                is_http2.cancel();
            }
            if let Some(certificate) = certificate {
                request.extensions_mut().insert(certificate);
            }
            let request = without_query_token(request);
            let (endpoint, stopping) = (Arc::clone(&endpoint), stopping.clone());
            let closing = closing.clone();
            let mut request = (request, local.clone(), peer.clone(), scheme.clone()).into();
            async move {
                let unread = UnreadBody::of(&mut request);
                let mut response = endpoint.get_response(request).await;
                let is_read = match unread {
                    Some(unread) => unread.drain().await,
                    None => true,
                };
                let is_upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                // The client's next request goes to another engine, before the port closes.
                if is_http1 && !is_upgrade && (!is_read || stopping.has_begun()) {
                    let headers = response.headers_mut();
                    headers.insert(CONNECTION, HeaderValue::from_static("close"));
                }
                // HTTP/2 has GOAWAY for this.
                if !is_http1 && response.headers_mut().remove(CONNECTION).is_some() {
                    closing.cancel();
                }
                Ok::<hyper::Response<_>, Infallible>(response.into())
            }
        })
    };
    let connection = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .into_owned();
    if let Err(error) = own_stopping.serve(connection, &is_http2).await {
        // Debug, because clients go away all the time.
        let error: &dyn std::error::Error = &*error;
        tracing::debug!(error, "connection ended");
    }
}

/// HTTP/2 where both sides have agreed on it, else HTTP/1.
fn connection_builder(is_http2: bool) -> auto::Builder<TokioExecutor> {
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = match is_http2 {
        true => builder.http2_only(),
        false => builder.http1_only(),
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(READ_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_HTTP2_STREAMS)
        .max_header_list_size(MAX_HTTP2_HEAD)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    builder
}
