use std::fmt::Error;
use std::time::Duration;

use hotswap_core::Histogram;
use hotswap_protocol::VersionStatus;
use poem::http::header::CONTENT_TYPE;
use poem::{IntoResponse as _, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::Context;
use crate::process;

/// Upper bounds of the latency histogram that is exposed, in milliseconds.
const BOUNDS: [u64; 14] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000,
];

/// All metrics, in the text format of OpenMetrics.
pub(super) fn answer(context: &Context) -> Response {
    let mut registry = Registry::with_prefix("hotswap_node");
    registry.register_collector(Box::new(Snapshot::of(context)));
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = text::encode(&mut text, &registry);
    text.with_header(
        CONTENT_TYPE,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )
    .into_response()
}

/// The node's counters at one moment.
#[derive(Debug)]
struct Snapshot {
    versions: Vec<(String, VersionStatus)>,
}

type Labels<'a> = [(&'static str, &'a str); 2];

impl Snapshot {
    fn of(context: &Context) -> Self {
        let table = context.modules.table();
        let mut versions: Vec<_> = table
            .iter()
            .flat_map(|(module, route)| {
                let counters = route.counters.iter();
                counters.map(move |one| (module.to_owned(), one.status()))
            })
            .collect();
        versions.sort_by(|(a, one), (b, other)| {
            (a, &one.version.version).cmp(&(b, &other.version.version))
        });
        Self { versions }
    }

    /// One metric for all versions.
    fn each<M: EncodeMetric>(
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

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let encoder = &mut encoder;
        let cpu = ConstCounter::new(process::cpu_millis() as f64 / 1000.0);
        cpu.encode(encoder.encode_descriptor(
            "cpu",
            "CPU time that the process has used",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?)?;
        let memory = ConstGauge::new(process::memory_bytes() as i64);
        memory.encode(encoder.encode_descriptor(
            "memory",
            "Memory that the process holds",
            Some(&Unit::Bytes),
            MetricType::Gauge,
        )?)?;

        self.each(
            encoder,
            ("requests", "Requests answered", None),
            MetricType::Counter,
            |version| ConstCounter::new(version.requests),
        )?;
        self.each(
            encoder,
            (
                "errors",
                "Requests answered with a status of 500 or more, or not at all",
                None,
            ),
            MetricType::Counter,
            |version| ConstCounter::new(version.errors),
        )?;
        self.each(
            encoder,
            ("in_flight", "Requests being answered", None),
            MetricType::Gauge,
            |version| ConstGauge::new(version.in_flight as i64),
        )?;
        self.each(
            encoder,
            (
                "version_cpu",
                "CPU time that its instances have used, an estimate",
                Some(&Unit::Seconds),
            ),
            MetricType::Counter,
            |version| ConstCounter::new(version.cpu_micros as f64 / 1e6),
        )?;
        self.each(
            encoder,
            (
                "instance_memory",
                "Memory of one instance, a moving average",
                Some(&Unit::Bytes),
            ),
            MetricType::Gauge,
            |version| ConstGauge::new(version.memory_bytes as i64),
        )?;
        self.each(
            encoder,
            (
                "latency",
                "From the request's head to the end of the answer's body; the sum is exact \
                 to an eighth",
                Some(&Unit::Seconds),
            ),
            MetricType::Histogram,
            Latency::of,
        )
    }
}

/// A latency histogram as Prometheus has it.
struct Latency {
    sum: f64,
    count: u64,
    buckets: Vec<(f64, u64)>,
}

impl Latency {
    fn of(version: &VersionStatus) -> Self {
        let pairs = version.latency.iter().map(|one| (one.bucket, one.count));
        let histogram = Histogram::from_pairs(pairs.collect()).unwrap_or_default();
        let count = histogram.total();
        let sum = histogram.pairs().iter().map(|&(bucket, count)| {
            Histogram::upper_micros(bucket.into()) as f64 * count as f64 / 1e6
        });
        let mut below = 0;
        let mut buckets: Vec<_> = BOUNDS
            .iter()
            .map(|&millis| {
                let until = count - histogram.above(Duration::from_millis(millis));
                let within = until - below;
                below = until;
                (millis as f64 / 1000.0, within)
            })
            .collect();
        buckets.push((f64::INFINITY, count - below));
        Self {
            sum: sum.sum(),
            count,
            buckets,
        }
    }
}

impl EncodeMetric for Latency {
    fn encode(
        &self,
        mut encoder: prometheus_client::encoding::MetricEncoder<'_>,
    ) -> Result<(), Error> {
        encoder.encode_histogram::<NoLabelSet>(self.sum, self.count, &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
