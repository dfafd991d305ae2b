use std::fmt::Error;
use std::time::Duration;

use hotswap_common::metrics::METRIC_POINTS;
use hotswap_common::trace;
use hotswap_core::Histogram;
use hotswap_protocol::{ModuleMetric, Traffic, VersionStatus};
use poem::http::header::CONTENT_TYPE;
use poem::{IntoResponse as _, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::{ControlContext, Modules};
use crate::process;

/// Upper bounds of the buckets in the exposed latency histogram, in milliseconds.
const LATENCY_BOUNDS_MILLIS: [u64; 14] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000,
];

/// All metrics of a node, in the text format of OpenMetrics.
pub(crate) fn metrics_text(modules: &Modules) -> String {
    let mut registry = Registry::with_prefix("hotswap_node");
    registry.register_collector(Box::new(MetricsSnapshot::take(modules)));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = text::encode(&mut text, &registry);
    text
}

/// The same, to those who ask.
pub(super) fn metrics_response(context: &ControlContext) -> Response {
    let text = metrics_text(&context.modules);
    text.with_header(
        CONTENT_TYPE,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )
    .into_response()
}

/// The counters of all versions at one moment.
#[derive(Debug)]
struct MetricsSnapshot {
    traffic: Traffic,
    versions: Vec<(String, VersionStatus)>,
}

type Labels<'a> = [(&'static str, &'a str); 2];

/// What is shown of a metric of a module's own.
type ModuleValue = fn(&ModuleMetric) -> f64;

impl MetricsSnapshot {
    fn take(modules: &Modules) -> Self {
        let table = modules.routing_table().load();
        let mut versions: Vec<_> = table
            .iter()
            .flat_map(|(module, route)| {
                let counters = route.counters.iter();
                counters.map(move |counters| (module.to_owned(), counters.status()))
            })
            .collect();
        versions.sort_by(|(module_a, a), (module_b, b)| {
            (module_a, &a.version.version).cmp(&(module_b, &b.version.version))
        });
        let traffic = modules.traffic();
        Self { traffic, versions }
    }

    /// Encodes the requests that no version is to be blamed for, by what became of them.
    fn encode_requests_without_version(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> Result<(), Error> {
        let mut family = encoder.encode_descriptor(
            "rejected_requests",
            "Requests that reached no version: not valid, or for a module that does not run here",
            None,
            MetricType::Counter,
        )?;
        for (reason, count) in [
            ("malformed", self.traffic.malformed),
            ("unroutable", self.traffic.unroutable),
        ] {
            let labels = [("reason", reason)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Encodes a metric family with one metric per version and cause.
    fn encode_client_faults(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut family = encoder.encode_descriptor(
            "client_faults",
            "Requests that came to nothing because of their clients: they left, or were too slow",
            None,
            MetricType::Counter,
        )?;
        for (module, status) in &self.versions {
            let (version, client) = (status.version.version.as_str(), status.client);
            for (cause, count) in [
                ("left", client.left),
                ("slow_upload", client.slow_uploads),
                ("slow_reader", client.slow_readers),
            ] {
                let labels = [
                    ("module", module.as_str()),
                    ("version", version),
                    ("cause", cause),
                ];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    /// Encodes what versions say of the metrics of their modules' own.
    fn encode_module_metrics(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let families: [(_, _, ModuleValue); 2] = [
            (
                "module_metric_requests",
                "Requests whose responses named a metric of the module's own",
                |metric| metric.requests as f64,
            ),
            (
                "module_metric_value_sum",
                "The sum of the values of a metric of the module's own",
                |metric| metric.sum_thousandths as f64 / 1e3,
            ),
        ];
        for (name, help, value) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (module, status) in &self.versions {
                for metric in &status.metrics {
                    let labels = [
                        ("module", module.as_str()),
                        ("version", status.version.version.as_str()),
                        ("metric", metric.name.as_str()),
                    ];
                    let counter = ConstCounter::new(value(metric));
                    counter.encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    /// Encodes a metric family with one metric per version.
    fn encode_family<M: EncodeMetric>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help, unit): (&str, &str, Option<&Unit>),
        kind: MetricType,
        metric: impl Fn(&VersionStatus) -> M,
    ) -> Result<(), Error> {
        let mut family = encoder.encode_descriptor(name, help, unit, kind)?;
        for (module, version) in &self.versions {
            let labels: Labels<'_> = [("module", module), ("version", &version.version.version)];
            metric(version).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Encodes a counter for each outcome of what the process sends.
fn encode_outcomes(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: impl IntoIterator<Item = (&'static str, u64)>,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (outcome, count) in counts {
        let labels = [("outcome", outcome)];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

impl Collector for MetricsSnapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let encoder = &mut encoder;
        self.encode_requests_without_version(encoder)?;
        encode_outcomes(
            encoder,
            "trace_spans",
            "Recorded spans since this process started, by what became of them",
            trace::counts().by_outcome(),
        )?;
        encode_outcomes(
            encoder,
            "metric_points",
            "Points of metrics sent by OTLP since this process started, by what became of them",
            METRIC_POINTS
                .iter()
                .map(|(outcome, count)| (outcome, count.get())),
        )?;
        let cpu = ConstCounter::new(process::cpu_millis() as f64 / 1000.0);
        cpu.encode(encoder.encode_descriptor(
            "cpu",
            "CPU time used by the process",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?)?;
        let memory = ConstGauge::new(process::memory_bytes() as i64);
        memory.encode(encoder.encode_descriptor(
            "memory",
            "Resident memory of the process",
            Some(&Unit::Bytes),
            MetricType::Gauge,
        )?)?;

        self.encode_family(
            encoder,
            ("requests", "Requests answered", None),
            MetricType::Counter,
            |version| ConstCounter::new(version.requests),
        )?;
        self.encode_family(
            encoder,
            (
                "errors",
                "Requests answered with a status of 500 or more, or not at all",
                None,
            ),
            MetricType::Counter,
            |version| ConstCounter::new(version.errors),
        )?;
        self.encode_client_faults(encoder)?;
        self.encode_module_metrics(encoder)?;
        self.encode_family(
            encoder,
            (
                "synthetic_requests",
                "Requests that the node itself has sent",
                None,
            ),
            MetricType::Counter,
            |version| ConstCounter::new(version.synthetic),
        )?;
        self.encode_family(
            encoder,
            (
                "ignored_module_metrics",
                "Metrics in responses that could not be read, or have too many names",
                None,
            ),
            MetricType::Counter,
            |version| ConstCounter::new(version.ignored_metrics),
        )?;
        self.encode_family(
            encoder,
            ("streams", "Responses that were long streams", None),
            MetricType::Counter,
            |version| ConstCounter::new(version.streams),
        )?;
        self.encode_family(
            encoder,
            ("refused", "Requests refused because too many ran", None),
            MetricType::Counter,
            |version| ConstCounter::new(version.refused),
        )?;
        self.encode_family(
            encoder,
            ("queued", "Requests that waited for others to end", None),
            MetricType::Counter,
            |version| ConstCounter::new(version.queued),
        )?;
        self.encode_family(
            encoder,
            ("in_flight", "Requests in progress", None),
            MetricType::Gauge,
            |version| ConstGauge::new(version.in_flight as i64),
        )?;
        self.encode_family(
            encoder,
            (
                "version_cpu",
                "Estimated CPU time used by instances of the version",
                Some(&Unit::Seconds),
            ),
            MetricType::Counter,
            |version| ConstCounter::new(version.cpu_micros as f64 / 1e6),
        )?;
        self.encode_family(
            encoder,
            (
                "instance_memory",
                "Moving average of the memory of one instance",
                Some(&Unit::Bytes),
            ),
            MetricType::Gauge,
            |version| ConstGauge::new(version.memory_bytes as i64),
        )?;
        self.encode_family(
            encoder,
            (
                "latency",
                "Time that the version took to answer a request, without waits for its client; the \
                 sum is exact to a 32nd",
                Some(&Unit::Seconds),
            ),
            MetricType::Histogram,
            PrometheusHistogram::of_latency,
        )
    }
}

/// A latency histogram in the form that Prometheus expects.
struct PrometheusHistogram {
    sum: f64,
    count: u64,
    buckets: Vec<(f64, u64)>,
}

impl PrometheusHistogram {
    fn of_latency(version: &VersionStatus) -> Self {
        let pairs = version
            .latency
            .iter()
            .map(|bucket| (bucket.bucket, bucket.count));
        let precision = version.latency_precision;
        let histogram = Histogram::from_pairs(precision, pairs.collect()).unwrap_or_default();
        let count = histogram.total();
        let sum = histogram.pairs().iter().map(|&(bucket, count)| {
            Histogram::upper_micros(bucket.into()) as f64 * count as f64 / 1e6
        });
        let mut cumulative = 0;
        let mut buckets: Vec<_> = LATENCY_BOUNDS_MILLIS
            .iter()
            .map(|&millis| {
                let up_to_bound = count - histogram.above(Duration::from_millis(millis));
                let in_bucket = up_to_bound - cumulative;
                cumulative = up_to_bound;
                (millis as f64 / 1000.0, in_bucket)
            })
            .collect();
        buckets.push((f64::INFINITY, count - cumulative));
        Self {
            sum: sum.sum(),
            count,
            buckets,
        }
    }
}

impl EncodeMetric for PrometheusHistogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        encoder.encode_histogram::<NoLabelSet>(self.sum, self.count, &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
