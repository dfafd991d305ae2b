use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Release};
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use hotswap_protocol::Version as VersionId;
use http::{HeaderName, HeaderValue, StatusCode};
use hyper::{Request, Response};
use tokio::sync::oneshot;
use tokio::time::error::Elapsed;
use tokio_util::task::TaskTracker;
use wasmtime::Trap;
use wasmtime_wasi_http::Error as HttpError;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use crate::body::{Body, Broken};
use crate::compiled;
use crate::config::Limits;
use crate::counters::{Counters, Ticket};
use crate::gate::{Gate, Pass};
use crate::instance::{Answer, Instance, State};
use crate::meter::Metered;
use crate::problem::{problem, response};
use crate::runtime::Loaded;

/// Tells the client which version answered: `1.2.3`.
const VERSION_HEADER: HeaderName = HeaderName::from_static("x-hotswap-version");

/// One version of a module, loaded. Requests hold it for as long as they run; when
/// the last of them has ended and no slot holds it either, its code is unloaded.
pub(crate) struct Version {
    id: VersionId,
    /// `checkout 1.2.3`, for messages.
    name: String,
    header: HeaderValue,
    loaded: Arc<Loaded>,
    counters: Arc<Counters>,
    gate: Arc<Gate>,
    limits: Limits,
    /// Counts what goes on after an answer's head was sent.
    tasks: TaskTracker,
}

/// Why a version did not answer.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("too many requests at once")]
    Busy,
    #[error("took longer than it may")]
    Time,
    #[error("wanted more memory than it may have")]
    Memory,
    #[error("trapped: {0}")]
    Trap(String),
    #[error("returned without an answer")]
    Silent,
    #[error("gave up: {0}")]
    Declared(ErrorCode),
}

impl Version {
    /// Loaded code under a version's name. Counts in `counters`.
    pub(crate) fn new(
        module: &str,
        id: VersionId,
        loaded: Arc<Loaded>,
        counters: Arc<Counters>,
        limits: Limits,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: format!("{module} {}", id.version),
            // A semantic version is ASCII.
            header: HeaderValue::from_str(&id.version)
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            id,
            loaded,
            counters,
            gate: Gate::new(limits.concurrency),
            limits,
            tasks,
        })
    }

    /// Which it is.
    pub(crate) fn id(&self) -> &VersionId {
        &self.id
    }

    /// Makes an instance and drops it, so that one that cannot start is found out before
    /// it gets requests, and the first of them does not wait for memory to be mapped.
    pub(crate) async fn warm(&self) -> Result<(), compiled::Error> {
        let until = Instant::now() + self.limits.request_time;
        let state = State::new(self.limits.memory, until);
        let instance = tokio::time::timeout_at(until.into(), Instance::new(&self.loaded, state));
        match instance.await {
            Ok(instance) => instance.map(drop).map_err(compiled::Error::Start),
            Err(_) => Err(compiled::Error::Start(wasmtime::Error::msg(
                "it does not come to its end",
            ))),
        }
    }

    /// Answers a request, and counts it when the answer's body has ended. Always has an
    /// answer: a module's fault becomes a problem with status 500, 503 or 504.
    pub(crate) async fn answer<B>(self: &Arc<Self>, request: Request<B>) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<HttpError>,
    {
        let mut ticket = Ticket::new(self.counters.clone());
        let mut answer = self.answer_uncounted(request).await;
        ticket.answered(answer.status());
        answer.body_mut().count(ticket);
        answer
    }

    /// The same for a probe, which is not one of the requests that versions are judged by.
    pub(crate) async fn answer_uncounted<B>(self: &Arc<Self>, request: Request<B>) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<HttpError>,
    {
        let mut answer = match self.run(request).await {
            Ok(answer) => answer,
            Err(fault) => self.explain(&fault),
        };
        answer
            .headers_mut()
            .insert(VERSION_HEADER, self.header.clone());
        answer
    }

    async fn run<B>(self: &Arc<Self>, request: Request<B>) -> Result<Response<Body>, Fault>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<HttpError>,
    {
        let pass = self.gate.enter(self.limits.queue_time).await;
        let pass = pass.ok_or(Fault::Busy)?;
        let broken = Broken::new(AtomicBool::new(false));
        let (sender, mut receiver) = oneshot::channel();
        let driven = self.clone().drive(pass, request, sender, broken.clone());
        let mut module = Metered::new(self.counters.clone(), driven);

        // Most modules end together with their answer, in one poll; only those that go
        // on writing need a task of their own.
        let answer = tokio::select! {
            biased;
            ended = &mut module => {
                ended?;
                receiver.try_recv().map_err(|_| Fault::Silent)?
            }
            answer = &mut receiver => {
                let answer = answer.map_err(|_| Fault::Silent)?;
                let version = self.clone();
                self.tasks.spawn(async move {
                    if let Err(fault) = module.await {
                        version.report(&fault);
                    }
                });
                answer
            }
        };
        let answer = answer.map_err(Fault::Declared)?;
        Ok(answer.map(|body| Body::module(body, broken)))
    }

    /// Runs the module for one request, to its end. Sets `broken` before the streams of
    /// one that fails are closed.
    async fn drive<B>(
        self: Arc<Self>,
        pass: Pass,
        request: Request<B>,
        answer: oneshot::Sender<Answer>,
        broken: Broken,
    ) -> Result<(), Fault>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<HttpError>,
    {
        let until = Instant::now() + self.limits.request_time;
        let state = State::new(self.limits.memory, until);
        let instance = within(until, Instance::new(&self.loaded, state));
        let mut instance = instance
            .await
            .map_err(|_| Fault::Time)?
            .map_err(|error| Fault::of(&error))?;
        let ended = within(until, instance.handle(request, answer)).await;
        let ended = match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) if instance.wanted_more_memory() => Err(Fault::Memory),
            Ok(Err(error)) => Err(Fault::of(&error)),
            Err(_) => Err(Fault::Time),
        };
        if ended.is_err() {
            broken.store(true, Release);
        }
        self.counters.memory(instance.memory());
        drop(instance);
        drop(pass);
        ended
    }

    fn explain(&self, fault: &Fault) -> Response<Body> {
        self.report(fault);
        let (status, kind, title) = match fault {
            Fault::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "module-busy",
                "The module has too many requests",
            ),
            Fault::Time => (
                StatusCode::GATEWAY_TIMEOUT,
                "module-time",
                "The module took too long",
            ),
            Fault::Memory | Fault::Trap(_) | Fault::Silent | Fault::Declared(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "module-failed",
                "The module failed",
            ),
        };
        // What exactly went wrong is for the node's operator, not for its clients.
        let detail = match fault {
            Fault::Busy => format!("{} has too many requests; try again later", self.name),
            Fault::Time => format!("{} took longer than it may", self.name),
            Fault::Memory => format!("{} wanted more memory than it may have", self.name),
            Fault::Trap(_) => format!("{} trapped; the node's log says where", self.name),
            Fault::Silent => format!("{} returned without an answer", self.name),
            Fault::Declared(_) => format!("{} gave up; the node's log says why", self.name),
        };
        response(&problem(status, kind, title, detail)).map(Body::own)
    }

    /// Logs the first fault of a version, the second, the fourth, and so on: one that
    /// always fails does not fill the log.
    fn report(&self, fault: &Fault) {
        let faults = self.counters.fault();
        if faults.is_power_of_two() {
            tracing::warn!(module = %self.name, faults, %fault, "a module did not answer");
        }
    }
}

/// Work with a limit in time. Most is done in its first turn, which the instance's own
/// deadline ends: a timer is set only for the rest.
async fn within<F: Future>(until: Instant, work: F) -> Result<F::Output, Elapsed> {
    let mut work = pin!(work);
    match futures_util::poll!(work.as_mut()) {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => tokio::time::timeout_at(until.into(), work).await,
    }
}

impl Fault {
    fn of(error: &wasmtime::Error) -> Self {
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::Time,
            _ => Self::Trap(format!("{error:#}")),
        }
    }
}

impl std::fmt::Debug for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Version")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
