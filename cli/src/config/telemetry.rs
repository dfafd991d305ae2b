use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where traces and metrics go. Without an endpoint, no traces are recorded, and metrics are only
/// shown. The environment variables of
/// OpenTelemetry, such as `OTEL_EXPORTER_OTLP_ENDPOINT`, override these keys. See
/// docs/OBSERVABILITY.md.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Telemetry {
    /// The collector that gets spans and metrics by OTLP, as `http://host:4318` for the protocol
    /// `http/protobuf`, or `http://host:4317` for `grpc`; with `https`, over TLS, where `tls.ca` is
    /// trusted, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"http://collector.example.org:4318")]
    pub endpoint: Option<String>,
    /// The protocol of the collector: `http/protobuf`, which is the default, or `grpc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"grpc")]
    pub protocol: Option<OtlpProtocol>,
    /// The share of the traces that are recorded, from 0 to 1; by default 0.1. Callers decide for
    /// traces that they began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &0.1)]
    pub sampling_ratio: Option<f64>,
}

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
pub enum OtlpProtocol {
    /// Protobuf in requests of HTTP
    #[serde(rename = "http/protobuf")]
    #[value(name = "http/protobuf")]
    HttpProtobuf,
    /// gRPC
    #[serde(rename = "grpc")]
    #[value(name = "grpc")]
    Grpc,
}
