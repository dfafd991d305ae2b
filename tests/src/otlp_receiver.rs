//! A collector that keeps what it gets, over both protocols of OTLP.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode as SpanStatus};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

/// Time limit of each wait. Generous, because the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes before a message of gRPC: whether it is compressed, and its length.
const GRPC_PREFIX: usize = 5;
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const HTTP_PATH: &str = "/v1/traces";

/// A collector on one port: gRPC over HTTP/2, and protobuf in requests of HTTP.
pub struct OtlpReceiver {
    addr: SocketAddr,
    received: Arc<Received>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Received {
    spans: Mutex<Vec<ReceivedSpan>>,
    changed: Notify,
}

/// A span, and the resource that has sent it. Ids are in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedSpan {
    /// The id of its trace.
    pub trace_id: String,
    /// Its id.
    pub span_id: String,
    /// The id of the span that caused it. Empty for the first of a trace.
    pub parent_id: String,
    /// What it is.
    pub name: String,
    /// The ids of the spans of its trace that it links to.
    pub links: Vec<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Whether it failed.
    pub is_error: bool,
    /// The attributes of the process.
    pub resource: BTreeMap<String, String>,
    /// The protocol by which it came: `grpc` or `http/protobuf`.
    pub protocol: &'static str,
}

impl ReceivedSpan {
    /// The name of the service that has sent it.
    pub fn service(&self) -> &str {
        self.resource.get("service.name").map_or("", String::as_str)
    }

    /// The process that has sent it.
    pub fn process(&self) -> (&str, &str) {
        let pid = self.resource.get("process.pid").map_or("", String::as_str);
        (self.service(), pid)
    }

    /// An attribute. Empty where it has none of that name.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

impl OtlpReceiver {
    /// Starts to listen on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let received = Arc::<Received>::default();
        let shared = Arc::clone(&received);
        let accept = async move {
            while let Ok((connection, _)) = listener.accept().await {
                let received = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&received), request));
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let io = TokioIo::new(connection);
                    // A process that is killed breaks its connection off.
                    let _ = builder.serve_connection(io, service).await;
                });
            }
        };
        Ok(Self {
            addr,
            received,
            _task: AbortOnDropHandle::new(tokio::spawn(accept)),
        })
    }

    /// `http://host:port`, for both protocols.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.received.lock().clone()
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
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let changed = self.received.changed.notified();
            if let Some(found) = find(&self.spans()) {
                return Ok(found);
            }
            if timeout_at(deadline, changed).await.is_err() {
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
        }
    }
}

impl Received {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<ReceivedSpan>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, request: ExportTraceServiceRequest, protocol: &'static str) {
        for resource_spans in request.resource_spans {
            let resource = resource_spans.resource.unwrap_or_default();
            let resource = attributes(resource.attributes);
            let scopes = resource_spans.scope_spans.into_iter();
            for span in scopes.flat_map(|scope| scope.spans) {
                let span = received_span(span, resource.clone(), protocol);
                self.lock().push(span);
            }
        }
        self.changed.notify_waiters();
    }
}

fn received_span(
    span: Span,
    resource: BTreeMap<String, String>,
    protocol: &'static str,
) -> ReceivedSpan {
    let status = span.status.unwrap_or_default();
    ReceivedSpan {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: hex(&span.parent_span_id),
        name: span.name,
        links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
        attributes: attributes(span.attributes),
        is_error: status.code == SpanStatus::Error as i32,
        resource,
        protocol,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn answer(
    received: Arc<Received>,
    request: Request<Incoming>,
) -> Result<Response<Body>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let bytes = request.into_body().collect().await?.to_bytes();
    let (protocol, message) = match path.as_str() {
        GRPC_PATH => ("grpc", bytes.slice(GRPC_PREFIX.min(bytes.len())..)),
        HTTP_PATH => ("http/protobuf", bytes),
        _ => return Ok(response(StatusCode::NOT_FOUND, "text/plain", Vec::new())),
    };
    let Ok(message) = ExportTraceServiceRequest::decode(message) else {
        return Ok(response(StatusCode::BAD_REQUEST, "text/plain", Vec::new()));
    };
    received.add(message, protocol);
    // An answer without members is an empty message.
    Ok(if protocol == "grpc" {
        let trailers = HeaderMap::from_iter([(
            hyper::header::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )]);
        let message = Bytes::from_static(&[0; GRPC_PREFIX]);
        let frames = vec![Frame::data(message), Frame::trailers(trailers)];
        response(StatusCode::OK, "application/grpc", frames)
    } else {
        response(StatusCode::OK, "application/x-protobuf", Vec::new())
    })
}

fn response(
    status: StatusCode,
    media_type: &'static str,
    frames: Vec<Frame<Bytes>>,
) -> Response<Body> {
    let frames = frames.into_iter().map(Ok::<_, Infallible>);
    let body = StreamBody::new(stream::iter(frames));
    let mut response = Response::new(BodyExt::boxed(body));
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}
