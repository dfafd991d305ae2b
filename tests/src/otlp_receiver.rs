//! A collector that keeps what it gets, over both protocols of OTLP.

mod answer;
mod body;
mod metrics;
mod spans;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use hotswap_common::tls::{CertificateFiles, ServerFiles, ServerTls, accept};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::authority::Authority;
use answer::{Body, failure, success, unavailable};
pub use metrics::{ReceivedMetric, ReceivedMetrics, ReceivedPoint};
pub use spans::ReceivedSpan;

/// Time limit of each wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);
const GRPC_SPANS: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const GRPC_METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const HTTP_SPANS: &str = "/v1/traces";
const HTTP_METRICS: &str = "/v1/metrics";

/// A collector on one port: gRPC over HTTP/2, and protobuf in requests of HTTP.
pub struct OtlpReceiver {
    url: String,
    received: Arc<Received>,
    _task: AbortOnDropHandle<()>,
}

/// What a collector does with what it gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CollectorAnswer {
    /// Takes them.
    #[default]
    Takes,
    /// Says that it cannot take any for now.
    Unavailable,
    /// Takes all but so many points or spans of a request.
    Rejects(i64),
}

#[derive(Default)]
struct Received {
    spans: Mutex<Vec<ReceivedSpan>>,
    metrics: Mutex<Vec<ReceivedMetrics>>,
    answer_to_spans: Mutex<CollectorAnswer>,
    answer_to_metrics: Mutex<CollectorAnswer>,
    keeps_nothing: AtomicBool,
    changed: Notify,
}

impl OtlpReceiver {
    /// Starts to listen on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok(Self::serve(listener, url, None))
    }

    /// As [`Self::start`], with TLS. The certificate is of `authority`, and is written to `folder`.
    ///
    /// # Errors
    /// If there is no free port, or the folder cannot be written.
    pub async fn start_with_tls(authority: &Authority, folder: &Path) -> Result<Self> {
        Self::start_tls(authority, folder, None).await
    }

    /// As [`Self::start_with_tls`], for clients only that have a certificate of `authority`.
    ///
    /// # Errors
    /// If there is no free port, or the folder cannot be written.
    pub async fn start_for_known_clients(authority: &Authority, folder: &Path) -> Result<Self> {
        let authorities = authority.write(folder, "clients")?;
        Self::start_tls(authority, folder, Some(authorities)).await
    }

    async fn start_tls(
        authority: &Authority,
        folder: &Path,
        client_authorities: Option<PathBuf>,
    ) -> Result<Self> {
        let only_known_clients = client_authorities.is_some();
        authority.issue(folder, "collector", "localhost")?;
        let files = ServerFiles {
            certificate: CertificateFiles {
                certificate: folder.join("collector.crt"),
                key: folder.join("collector.key"),
            },
            further: Vec::new(),
            client_authorities,
        };
        let tls = ServerTls::open(files, "the certificate of the collector")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr: SocketAddr = listener.local_addr()?;
        let url = format!("https://localhost:{}", addr.port());
        Ok(Self::serve(listener, url, Some((tls, only_known_clients))))
    }

    /// With TLS, `tls` also says whether clients without a certificate are turned away.
    fn serve(listener: TcpListener, url: String, tls: Option<(ServerTls, bool)>) -> Self {
        let received = Arc::<Received>::default();
        let shared = Arc::clone(&received);
        let accept_all = async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (received, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    // Those who do not trust it break off.
                    let server = tls.as_ref().map(|(server, _)| server);
                    let Ok(connection) = accept(server, connection).await else {
                        return;
                    };
                    let only_known = tls.is_some_and(|(_, only_known)| only_known);
                    if only_known && connection.client_certificate().is_none() {
                        return;
                    }
                    let service = service_fn(move |request| answer(Arc::clone(&received), request));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let io = TokioIo::new(connection);
                    // A process that is killed breaks its connection off.
                    let _ = builder.serve_connection(io, service).await;
                });
            }
        };
        Self {
            url,
            received,
            _task: AbortOnDropHandle::new(tokio::spawn(accept_all)),
        }
    }

    /// `http://host:port`, or `https://host:port`, for both protocols.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// From now on it reads requests, and neither decodes nor keeps them: for measurements on a
    /// machine that it shares with what is measured.
    pub fn keep_nothing(&self) {
        self.received.keeps_nothing.store(true, Ordering::Relaxed);
    }

    /// What it does with metrics from now on.
    pub fn answer_metrics(&self, answer: CollectorAnswer) {
        *lock(&self.received.answer_to_metrics) = answer;
    }

    /// What it does with spans from now on.
    pub fn answer_spans(&self, answer: CollectorAnswer) {
        *lock(&self.received.answer_to_spans) = answer;
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        lock(&self.received.spans).clone()
    }

    /// All requests with metrics so far that it has taken.
    pub fn metrics(&self) -> Vec<ReceivedMetrics> {
        lock(&self.received.metrics).clone()
    }

    /// Waits until `find` finds something in the spans so far.
    ///
    /// # Errors
    /// If it does not in time: lists the spans.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        find: impl Fn(&[ReceivedSpan]) -> Option<T>,
    ) -> Result<T> {
        let found = self.wait(|| find(&lock(&self.received.spans))).await;
        if let Some(found) = found {
            return Ok(found);
        }
        let spans = self.spans();
        let lines = spans.iter().map(|span| {
            let service = span.service();
            format!(
                "{} {} {} <- {} {service}",
                span.trace_id, span.name, span.span_id, span.parent_id
            )
        });
        let lines: Vec<_> = lines.collect();
        bail!("{what}: not in time; the spans are {lines:#?}");
    }

    /// Waits until `find` finds something in the requests with metrics so far.
    ///
    /// # Errors
    /// If it does not in time: says from whom metrics came.
    pub async fn wait_for_metrics<T>(
        &self,
        what: &str,
        find: impl Fn(&[ReceivedMetrics]) -> Option<T>,
    ) -> Result<T> {
        let found = self.wait(|| find(&lock(&self.received.metrics))).await;
        if let Some(found) = found {
            return Ok(found);
        }
        let mut requests = BTreeMap::<_, u64>::new();
        for request in self.metrics() {
            *requests.entry(request.service().to_owned()).or_default() += 1;
        }
        bail!("{what}: not in time; requests by service: {requests:#?}");
    }

    /// What `find` finds after one of the next requests. `None` if it finds nothing in time.
    async fn wait<T>(&self, find: impl Fn() -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let changed = self.received.changed.notified();
            let found = find();
            if found.is_some() {
                return found;
            }
            timeout_at(deadline, changed).await.ok()?;
        }
    }
}

async fn answer(
    received: Arc<Received>,
    request: Request<Incoming>,
) -> Result<Response<Body>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let protocol = match parts.uri.path() {
        GRPC_SPANS | GRPC_METRICS => "grpc",
        HTTP_SPANS | HTTP_METRICS => "http/protobuf",
        _ => return Ok(failure(StatusCode::NOT_FOUND)),
    };
    if received.keeps_nothing.load(Ordering::Relaxed) {
        // An answer without members is an empty message.
        return Ok(success(protocol, Vec::new()));
    }
    let Some((message, is_compressed)) = body::message(protocol, &parts.headers, bytes) else {
        return Ok(failure(StatusCode::BAD_REQUEST));
    };
    let transport = (&parts.headers, is_compressed);
    let response = if matches!(parts.uri.path(), GRPC_SPANS | HTTP_SPANS) {
        let Ok(request) = ExportTraceServiceRequest::decode(message) else {
            return Ok(failure(StatusCode::BAD_REQUEST));
        };
        let spans = spans::received_spans(request, protocol, transport);
        take_spans(&received, spans, protocol)
    } else {
        let Ok(request) = ExportMetricsServiceRequest::decode(message) else {
            return Ok(failure(StatusCode::BAD_REQUEST));
        };
        let metrics = metrics::received_metrics(request, protocol, transport);
        take_metrics(&received, metrics, protocol)
    };
    received.changed.notify_waiters();
    Ok(response)
}

fn take_spans(received: &Received, spans: Vec<ReceivedSpan>, protocol: &str) -> Response<Body> {
    let partial = match *lock(&received.answer_to_spans) {
        CollectorAnswer::Unavailable => return unavailable(protocol),
        CollectorAnswer::Takes => None,
        CollectorAnswer::Rejects(spans) => Some(ExportTracePartialSuccess {
            rejected_spans: spans,
            error_message: "out of range".to_owned(),
        }),
    };
    lock(&received.spans).extend(spans);
    let answer = ExportTraceServiceResponse {
        partial_success: partial,
    };
    success(protocol, answer.encode_to_vec())
}

fn take_metrics(
    received: &Received,
    metrics: Vec<ReceivedMetrics>,
    protocol: &str,
) -> Response<Body> {
    let partial = match *lock(&received.answer_to_metrics) {
        CollectorAnswer::Unavailable => return unavailable(protocol),
        CollectorAnswer::Takes => None,
        CollectorAnswer::Rejects(points) => Some(ExportMetricsPartialSuccess {
            rejected_data_points: points,
            error_message: "out of range".to_owned(),
        }),
    };
    lock(&received.metrics).extend(metrics);
    let answer = ExportMetricsServiceResponse {
        partial_success: partial,
    };
    success(protocol, answer.encode_to_vec())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let pair = |attribute: KeyValue| {
        let value = match attribute.value?.value? {
            any_value::Value::StringValue(text) => text,
            any_value::Value::IntValue(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        Some((attribute.key, value))
    };
    attributes.into_iter().filter_map(pair).collect()
}
