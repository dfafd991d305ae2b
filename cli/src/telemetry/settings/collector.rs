use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use hotswap_common::tls::CertificateFiles;
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
    client_certificate: &'static str,
    client_key: &'static str,
    compression: &'static str,
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
    client_certificate: "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    client_key: "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    compression: "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    headers: "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    path: "v1/traces",
};

pub(super) const METRICS: Signal = Signal {
    exporter: "OTEL_METRICS_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    timeout: "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
    certificate: "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
    client_certificate: "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
    client_key: "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
    compression: "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
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
    /// The certificate to show in place of that which the program is given.
    pub(in crate::telemetry) client: Option<CertificateFiles>,
    /// Whether requests are compressed, by gzip.
    pub(in crate::telemetry) is_compressed: bool,
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
            client: client_certificate(signal, variable)?,
            is_compressed: is_compressed(signal, variable)?,
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

/// The certificate of the signal, or of all: both of its files from variables of one kind.
fn client_certificate(
    signal: &Signal,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Option<CertificateFiles>> {
    let of_all = (
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    );
    for (certificate, key) in [(signal.client_certificate, signal.client_key), of_all] {
        match (variable(certificate), variable(key)) {
            (None, None) => {}
            (Some(certificate), Some(key)) => {
                return Ok(Some(CertificateFiles {
                    certificate: certificate.into(),
                    key: key.into(),
                }));
            }
            _ => bail!("set both {certificate} and {key}, or neither"),
        }
    }
    Ok(None)
}

fn is_compressed(signal: &Signal, variable: &impl Fn(&str) -> Option<String>) -> Result<bool> {
    let named = [signal.compression, "OTEL_EXPORTER_OTLP_COMPRESSION"]
        .into_iter()
        .find_map(|name| Some((name, variable(name)?)));
    let Some((name, text)) = named else {
        return Ok(false);
    };
    match text.trim().to_ascii_lowercase().as_str() {
        "gzip" => Ok(true),
        "none" => Ok(false),
        _ => bail!("{name}: use gzip or none"),
    }
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
