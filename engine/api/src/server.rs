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
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, IntoEndpoint};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authority;
use crate::context::Context;
use crate::front::{Front, take_token};
use crate::live::{HubRouter, Hubs};
use crate::metrics::Metrics;
use crate::openapi::{openapi, service};
use crate::routes::Routes;
use crate::{Config, Origin};

/// How long a connection may be silent before and between requests. Longer than the 90 s
/// for which common clients keep one: the client closes first, and never sends a request
/// into a connection that is being closed.
const SILENCE: Duration = Duration::from_secs(100);
/// The head of a request, and what is read ahead of a body.
const BUFFER: usize = 64 << 10;
/// What a client does not acknowledge for so long, in milliseconds, it never will: whoever
/// streams to it would else hear of that a quarter of an hour later.
#[cfg(target_os = "linux")]
const UNHEARD: u32 = 30_000;
/// A socket that cannot be accepted (no file handles left, say) will be no better at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The API, bound to an address.
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    context: Context,
    hubs: Hubs,
    origins: Vec<Origin>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}; choose another address or port")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Server {
    /// Binds the address. Connections wait until [`Self::run`] takes them.
    ///
    /// # Errors
    /// [`Error::Bind`] where the address is taken, or not this machine's.
    pub async fn bind(config: Config, engine: Engine) -> Result<Self, Error> {
        let addr = config.addr;
        let bound = async {
            let listener = TcpListener::bind(addr).await?;
            let addr = listener.local_addr()?;
            io::Result::Ok((listener, addr))
        };
        let (listener, addr) = bound.await.map_err(|source| Error::Bind { addr, source })?;
        if !addr.ip().is_loopback() {
            tracing::warn!(%addr, "tokens travel as they are: put a proxy that speaks TLS in front");
        }
        let hubs = Hubs::new(&engine, &config.live);
        let context = Context {
            metrics: Arc::new(Metrics::new(engine.registry.clone(), hubs.clone())),
            engine,
            authority: Arc::new(Authority::new(config.tokens, config.jwt)),
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

    /// The address that is bound, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown` is done. Then takes no more connections, answers at once
    /// whatever waits on purpose, and lets the other requests end for as long as
    /// [`crate::Limits::grace`] says. Dropping it cuts all connections.
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
        // Also where this is dropped: what goes on beside the connections ends with them.
        let _ended = closing.clone().drop_guard();
        let tasks = context.tasks.clone();
        let front = Arc::new(front(context, hubs.clone(), origins));
        let slots = Arc::new(Semaphore::new(limits.connections));
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let mut following = pin!(async { tokio::join!(metrics.follow(&engine), hubs.follow()) });
        let mut following_ended = false;
        tracing::info!(%addr, "api listening");
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = &mut following, if !following_ended => following_ended = true,
                Some(_) = connections.join_next() => {}
                (stream, peer, slot) = accept(&listener, &slots) => {
                    let served = serve(stream, (addr, peer), Arc::clone(&front), graceful.watcher());
                    connections.spawn(async move {
                        served.await;
                        drop(slot);
                    });
                }
            }
        }
        drop(listener);
        closing.cancel();
        tracing::info!(connections = graceful.count(), "api closing");
        tasks.close();
        let ended = async {
            tokio::join!(
                graceful.shutdown(),
                hubs.shutdown(limits.grace),
                tasks.wait()
            )
        };
        if tokio::time::timeout(limits.grace, ended).await.is_err() {
            tracing::warn!("requests that took too long to end were cut");
        }
    }
}

/// All operations, behind what they share.
fn front(
    context: Context,
    hubs: Hubs,
    origins: Vec<Origin>,
) -> Front<impl Endpoint<Output = poem::Response>> {
    let document = serde_json::from_str(&openapi()).unwrap_or_default();
    let routes = Routes::of(&document).with(Hubs::routes());
    let operations = HubRouter::new(service().into_endpoint(), hubs);
    Front::new(operations, context, routes, origins)
}

/// The next connection for which there is room.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let Ok(slot) = Arc::clone(slots).acquire_owned().await else {
            // Nobody closes the semaphore.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, slot),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Done before poem has the request: it keeps the URI as it came beside its own.
fn without_token_in_query(request: hyper::Request<Incoming>) -> hyper::Request<Incoming> {
    let (mut parts, body) = request.into_parts();
    take_token(&mut parts.uri, &mut parts.headers);
    hyper::Request::from_parts(parts, body)
}

/// Answers the requests of one connection, one after the other, until it is closed.
async fn serve(
    stream: TcpStream,
    (local, peer): (SocketAddr, SocketAddr),
    front: Arc<impl Endpoint<Output = poem::Response> + 'static>,
    watcher: Watcher,
) {
    // Answers are whole when they are written: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNHEARD);
    let (local, peer) = (LocalAddr(local.into()), RemoteAddr(peer.into()));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let request = without_token_in_query(request);
        let front = Arc::clone(&front);
        let request = (request, local.clone(), peer.clone(), Scheme::HTTP).into();
        async move {
            let response = front.get_response(request).await;
            Ok::<hyper::Response<_>, Infallible>(response.into())
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE)
        .max_buf_size(BUFFER);
    let connection = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .into_owned();
    if let Err(error) = watcher.watch(connection).await {
        // A client that goes away is no news.
        let error: &dyn std::error::Error = &*error;
        tracing::debug!(error, "connection ended");
    }
}
