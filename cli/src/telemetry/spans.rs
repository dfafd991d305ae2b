use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hotswap_common::trace::{FinishedSpan, Kind, TraceContext, Value};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};

use super::resource;

/// The request that brings spans of this process to a collector.
pub(super) fn request(spans: Vec<FinishedSpan>, resource: Resource) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![ScopeSpans {
                scope: Some(resource::scope()),
                spans: spans.into_iter().map(message).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn message(span: FinishedSpan) -> Span {
    let kind = match span.kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
    };
    // Only a request can come from another process.
    let is_remote = span.kind == Kind::Server && span.parent.is_some();
    let parent = span.parent.map(|parent| parent.span_id().to_vec());
    let attributes = span.attributes.into_iter();
    let attributes = attributes.map(|(key, value)| attribute(key, value));
    Span {
        trace_id: span.context.trace_id().to_vec(),
        span_id: span.context.span_id().to_vec(),
        parent_span_id: parent.unwrap_or_default(),
        flags: flags(is_remote),
        name: span.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.start, Duration::ZERO),
        end_time_unix_nano: nanos(span.start, span.duration),
        attributes: attributes.collect(),
        links: span.links.into_iter().map(link).collect(),
        status: span.error.map(|message| Status {
            message,
            code: StatusCode::Error.into(),
        }),
        ..Span::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    let value = match value {
        Value::Static(text) => any_value::Value::StringValue(text.to_owned()),
        Value::Text(text) => any_value::Value::StringValue(text),
        Value::Number(number) => any_value::Value::IntValue(number),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn link(context: TraceContext) -> Link {
    Link {
        trace_id: context.trace_id().to_vec(),
        span_id: context.span_id().to_vec(),
        flags: flags(false),
        ..Link::default()
    }
}

/// Recorded, and whether the parent or what is linked to is of another process.
fn flags(is_remote: bool) -> u32 {
    const SAMPLED: u32 = 1;
    let remote = match is_remote {
        true => SpanFlags::ContextIsRemoteMask as u32,
        false => 0,
    };
    SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32 | remote
}

/// Nanoseconds since the epoch, `later` than a time.
fn nanos(time: SystemTime, later: Duration) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from((since + later).as_nanos()).unwrap_or(u64::MAX)
}
