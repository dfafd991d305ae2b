use hotswap_common::tls::CertificateFiles;

use super::*;
use crate::config::OtlpProtocol;

fn resolve_all(config: &Telemetry, variables: &[(&str, &str)]) -> Result<Settings> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Settings::resolve(&Telemetry::default(), config, variable)
}

fn traces(config: &Telemetry, variables: &[(&str, &str)]) -> TraceSettings {
    resolve_all(config, variables).unwrap().traces.unwrap()
}

fn metrics(variables: &[(&str, &str)]) -> MetricSettings {
    let settings = resolve_all(&Telemetry::default(), variables);
    settings.unwrap().metrics.unwrap()
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");

#[test]
fn nothing_is_exported_unless_a_collector_is_named() {
    let none = Telemetry::default();
    let nothing = Settings::default();
    assert_eq!(resolve_all(&none, &[]).unwrap(), nothing);
    let off = [ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")];
    assert_eq!(resolve_all(&none, &off).unwrap(), nothing);
    let off = [ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")];
    let settings = resolve_all(&none, &off).unwrap();
    assert!(settings.traces.is_none() && settings.metrics.is_some());
    let off = [ENDPOINT, ("OTEL_METRICS_EXPORTER", "none")];
    let settings = resolve_all(&none, &off).unwrap();
    assert!(settings.traces.is_some() && settings.metrics.is_none());
}

#[test]
fn compression_is_of_a_signal_or_of_all() {
    let none = Telemetry::default();
    assert!(!traces(&none, &[ENDPOINT]).collector.is_compressed);
    let all = ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    assert!(traces(&none, &[ENDPOINT, all]).collector.is_compressed);
    let but_metrics = ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "NONE");
    let variables = [ENDPOINT, all, but_metrics];
    assert!(traces(&none, &variables).collector.is_compressed);
    assert!(!metrics(&variables).collector.is_compressed);
    let unknown = ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd");
    let error = resolve_all(&none, &[ENDPOINT, unknown]).unwrap_err();
    let expected = "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION: use gzip or none";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_client_certificate_has_both_of_its_files_from_one_place() {
    let none = Telemetry::default();
    let certificate = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "all.crt");
    let key = ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "all.key");
    let of_traces = [
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "t.crt"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "t.key"),
    ];
    let variables = [ENDPOINT, certificate, key, of_traces[0], of_traces[1]];
    let files = |client: Option<CertificateFiles>| {
        let client = client.unwrap();
        (client.certificate, client.key)
    };
    let client = files(traces(&none, &variables).collector.client);
    assert_eq!(client, ("t.crt".into(), "t.key".into()));
    let client = files(metrics(&variables).collector.client);
    assert_eq!(client, ("all.crt".into(), "all.key".into()));
    for half in [&[ENDPOINT, certificate], &[ENDPOINT, of_traces[1]]] {
        let error = resolve_all(&none, half).unwrap_err().to_string();
        assert!(error.contains(half[1].0), "{error}");
    }
}

#[test]
fn the_shorter_of_two_timeouts_holds_for_spans() {
    let none = Telemetry::default();
    for (export, collector, expected) in [("300", "400", 300), ("400", "300", 300)] {
        let variables = [
            ENDPOINT,
            ("OTEL_BSP_EXPORT_TIMEOUT", export),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", collector),
        ];
        let timeout = traces(&none, &variables).collector.timeout;
        assert_eq!(timeout, Duration::from_millis(expected));
    }
}

#[test]
fn the_environment_overrides_the_configuration() {
    let config = Telemetry {
        endpoint: Some("http://file:4317".to_owned()),
        protocol: Some(OtlpProtocol::Grpc),
        sampling_ratio: Some(0.5),
    };
    let settings = traces(&config, &[]);
    assert_eq!(settings.collector.endpoint, "http://file:4317/");
    assert_eq!(settings.sampler, Sampler::new(0.5, true));
    let variables = [
        ENDPOINT,
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "7"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
    ];
    let settings = traces(&config, &variables);
    assert_eq!(settings.collector.endpoint, "http://c:4318/v1/traces");
    assert_eq!(settings.collector.protocol, OtlpProtocol::HttpProtobuf);
    assert_eq!(settings.sampler, Sampler::new(1.0, false));
    assert_eq!(settings.queue_size, 7);
    assert_eq!(settings.collector.timeout, Duration::from_millis(250));
    let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c:1/spans");
    let settings = traces(&Telemetry::default(), &[whole]);
    assert_eq!(settings.collector.endpoint, "https://c:1/spans");
    assert!(settings.collector.has_tls());
    assert_eq!(settings.sampler, Sampler::new(0.1, true));
}

#[test]
fn spans_have_headers_of_their_own() {
    let of_all = ("OTEL_EXPORTER_OTLP_HEADERS", "a=of%20all");
    let settings = traces(&Telemetry::default(), &[ENDPOINT, of_all]);
    assert_eq!(settings.headers["a"], "of all");
    let own = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=own");
    let settings = traces(&Telemetry::default(), &[ENDPOINT, of_all, own]);
    assert_eq!(settings.headers["a"], "own");
    assert!(settings.headers["a"].is_sensitive());
}

#[test]
fn a_delay_of_nothing_keeps_no_core_busy() {
    let delay = ("OTEL_BSP_SCHEDULE_DELAY", "0");
    let settings = traces(&Telemetry::default(), &[ENDPOINT, delay]);
    assert_eq!(settings.delay, Duration::from_millis(1));
}

#[test]
fn metrics_have_settings_of_their_own() {
    let settings = metrics(&[ENDPOINT]);
    assert_eq!(settings.collector.endpoint, "http://c:4318/v1/metrics");
    assert_eq!(settings.interval, Duration::from_secs(60));
    assert_eq!(settings.timeout, Duration::from_secs(10));
    let settings = metrics(&[
        ENDPOINT,
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m:1"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.crt"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "400"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=never"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
            "api-key=a%20b, x = y=z",
        ),
    ]);
    assert_eq!(settings.collector.endpoint, "http://m:1/");
    assert_eq!(settings.collector.protocol, OtlpProtocol::Grpc);
    assert_eq!(settings.collector.authorities, Some("ca.crt".into()));
    assert_eq!(settings.interval, Duration::from_millis(500));
    assert_eq!(settings.timeout, Duration::from_millis(400));
    assert_eq!(settings.headers["api-key"], "a b");
    assert_eq!(settings.headers["x"], "y=z");
    assert!(!format!("{settings:?}").contains("a b"));
}

#[test]
fn an_invalid_setting_is_named_and_no_secret_is_repeated() {
    for (name, value, word) in [
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/json",
            "OTEL_EXPORTER_OTLP_PROTOCOL",
        ),
        (
            "OTEL_TRACES_SAMPLER",
            "jaeger_remote",
            "OTEL_TRACES_SAMPLER",
        ),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "0 to 1"),
        ("OTEL_TRACES_SAMPLER_ARG", "x", "OTEL_TRACES_SAMPLER_ARG"),
        ("OTEL_METRICS_EXPORTER", "prometheus", "otlp or none"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1s", "no number"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret", "key=value"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "http://ada:secret@c",
            "HEADERS",
        ),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "ftp://c", "https://"),
        (
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            "https://c/v1/metrics?key=secret",
            "HEADERS",
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "secret", "URL"),
    ] {
        let error = resolve_all(&Telemetry::default(), &[ENDPOINT, (name, value)]);
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.contains(word), "{name}={value}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
