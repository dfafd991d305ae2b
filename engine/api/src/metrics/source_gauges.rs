use std::fmt;

use hotswap_fleet::discovery::{Condition, ErrorKind, Polled, Sources};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

const CONDITIONS: [(Condition, &str); 4] = [
    (Condition::Starting, "starting"),
    (Condition::Healthy, "healthy"),
    (Condition::Stale, "stale"),
    (Condition::Held, "held"),
];

/// The sources of nodes. Their names come from the configuration.
#[derive(Debug)]
pub(super) struct SourceGauges {
    pub sources: Sources,
    pub polled: Polled,
}

impl Collector for SourceGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let states: Vec<_> = self
            .sources
            .iter()
            .map(|source| (source.name(), source.state()))
            .collect();
        let help = "1 for the condition that a source of nodes has, 0 for the others";
        let name = "discovery_source_condition";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (source, state) in &states {
            for (condition, text) in CONDITIONS {
                let labels = [("source", *source), ("condition", text)];
                let gauge = family.encode_family(&labels)?;
                let is_it = i64::from(state.condition == condition);
                ConstGauge::<i64>::new(is_it).encode(gauge)?;
            }
        }
        let help = "Instances that a source of nodes shows";
        let name = "discovery_source_instances";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (source, state) in &states {
            let labels = [("source", *source)];
            let gauge = family.encode_family(&labels)?;
            let count = i64::try_from(state.instances).unwrap_or(i64::MAX);
            ConstGauge::<i64>::new(count).encode(gauge)?;
        }
        let help = "Seconds since the registry of a source last said what the source shows";
        let name = "discovery_source_age_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (source, state) in &states {
            let Some(age) = state.age else {
                continue;
            };
            let labels = [("source", *source)];
            let gauge = family.encode_family(&labels)?;
            ConstGauge::<f64>::new(age.as_secs_f64()).encode(gauge)?;
        }
        let help = "Instances that the engine asks, by whether they were taken as nodes";
        let name = "discovery_source_polled";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (source, _) in &states {
            let (taken, refused) = self.polled.count(source);
            for (outcome, count) in [("taken", taken), ("refused", refused)] {
                let labels = [("source", *source), ("outcome", outcome)];
                let gauge = family.encode_family(&labels)?;
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                ConstGauge::<i64>::new(count).encode(gauge)?;
            }
        }
        let help = "Requests to the registry of a source, by outcome";
        let name = "discovery_source_answers";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (source, state) in &states {
            let failed = ErrorKind::ALL.map(|kind| {
                let count = state.outcomes.failed.get(&kind).copied();
                (kind.as_str(), count.unwrap_or_default())
            });
            for (outcome, count) in [("answered", state.outcomes.answered)]
                .into_iter()
                .chain(failed)
            {
                let labels = [("source", *source), ("outcome", outcome)];
                let counter = family.encode_family(&labels)?;
                ConstCounter::<u64>::new(count).encode(counter)?;
            }
        }
        Ok(())
    }
}
