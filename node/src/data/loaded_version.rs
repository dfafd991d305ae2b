use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use hotswap_common::trace;
use hotswap_protocol::Version;
use http::{HeaderName, HeaderValue};
use hyper::body::Body;
use hyper::{Request, Response};
use tokio::sync::oneshot;
use tokio::time::error::Elapsed;
use tokio_util::task::TaskTracker;
use wasmtime_wasi_http::Error as HttpError;

use super::concurrency_limit::{ConcurrencyLimit, Permit};
use super::counters::VersionCounters;
use super::cpu_meter::CpuMetered;
use super::exchange::{Exchange, SharedExchange};
use super::failure::ModuleFailure;
use super::instance::{Instance, ModuleResponse};
use super::instance_state::InstanceState;
use super::linked_component::LinkedComponent;
use super::memory_budget::{MemoryBudget, MemoryGrant};
use super::module_metrics::Measurements;
use super::module_span;
use super::request_body::RequestBody;
use super::request_tracker::RequestTracker;
use super::response_body::{ResponseBody, body_length};
use crate::config::Limits;
use crate::load_error::LoadError;
use crate::problem::problem_response;

/// Response header with the version that served the request, such as `1.2.3`.
const VERSION_HEADER: HeaderName = HeaderName::from_static("x-hotswap-version");

/// A version of a module, loaded and ready for requests. Each request holds it until the
/// request ends. The code is unloaded when no request and no slot holds the version.
pub(crate) struct LoadedVersion {
    version: Version,
    module: String,
    /// Module and version for messages, such as `checkout 1.2.3`.
    display_name: String,
    header: HeaderValue,
    component: Arc<LinkedComponent>,
    counters: Arc<VersionCounters>,
    concurrency: Arc<ConcurrencyLimit>,
    memory: Arc<MemoryBudget>,
    /// Linear memory of an instance that has just started, in bytes. 0 before one has.
    memory_at_start: AtomicUsize,
    limits: Limits,
    /// Tracks modules that are still writing a body after the head was sent.
    tasks: TaskTracker,
}

impl LoadedVersion {
    /// A version of `module` that runs `component` and counts requests in `counters`.
    pub(crate) fn new(
        module: &str,
        version: Version,
        component: Arc<LinkedComponent>,
        counters: Arc<VersionCounters>,
        limits: Limits,
        memory: Arc<MemoryBudget>,
        tasks: TaskTracker,
    ) -> Arc<Self> {
        Arc::new(Self {
            module: module.to_owned(),
            display_name: format!("{module} {}", version.version),
            // A semantic version is ASCII.
            header: HeaderValue::from_str(&version.version)
                .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            version,
            component,
            counters,
            concurrency: ConcurrencyLimit::new(limits.concurrency),
            limits,
            memory,
            memory_at_start: AtomicUsize::new(0),
            tasks,
        })
    }

    /// The version and its digest.
    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// Where the version counts its requests.
    pub(crate) fn counters(&self) -> &Arc<VersionCounters> {
        &self.counters
    }

    /// Creates an instance and drops it. This finds a module that cannot start before it
    /// gets requests, and maps memory so that its first request does not wait for that.
    pub(crate) async fn warm_up(&self) -> Result<(), LoadError> {
        let deadline = Instant::now() + self.limits.request_timeout;
        // Not of the node's budget: a version is not refused because the node is busy.
        let memory = MemoryGrant::uncounted();
        let state = InstanceState::new(self.limits.memory_bytes, memory, deadline);
        let instance =
            tokio::time::timeout_at(deadline.into(), Instance::new(&self.component, state));
        match instance.await {
            Ok(instance) => {
                let instance = instance.map_err(LoadError::Start)?;
                self.memory_at_start.store(instance.memory_bytes(), Relaxed);
                Ok(())
            }
            Err(_) => Err(LoadError::Start(wasmtime::Error::msg(
                "its initialisation exceeds the time limit",
            ))),
        }
    }

    /// Handles a request, and counts it at the end of the response body. Always returns a
    /// response: if the module fails, a problem with status 500, 503 or 504; with 408 if the
    /// client sent its request too slowly.
    pub(crate) async fn handle<B>(self: &Arc<Self>, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<HttpError>,
    {
        let exchange = Exchange::start(self.limits.request_timeout);
        let mut tracker = RequestTracker::new(self.counters.clone(), exchange.clone());
        let mut response = self.respond(request, exchange).await;
        tracker.set_measurements(Measurements::take(response.headers_mut()));
        tracker.set_status(response.status());
        response.body_mut().set_tracker(tracker);
        response
    }

    /// Like [`Self::handle`], but does not count the request. For probes, which must not
    /// influence the verdict on a version.
    pub(crate) async fn handle_uncounted<B>(
        self: &Arc<Self>,
        request: Request<B>,
    ) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<HttpError>,
    {
        let exchange = Exchange::start(self.limits.request_timeout);
        let mut response = self.respond(request, exchange).await;
        Measurements::take(response.headers_mut());
        response
    }

    async fn respond<B>(
        self: &Arc<Self>,
        request: Request<B>,
        exchange: SharedExchange,
    ) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<HttpError>,
    {
        let mut request = request.map(|body| RequestBody::new(body, exchange.clone()));
        let mut span = module_span::begin(&mut request);
        if span.is_recorded() {
            module_span::describe(&mut span, &request, &self.module, &self.version);
        }
        let mut response = match self.run(request, exchange).await {
            Ok(response) => response,
            Err(failure) => {
                span.fail_as(failure.kind(), &failure);
                trace::within_sync(span.context(), || self.log_failure(&failure));
                problem_response(&failure.problem(&self.display_name)).map(ResponseBody::from_bytes)
            }
        };
        let status = response.status().as_u16();
        span.set("http.response.status_code", status);
        if status >= 500 && !span.has_failed() {
            span.fail_with_status(status, &"the module has answered with an error");
        }
        response
            .headers_mut()
            .insert(VERSION_HEADER, self.header.clone());
        response
    }

    async fn run<B>(
        self: &Arc<Self>,
        request: Request<RequestBody<B>>,
        exchange: SharedExchange,
    ) -> Result<Response<ResponseBody>, ModuleFailure>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<HttpError>,
    {
        let permit = self.permit().await.ok_or(ModuleFailure::Overloaded)?;
        let memory = self.memory().await;
        let memory = memory.ok_or(ModuleFailure::NodeOutOfMemory)?;
        let method = request.method().clone();
        let (sender, mut receiver) = oneshot::channel();
        let run = self
            .clone()
            .run_instance((permit, memory), request, sender, exchange.clone());
        let mut module = CpuMetered::new(self.counters.clone(), run);

        // Most modules end together with their response, in one poll. Only those that are
        // still writing the body need a task of their own.
        let (response, writer) = tokio::select! {
            biased;
            result = &mut module => {
                result?;
                let response = receiver.try_recv();
                (response.map_err(|_| ModuleFailure::NoResponse)?, None)
            }
            response = &mut receiver => {
                let response = response.map_err(|_| ModuleFailure::NoResponse)?;
                let version = self.clone();
                let writer = self.tasks.spawn(async move {
                    if let Err(failure) = module.await {
                        version.log_failure(&failure);
                    }
                });
                (response, Some(writer.abort_handle()))
            }
        };
        let (head, body) = response.map_err(ModuleFailure::ErrorCode)?.into_parts();
        let length = body_length(&method, &head);
        let body = ResponseBody::from_module(body, exchange, length, writer);
        Ok(Response::from_parts(head, body))
    }

    /// The right to run a request now. `None` if too many run.
    async fn permit(&self) -> Option<Permit> {
        if let Some(permit) = self.concurrency.acquire_now() {
            return Some(permit);
        }
        self.counters.count_queued();
        let permit = self.concurrency.acquire(self.limits.queue_timeout).await;
        if permit.is_none() {
            self.counters.count_refused();
        }
        permit
    }

    /// Memory for an instance, as much as one has needed so far. `None` if the node has none left.
    async fn memory(&self) -> Option<MemoryGrant> {
        let at_start = self.memory_at_start.load(Relaxed);
        let expected = self.counters.instance_memory().max(at_start);
        if let Some(memory) = self.memory.grant_now(expected) {
            return Some(memory);
        }
        self.counters.count_queued();
        let memory = self.memory.grant(expected, self.limits.queue_timeout);
        let memory = memory.await;
        if memory.is_none() {
            self.counters.count_refused();
        }
        memory
    }

    /// Runs an instance for one request, to its end. Tells `exchange` of a failed instance
    /// before its streams are closed.
    async fn run_instance<B>(
        self: Arc<Self>,
        (permit, memory): (Permit, MemoryGrant),
        request: Request<RequestBody<B>>,
        response: oneshot::Sender<ModuleResponse>,
        exchange: SharedExchange,
    ) -> Result<(), ModuleFailure>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<HttpError>,
    {
        let deadline = Instant::now() + self.limits.request_timeout;
        let state = InstanceState::new(self.limits.memory_bytes, memory, deadline);
        let instance = with_deadline(deadline, Instance::new(&self.component, state));
        let mut instance = instance
            .await
            .map_err(|_| ModuleFailure::TimedOut)?
            .map_err(|error| ModuleFailure::from_wasm(&error))?;
        // After the instance, and so dropped before its streams are closed.
        let _fails = FailsOnPanic(&exchange);
        let result = with_deadline(deadline, instance.handle(request, response)).await;
        let result = match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) if instance.exceeded_memory_budget() => {
                self.counters.count_refused();
                Err(ModuleFailure::NodeOutOfMemory)
            }
            Ok(Err(_)) if instance.exceeded_memory_limit() => Err(ModuleFailure::OutOfMemory),
            Ok(Err(error)) => Err(ModuleFailure::from_wasm(&error)),
            Err(_) => Err(ModuleFailure::TimedOut),
        };
        let result = result.map_err(|failure| match failure {
            ModuleFailure::TimedOut if exchange.is_held_up_by_client() => {
                exchange.set_upload_was_slow();
                ModuleFailure::SlowClient
            }
            failure => failure,
        });
        if result.is_err() {
            exchange.set_failed();
        }
        self.counters
            .record_instance_memory(instance.memory_bytes());
        drop(instance);
        drop(permit);
        result
    }

    /// Logs the first failure of the version, the second, the fourth, and so on, so that a
    /// module that always fails does not fill the log.
    fn log_failure(&self, failure: &ModuleFailure) {
        let failures = self.counters.count_failure();
        if failures.is_power_of_two() {
            tracing::warn!(module = %self.display_name, failures, %failure, "a module failed");
        }
    }
}

/// Tells the exchange of a panic while a module runs. The response would look complete otherwise.
struct FailsOnPanic<'a>(&'a SharedExchange);

impl Drop for FailsOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_failed();
        }
    }
}

/// Runs `work` until `deadline`. Most work completes in its first poll, which the epoch
/// deadline of the instance bounds, so a timer is set only for work that is then pending.
async fn with_deadline<F: Future>(deadline: Instant, work: F) -> Result<F::Output, Elapsed> {
    let mut work = pin!(work);
    match futures_util::poll!(work.as_mut()) {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => tokio::time::timeout_at(deadline.into(), work).await,
    }
}

impl std::fmt::Debug for LoadedVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedVersion")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
