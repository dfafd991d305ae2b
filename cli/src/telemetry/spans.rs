use anyhow::{Context as _, Result};
use hotswap_common::tls::ClientTls;
use hotswap_common::trace::{FinishedSpan, Kind, TraceContext, Value};
use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{
    Compression, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};

use super::connection;
use super::settings::Collector;
use crate::config::OtlpProtocol;

/// Creates the exporter. It connects with the first batch.
///
/// # Errors
/// Where it cannot be created.
pub(super) fn exporter(
    collector: &Collector,
    tls: &ClientTls,
    resource: &Resource,
) -> Result<SpanExporter> {
    let exporter = match collector.protocol {
        OtlpProtocol::Grpc => {
            let mut builder = SpanExporter::builder()
                .with_tonic()
                .with_channel(connection::channel(collector, tls)?)
                .with_timeout(collector.timeout);
            if collector.is_compressed {
                builder = builder.with_compression(Compression::Gzip);
            }
            builder.build()
        }
        OtlpProtocol::HttpProtobuf => {
            let mut builder = SpanExporter::builder()
                .with_http()
                .with_http_client(connection::http_client(collector, tls)?)
                .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
                .with_endpoint(&collector.endpoint)
                .with_timeout(collector.timeout);
            if collector.is_compressed {
                builder = builder.with_compression(Compression::Gzip);
            }
            builder.build()
        }
    };
    let mut exporter = exporter.context("cannot export spans")?;
    exporter.set_resource(resource);
    Ok(exporter)
}

/// Who has made the spans.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("hotswap")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

/// A span in the form of OpenTelemetry.
pub(super) fn span_data(span: FinishedSpan, scope: InstrumentationScope) -> SpanData {
    let mut links = SpanLinks::default();
    links.links = span
        .links
        .into_iter()
        .map(|link| Link::new(span_context(link), Vec::new(), 0))
        .collect();
    let attributes = span.attributes.into_iter();
    let kind = match span.kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
    };
    SpanData {
        span_context: span_context(span.context),
        parent_span_id: span.parent.map_or(SpanId::INVALID, |parent| {
            SpanId::from_bytes(parent.span_id())
        }),
        parent_span_is_remote: span.kind == Kind::Server,
        span_kind: kind,
        name: span.name,
        start_time: span.start,
        end_time: span.start + span.duration,
        attributes: attributes
            .map(|(key, value)| key_value(key, value))
            .collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope,
    }
}

fn key_value(key: &'static str, value: Value) -> KeyValue {
    match value {
        Value::Static(text) => KeyValue::new(key, text),
        Value::Text(text) => KeyValue::new(key, text),
        Value::Number(number) => KeyValue::new(key, number),
    }
}

fn span_context(context: TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace_id()),
        SpanId::from_bytes(context.span_id()),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    )
}
