/// The environment variables of OpenTelemetry that this program reads, with what they do.
pub const VARIABLES: [(&str, &str); 37] = [
    (
        "OTEL_SDK_DISABLED",
        "Where `true`, nothing is recorded or sent, whatever else is set.",
    ),
    (
        "OTEL_TRACES_EXPORTER",
        "`otlp`, which is the default, or `none`.",
    ),
    ("OTEL_METRICS_EXPORTER", "The same, for metrics."),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "The collector that gets spans and metrics. With `http/protobuf`, `/v1/traces` and \
         `/v1/metrics` are appended.",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "The same, for spans alone; nothing is appended.",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "The same, for metrics alone; nothing is appended.",
    ),
    (
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "`http/protobuf`, which is the default, or `grpc`.",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "The same, for spans alone.",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
        "The same, for metrics alone.",
    ),
    (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "Headers of each request to the collector, as `key=value,…`. They may be secrets.",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "The same, for spans alone.",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        "The same, for metrics alone.",
    ),
    (
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "`gzip`, or `none`, which is the default.",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        "The same, for spans alone.",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
        "The same, for metrics alone.",
    ),
    (
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "How long the collector may take, in milliseconds. Default: 10000.",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "The same, for spans alone.",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
        "The same, for metrics alone.",
    ),
    (
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        "A file with authorities to trust, in place of those of `tls.ca` or `--ca`, in PEM form.",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "The same, for spans alone.",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
        "The same, for metrics alone.",
    ),
    (
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "A file with the certificate to show to a collector that asks for one, in place of that of \
         `tls.clientCert` or `--client-cert`.",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
        "The same, for spans alone.",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
        "The same, for metrics alone.",
    ),
    (
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        "A file with the key of that certificate.",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
        "The same, for spans alone.",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
        "The same, for metrics alone.",
    ),
    (
        "OTEL_TRACES_SAMPLER",
        "Which traces are recorded: `parentbased_traceidratio`, which is the default, \
         `traceidratio`, `always_on`, `always_off`, `parentbased_always_on` or \
         `parentbased_always_off`.",
    ),
    (
        "OTEL_TRACES_SAMPLER_ARG",
        "The share of traces, from 0 to 1. Default: 0.1.",
    ),
    (
        "OTEL_SERVICE_NAME",
        "The name of the service. Default: `hotswap-engine` or `hotswap-node`.",
    ),
    (
        "OTEL_RESOURCE_ATTRIBUTES",
        "Attributes of this process on spans and metrics, as `key=value,…`, percent-encoded. If \
         one cannot be read, none counts.",
    ),
    (
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "How many spans wait for the collector, at most. Further ones are dropped. Default: 2048.",
    ),
    (
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "How many spans one request to the collector has, at most. Default: 512.",
    ),
    (
        "OTEL_BSP_SCHEDULE_DELAY",
        "How long a span waits for others, in milliseconds. Default: 1000.",
    ),
    (
        "OTEL_BSP_EXPORT_TIMEOUT",
        "How long one sending of spans may take, in milliseconds. Default: 30000.",
    ),
    (
        "OTEL_METRIC_EXPORT_INTERVAL",
        "How often metrics are sent, in milliseconds. Default: 60000.",
    ),
    (
        "OTEL_METRIC_EXPORT_TIMEOUT",
        "How long one sending of metrics may take, in milliseconds. Default: 30000.",
    ),
];
