use std::fmt;

use hotswap_common::metrics::{Counter, Durations, DurationsSnapshot, Family, METRIC_POINTS};
use hotswap_common::trace;
use hotswap_fleet::metrics::{NODE_FAILURES, NODE_OPERATIONS};
use hotswap_runner::metrics::{
    APPENDS, DIFFERING, LEASES, RECONCILER_LAG, REVERTS, STEPS, TAKE_OVERS,
};
use hotswap_store::metrics::{RECONNECTS, TAIL};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The measurements of the crates below this one.
#[derive(Debug)]
pub(super) struct ProcessMetrics;

struct Histogram(DurationsSnapshot);

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let DurationsSnapshot {
            count,
            sum,
            buckets,
        } = &self.0;
        encoder.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let encoder = &mut encoder;
        durations(
            encoder,
            "deployment_step_duration_seconds",
            "Time that a step of a deployment took, without waits, by step",
            "step",
            &STEPS,
        )?;
        counters(
            encoder,
            "deployments_reverted",
            "Deployments that began to revert since this process started, by the kind of the cause",
            "cause",
            REVERTS.iter().map(|(cause, count)| (cause, count.get())),
        )?;
        durations(
            encoder,
            "node_operation_duration_seconds",
            "Time from the first request to a node to the last answer, by order or probe",
            "operation",
            &NODE_OPERATIONS,
        )?;
        let failures = NODE_FAILURES.iter();
        counters(
            encoder,
            "node_operation_failures",
            "Orders and probes that failed since this process started",
            "operation",
            failures.map(|(operation, count): (_, &Counter)| (operation, count.get())),
        )?;
        let help = "Time until the events of a driver were durable in the store";
        let name = "journal_append_duration_seconds";
        let family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        Histogram(APPENDS.snapshot()).encode(family)?;
        for (name, help, gauge) in [
            (
                "reconciler_differing",
                "Modules on nodes that should run something else and that no deployment changes",
                &DIFFERING,
            ),
            (
                "reconciler_lag_seconds",
                "For how long the one that waits longest has differed",
                &RECONCILER_LAG,
            ),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::<f64>::new(gauge.get()).encode(family)?;
        }
        shared_store(encoder)?;
        let spans = trace::counts();
        counters(
            encoder,
            "trace_spans",
            "Recorded spans since this process started, by what became of them",
            "outcome",
            spans.by_outcome().into_iter(),
        )?;
        counters(
            encoder,
            "metric_points",
            "Points of metrics sent by OTLP since this process started, by what became of them",
            "outcome",
            METRIC_POINTS
                .iter()
                .map(|(outcome, count)| (outcome, count.get())),
        )
    }
}

/// What several engines on one store are watched by.
fn shared_store(encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let help = "Leases that this engine holds: deployments that it drives, environments in which \
                it works";
    let mut family = encoder.encode_descriptor("store_leases", help, None, MetricType::Gauge)?;
    for (kind, leases) in LEASES.iter() {
        let labels = [("kind", kind)];
        ConstGauge::<f64>::new(leases.get()).encode(family.encode_family(&labels)?)?;
    }
    for (name, help, counter) in [
        (
            "store_take_overs",
            "Deployments that this engine took over: another one drove them before, or this one \
             before it was started again or cut off",
            &TAKE_OVERS,
        ),
        (
            "store_reconnects",
            "Connections to the store that broke and were made again",
            &RECONNECTS,
        ),
    ] {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(counter.get()).encode(family)?;
    }
    let help = "For how long this engine has not seen all appends of the other engines, 0 while \
                it follows them";
    let name = "store_tail_lag_seconds";
    let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::<f64>::new(TAIL.get().as_secs_f64()).encode(family)
}

fn durations<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    durations: &Family<Durations, N>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (value, durations) in durations.iter() {
        let labels = [(label, value)];
        Histogram(durations.snapshot()).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    counts: impl Iterator<Item = (&'static str, u64)>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (value, count) in counts {
        let labels = [(label, value)];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
