use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Limits;

/// The longest head of a request, in bytes.
const HEAD: usize = 64 << 10;

/// What HTTP/2 clients say first; HTTP/1 ones have said who they are by then.
const PREFACE: usize = 24;

/// How long to wait before accepting again when the process is out of file handles.
const BREATH: Duration = Duration::from_millis(50);

/// How a node stops: first gently, then at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// No new connections; those that are open end with the request they are at.
    pub(crate) gently: CancellationToken,
    /// Everything ends.
    pub(crate) now: CancellationToken,
}

/// Accepts connections and answers requests on them, HTTP/1.1 and HTTP/2 without TLS,
/// until `stop` says otherwise. Connections are counted in `tasks`.
pub(crate) async fn serve<S, F, B>(
    listener: TcpListener,
    service: S,
    limits: Limits,
    stop: Stop,
    tasks: TaskTracker,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let builder = Arc::new(builder(&limits));
    let room = Arc::new(Semaphore::new(limits.connections));
    loop {
        let accepted = tokio::select! {
            () = stop.gently.cancelled() => return,
            accepted = accept(&listener, &room) => accepted,
        };
        let (stream, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let (builder, service, stop) = (builder.clone(), service.clone(), stop.clone());
        let limit = limits.header_time;
        tasks.spawn(async move {
            let io = TokioIo::new(Opening::new(stream, limit));
            let answer = hyper::service::service_fn(move |request| {
                let answer = service(request);
                async move { Ok::<_, std::convert::Infallible>(answer.await) }
            });
            let mut connection = pin!(builder.serve_connection(io, answer));
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.now.cancelled() => Ok(()),
                () = stop.gently.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = connection => ended,
                        () = stop.now.cancelled() => Ok(()),
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(error, "a connection broke");
            }
            drop(place);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = room.clone().acquire_owned().await;
    let place = place.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(HEAD as u32)
        // A client that is gone without a word is found out.
        .keep_alive_interval(limits.header_time)
        .keep_alive_timeout(limits.header_time);
    builder
}

/// A connection whose client must begin to speak in time: hyper's own limits begin once
/// it knows which protocol it is.
struct Opening {
    stream: TcpStream,
    read: usize,
    limit: Option<Pin<Box<Sleep>>>,
}

impl Opening {
    fn new(stream: TcpStream, limit: Duration) -> Self {
        Self {
            stream,
            read: 0,
            limit: Some(Box::pin(tokio::time::sleep(limit))),
        }
    }
}

impl AsyncRead for Opening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(limit) = &mut self.limit else {
            return polled;
        };
        if polled.is_pending() && limit.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.read += buffer.filled().len() - before;
        if self.read >= PREFACE {
            self.limit = None;
        }
        polled
    }
}

impl AsyncWrite for Opening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
