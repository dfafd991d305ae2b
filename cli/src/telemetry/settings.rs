use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hotswap_common::trace::Sampler;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::Telemetry;

mod collector;
mod unsupported;
mod variables;

pub(super) use collector::Collector;
use collector::{METRICS, Signal, TRACES};
pub(super) use unsupported::unsupported;
pub use variables::VARIABLES;

/// The share of traces that are recorded where nobody says otherwise.
const DEFAULT_RATIO: f64 = 0.1;
/// Spans that wait for the exporter, at most.
const DEFAULT_QUEUE: usize = 2048;
/// Spans in one request.
const DEFAULT_BATCH: usize = 512;
/// How long a span waits for others. Short: what waits is lost when the process is killed.
const DEFAULT_DELAY: Duration = Duration::from_secs(1);
/// A shorter time would keep a core busy while nothing happens.
const MIN_DELAY: Duration = Duration::from_millis(1);
/// How often metrics are sent.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
/// A shorter interval would measure the measuring.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// No time is longer: times that are too long cannot be added to the clock.
const MAX_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// How long one sending of spans or of metrics may take.
const DEFAULT_EXPORT_TIMEOUT: Duration = Duration::from_secs(30);

/// What is recorded and exported.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Settings {
    /// `None` where no spans are recorded.
    pub(super) traces: Option<TraceSettings>,
    /// `None` where metrics are only shown.
    pub(super) metrics: Option<MetricSettings>,
}

/// How spans are recorded and exported.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TraceSettings {
    pub(super) collector: Collector,
    pub(super) sampler: Sampler,
    pub(super) queue_size: usize,
    pub(super) batch_size: usize,
    /// How long a span waits for others, at most.
    pub(super) delay: Duration,
    /// Headers of each request. Secrets.
    pub(super) headers: HeaderMap,
}

/// How metrics are exported.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MetricSettings {
    pub(super) collector: Collector,
    pub(super) interval: Duration,
    /// How long one sending may take.
    pub(super) timeout: Duration,
    /// Headers of each request. Secrets.
    pub(super) headers: HeaderMap,
}

impl Settings {
    /// Resolves flags, then environment variables, then the configuration.
    ///
    /// # Errors
    /// Where a value is not valid: the error names its source.
    pub(super) fn resolve(
        flags: &Telemetry,
        config: &Telemetry,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        if is_disabled(&variable) {
            return Ok(Self::default());
        }
        let sources = (flags, config);
        let traces = Collector::resolve(&TRACES, sources, &variable)?;
        let traces = traces.map(|collector| traces_to(collector, sources, &variable));
        let metrics = Collector::resolve(&METRICS, sources, &variable)?;
        let metrics = metrics.map(|collector| metrics_to(collector, &variable));
        Ok(Self {
            traces: traces.transpose()?,
            metrics: metrics.transpose()?,
        })
    }
}

fn traces_to(
    mut collector: Collector,
    (flags, config): (&Telemetry, &Telemetry),
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<TraceSettings> {
    let timeout = millis(variable, "OTEL_BSP_EXPORT_TIMEOUT")?;
    let timeout = timeout.unwrap_or(DEFAULT_EXPORT_TIMEOUT);
    collector.timeout = collector.timeout.min(timeout);
    let batch_size = parse(variable, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE")?;
    let queue_size = parse(variable, "OTEL_BSP_MAX_QUEUE_SIZE")?;
    Ok(TraceSettings {
        collector,
        sampler: sampler(flags, config, variable)?,
        queue_size: queue_size.unwrap_or(DEFAULT_QUEUE).clamp(1, 1 << 20),
        batch_size: batch_size.unwrap_or(DEFAULT_BATCH).clamp(1, 1 << 14),
        delay: millis(variable, "OTEL_BSP_SCHEDULE_DELAY")?
            .unwrap_or(DEFAULT_DELAY)
            .max(MIN_DELAY),
        headers: headers(&TRACES, variable)?,
    })
}

fn metrics_to(
    collector: Collector,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<MetricSettings> {
    let interval = millis(variable, "OTEL_METRIC_EXPORT_INTERVAL")?;
    let timeout = millis(variable, "OTEL_METRIC_EXPORT_TIMEOUT")?;
    let timeout = timeout.unwrap_or(DEFAULT_EXPORT_TIMEOUT);
    Ok(MetricSettings {
        interval: interval.unwrap_or(DEFAULT_INTERVAL).max(MIN_INTERVAL),
        timeout: timeout.min(collector.timeout),
        headers: headers(&METRICS, variable)?,
        collector,
    })
}

/// The headers of requests with a signal.
fn headers(signal: &Signal, variable: &impl Fn(&str) -> Option<String>) -> Result<HeaderMap> {
    let named = [signal.headers, "OTEL_EXPORTER_OTLP_HEADERS"]
        .into_iter()
        .find_map(|name| Some((name, variable(name)?)));
    let Some((source, text)) = named else {
        return Ok(HeaderMap::new());
    };
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    // No error repeats what may be a secret.
    let header = |pair: &str| -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = pair.split_once('=')?;
        let value = percent_encoding::percent_decode_str(value.trim());
        let mut value = HeaderValue::from_bytes(&value.collect::<Vec<u8>>()).ok()?;
        value.set_sensitive(true);
        Some((name.trim().parse().ok()?, value))
    };
    pairs
        .map(|pair| header(pair).with_context(|| format!("{source}: use key=value,key=value")))
        .collect()
}

/// Whether everything is switched off, whatever else is set.
pub(super) fn is_disabled(variable: &impl Fn(&str) -> Option<String>) -> bool {
    let text = variable("OTEL_SDK_DISABLED");
    text.is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
}

fn sampler(
    flags: &Telemetry,
    config: &Telemetry,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Sampler> {
    const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";
    let named: Option<f64> = parse(variable, RATIO)?;
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

/// A variable in milliseconds.
fn millis(
    variable: &impl Fn(&str) -> Option<String>,
    name: &'static str,
) -> Result<Option<Duration>> {
    let millis = parse::<u64>(variable, name)?;
    Ok(millis.map(|millis| Duration::from_millis(millis.min(MAX_MILLIS))))
}

fn parse<T: FromStr>(
    variable: &impl Fn(&str) -> Option<String>,
    name: &'static str,
) -> Result<Option<T>> {
    let parse = |text: String| text.trim().parse().ok();
    variable(name)
        .map(|text| parse(text).with_context(|| format!("{name} is no number that fits")))
        .transpose()
}

#[cfg(test)]
mod tests;
