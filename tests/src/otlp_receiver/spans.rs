use std::collections::BTreeMap;

use hyper::header::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode as SpanStatus};

use super::attributes;

/// A span, and the resource that has sent it. Ids are in hexadecimal digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// The headers of its request.
    pub headers: HeaderMap,
    /// Whether the body of its request was compressed.
    pub is_compressed: bool,
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

/// All spans of a request.
pub(super) fn received_spans(
    request: ExportTraceServiceRequest,
    protocol: &'static str,
    (headers, is_compressed): (&HeaderMap, bool),
) -> Vec<ReceivedSpan> {
    let mut spans = Vec::new();
    for resource_spans in request.resource_spans {
        let resource = attributes(resource_spans.resource.unwrap_or_default().attributes);
        let scopes = resource_spans.scope_spans.into_iter();
        let of_process = scopes.flat_map(|scope| scope.spans);
        spans.extend(of_process.map(|span| ReceivedSpan {
            resource: resource.clone(),
            protocol,
            headers: headers.clone(),
            is_compressed,
            ..received_span(span)
        }));
    }
    spans
}

/// What the span itself says.
fn received_span(span: Span) -> ReceivedSpan {
    let status = span.status.unwrap_or_default();
    ReceivedSpan {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: hex(&span.parent_span_id),
        name: span.name,
        links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
        attributes: attributes(span.attributes),
        is_error: status.code == SpanStatus::Error as i32,
        ..ReceivedSpan::default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
