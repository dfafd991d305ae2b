use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use reqwest::Url;

use super::millis;
use crate::config::{OtlpProtocol, Telemetry};

/// How long a collector may take to answer.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// A signal of OpenTelemetry, and what its settings are called.
pub(super) struct Signal {
    exporter: &'static str,
    endpoint: &'static str,
    protocol: &'static str,
    timeout: &'static str,
    certificate: &'static str,
    /// The variable with the headers of its requests.
    pub(super) headers: &'static str,
    /// Its path below an endpoint for all signals.
    path: &'static str,
}

pub(super) const TRACES: Signal = Signal {
    exporter: "OTEL_TRACES_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    timeout: "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    certificate: "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    headers: "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    path: "v1/traces",
};

pub(super) const METRICS: Signal = Signal {
    exporter: "OTEL_METRICS_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    timeout: "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    certificate: "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
    headers: "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    path: "v1/metrics",
};

/// Where a signal is sent, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::telemetry) struct Collector {
    pub(in crate::telemetry) endpoint: String,
    pub(in crate::telemetry) protocol: OtlpProtocol,
    pub(in crate::telemetry) timeout: Duration,
    /// Authorities to trust in place of those that the program is given.
    pub(in crate::telemetry) authorities: Option<PathBuf>,
}

impl Collector {
    /// Resolves flags, then environment variables, then the configuration. `None` where no
    /// collector is named, or the signal is switched off.
    ///
    /// # Errors
    /// Where a value is not valid: the error names its source.
    pub(super) fn resolve(
        signal: &Signal,
        (flags, config): (&Telemetry, &Telemetry),
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>> {
        match variable(signal.exporter).as_deref() {
            Some("none") => return Ok(None),
            None | Some("otlp") => {}
            Some(_) => bail!("{}: use otlp or none", signal.exporter),
        }
        let protocol = protocol(signal, (flags, config), variable)?;
        let Some(endpoint) = endpoint(signal, (flags, config), variable, protocol)? else {
            return Ok(None);
        };
        let timeout = millis(variable, signal.timeout)?;
        let timeout = timeout.or(millis(variable, "OTEL_EXPORTER_OTLP_TIMEOUT")?);
        let authorities = variable(signal.certificate);
        let authorities = authorities.or_else(|| variable("OTEL_EXPORTER_OTLP_CERTIFICATE"));
        Ok(Some(Self {
            endpoint,
            protocol,
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            authorities: authorities.map(PathBuf::from),
        }))
    }

    /// Whether it is reached over TLS.
    pub(in crate::telemetry) fn has_tls(&self) -> bool {
        self.endpoint.starts_with("https:")
    }
}

fn protocol(
    signal: &Signal,
    (flags, config): (&Telemetry, &Telemetry),
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<OtlpProtocol> {
    let named = [signal.protocol, "OTEL_EXPORTER_OTLP_PROTOCOL"]
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

/// The URL to which the signal is sent.
fn endpoint(
    signal: &Signal,
    (flags, config): (&Telemetry, &Telemetry),
    variable: &impl Fn(&str) -> Option<String>,
    protocol: OtlpProtocol,
) -> Result<Option<String>> {
    let candidates = [
        ("--otlp-endpoint", flags.endpoint.clone()),
        (signal.endpoint, variable(signal.endpoint)),
        (ENDPOINT, variable(ENDPOINT)),
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
    ensure!(
        url.query().is_none() && url.fragment().is_none(),
        "{source}: remove what follows ? or #; put credentials into OTEL_EXPORTER_OTLP_HEADERS"
    );
    ensure!(
        matches!(url.scheme(), "http" | "https"),
        "{source}: use http://host:port or https://host:port"
    );
    let is_whole = source == signal.endpoint || protocol == OtlpProtocol::Grpc;
    Ok(Some(if is_whole {
        url.into()
    } else {
        format!("{}/{}", url.as_str().trim_end_matches('/'), signal.path)
    }))
}
