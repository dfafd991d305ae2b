use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use hotswap_common::trace::Sampler;
use reqwest::Url;

use crate::config::{OtlpProtocol, Telemetry};

/// The share of traces that are recorded where nobody says otherwise.
const DEFAULT_RATIO: f64 = 0.1;
/// Spans that wait for the exporter, at most.
const DEFAULT_QUEUE: usize = 2048;
/// Spans in one request.
const DEFAULT_BATCH: usize = 512;
/// How long a span waits for others. Short: what waits is lost when the process is killed.
const DEFAULT_DELAY: Duration = Duration::from_secs(1);
/// How long a collector may take to answer.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The path of spans below an endpoint for all signals.
const TRACES_PATH: &str = "v1/traces";

/// The environment variables of OpenTelemetry that this program reads, with what they do.
pub const VARIABLES: [(&str, &str); 17] = [
    (
        "OTEL_SDK_DISABLED",
        "Where `true`, no spans are recorded, whatever else is set.",
    ),
    (
        "OTEL_TRACES_EXPORTER",
        "`otlp`, which is the default, or `none`.",
    ),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "The collector that gets spans. With `http/protobuf`, `/v1/traces` is appended.",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "The same, for spans alone; nothing is appended.",
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
        "OTEL_EXPORTER_OTLP_HEADERS",
        "Headers of each request to the collector, as `key=value,…`. They may be secrets.",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "The same, for spans alone.",
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
        "Attributes of this process on each span, as `key=value,…`.",
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
];

/// How spans are recorded and exported.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    /// Where spans are sent.
    pub(super) endpoint: String,
    pub(super) protocol: OtlpProtocol,
    pub(super) sampler: Sampler,
    pub(super) queue_size: usize,
    pub(super) batch_size: usize,
    pub(super) delay: Duration,
    pub(super) timeout: Duration,
}

impl Settings {
    /// Resolves flags, then environment variables, then the configuration. `None` where no
    /// collector is named.
    ///
    /// # Errors
    /// Where a value is not valid: the error names its source.
    pub(super) fn resolve(
        flags: &Telemetry,
        config: &Telemetry,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>> {
        let is_disabled = variable("OTEL_SDK_DISABLED").is_some_and(|text| is_true(&text));
        match variable("OTEL_TRACES_EXPORTER").as_deref() {
            _ if is_disabled => return Ok(None),
            Some("none") => return Ok(None),
            None | Some("otlp") => {}
            Some(_) => bail!("OTEL_TRACES_EXPORTER: use otlp or none"),
        }
        let protocol = protocol(flags, config, &variable)?;
        let Some(endpoint) = endpoint(flags, config, &variable, protocol)? else {
            return Ok(None);
        };
        let millis =
            |name| parse::<u64>(&variable, name).map(|millis| millis.map(Duration::from_millis));
        let traces_timeout = millis("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")?;
        let timeout = traces_timeout.or(millis("OTEL_EXPORTER_OTLP_TIMEOUT")?);
        let batch_size = parse(&variable, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE")?;
        let queue_size = parse(&variable, "OTEL_BSP_MAX_QUEUE_SIZE")?;
        Ok(Some(Self {
            endpoint,
            protocol,
            sampler: sampler(flags, config, &variable)?,
            queue_size: queue_size.unwrap_or(DEFAULT_QUEUE).clamp(1, 1 << 20),
            batch_size: batch_size.unwrap_or(DEFAULT_BATCH).clamp(1, 1 << 14),
            delay: millis("OTEL_BSP_SCHEDULE_DELAY")?.unwrap_or(DEFAULT_DELAY),
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        }))
    }
}

fn is_true(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("true")
}

fn protocol(
    flags: &Telemetry,
    config: &Telemetry,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<OtlpProtocol> {
    let named = [
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ]
    .into_iter()
    .find_map(|name| Some((name, variable(name)?)));
    let named = match named {
        None => None,
        Some((_, text)) if text == "grpc" => Some(OtlpProtocol::Grpc),
        Some((_, text)) if text == "http/protobuf" => Some(OtlpProtocol::HttpProtobuf),
        Some((name, _)) => bail!("{name}: use grpc or http/protobuf"),
    };
    let chosen = flags.protocol.or(named).or(config.protocol);
    Ok(chosen.unwrap_or(OtlpProtocol::HttpProtobuf))
}

/// The URL to which spans are sent.
fn endpoint(
    flags: &Telemetry,
    config: &Telemetry,
    variable: impl Fn(&str) -> Option<String>,
    protocol: OtlpProtocol,
) -> Result<Option<String>> {
    const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    const ALL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let candidates = [
        ("--otlp-endpoint", flags.endpoint.clone()),
        (TRACES, variable(TRACES)),
        (ALL, variable(ALL)),
        ("telemetry.endpoint", config.endpoint.clone()),
    ];
    let found = candidates
        .into_iter()
        .find_map(|(source, endpoint)| Some((source, endpoint?)));
    let Some((source, text)) = found else {
        return Ok(None);
    };
    // The text may hold a password: no error repeats it.
    let url: Url = text
        .parse()
        .map_err(|_| anyhow!("{source} is no URL; use http://host:port"))?;
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "{source}: put credentials into OTEL_EXPORTER_OTLP_HEADERS, not into the URL"
    );
    match (url.scheme(), protocol) {
        ("http", _) | ("https", OtlpProtocol::Grpc) => {}
        ("https", OtlpProtocol::HttpProtobuf) => bail!(
            "{source}: TLS needs the protocol grpc; set OTEL_EXPORTER_OTLP_PROTOCOL=grpc and its \
             port, or send to a collector on this machine"
        ),
        _ => bail!("{source}: use http://host:port"),
    }
    let is_whole = source == TRACES || protocol == OtlpProtocol::Grpc;
    Ok(Some(if is_whole {
        url.into()
    } else {
        format!("{}/{TRACES_PATH}", url.as_str().trim_end_matches('/'))
    }))
}

fn sampler(
    flags: &Telemetry,
    config: &Telemetry,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Sampler> {
    const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";
    let named: Option<f64> = parse(&variable, RATIO)?;
    let ratio = flags.sampling_ratio.or(named).or(config.sampling_ratio);
    let ratio = ratio.unwrap_or(DEFAULT_RATIO);
    ensure!(
        (0.0..=1.0).contains(&ratio),
        "the sampling ratio {ratio} is outside of 0 to 1"
    );
    Ok(match variable("OTEL_TRACES_SAMPLER").as_deref() {
        None | Some("parentbased_traceidratio") => Sampler::new(ratio, true),
        Some("traceidratio") => Sampler::new(ratio, false),
        Some("parentbased_always_on") => Sampler::new(1.0, true),
        Some("parentbased_always_off") => Sampler::new(0.0, true),
        Some("always_on") => Sampler::new(1.0, false),
        Some("always_off") => Sampler::new(0.0, false),
        Some(_) => bail!(
            "OTEL_TRACES_SAMPLER: use parentbased_traceidratio, traceidratio, always_on, \
             always_off, parentbased_always_on or parentbased_always_off"
        ),
    })
}

fn parse<T: FromStr>(
    variable: impl Fn(&str) -> Option<String>,
    name: &'static str,
) -> Result<Option<T>> {
    let parse = |text: String| text.trim().parse().ok();
    variable(name)
        .map(|text| parse(text).with_context(|| format!("{name} is no number that fits")))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(config: &Telemetry, variables: &[(&str, &str)]) -> Result<Option<Settings>> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::resolve(&Telemetry::default(), config, variable)
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");

    #[test]
    fn nothing_is_exported_unless_a_collector_is_named() {
        let none = Telemetry::default();
        assert_eq!(resolve(&none, &[]).unwrap(), None);
        let off = [ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")];
        assert_eq!(resolve(&none, &off).unwrap(), None);
        let off = [ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")];
        assert_eq!(resolve(&none, &off).unwrap(), None);
    }

    #[test]
    fn the_environment_overrides_the_configuration() {
        let config = Telemetry {
            endpoint: Some("http://file:4317".to_owned()),
            protocol: Some(OtlpProtocol::Grpc),
            sampling_ratio: Some(0.5),
        };
        let settings = resolve(&config, &[]).unwrap().unwrap();
        assert_eq!(settings.endpoint, "http://file:4317/");
        assert_eq!(settings.sampler, Sampler::new(0.5, true));
        let variables = [
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_TRACES_SAMPLER", "always_on"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "7"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ];
        let settings = resolve(&config, &variables).unwrap().unwrap();
        assert_eq!(settings.endpoint, "http://c:4318/v1/traces");
        assert_eq!(settings.protocol, OtlpProtocol::HttpProtobuf);
        assert_eq!(settings.sampler, Sampler::new(1.0, false));
        assert_eq!(settings.queue_size, 7);
        assert_eq!(settings.timeout, Duration::from_millis(250));
        let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c:1/spans");
        let settings = resolve(&Telemetry::default(), &[whole]).unwrap().unwrap();
        assert_eq!(settings.endpoint, "http://c:1/spans");
        assert_eq!(settings.sampler, Sampler::new(0.1, true));
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
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "http://ada:secret@c",
                "HEADERS",
            ),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "https://c:4318",
                "grpc",
            ),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "secret", "URL"),
        ] {
            let error = resolve(&Telemetry::default(), &[ENDPOINT, (name, value)]);
            let error = format!("{:#}", error.unwrap_err());
            assert!(error.contains(word), "{name}={value}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
