//! Gauges whose values are read when somebody scrapes the metrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hotswap_core::Health;
use hotswap_fleet::Registry;
use hotswap_runner::{Deployments, DiskUsage};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// The deployments whose journals the engine cannot read, and the cordons and policies that it
/// cannot read.
pub(super) struct DamagedGauge(pub Deployments);

/// Whether the store was found to have lost writes lately.
pub(super) struct LossGauge(pub Deployments);

/// Whether the store promises what it should.
pub(super) struct DurabilityGauge(pub Deployments);

/// The nodes by environment and health.
pub(super) struct NodeGauges(pub Registry);

/// What uses space on the engine's disk, as it was read last. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct DiskGauges(Arc<Mutex<Option<DiskUsage>>>);

/// The connections of each hub.
pub(super) struct HubGauges<F>(pub F);

impl Collector for DamagedGauge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Deployments that have not ended and whose journals this engine cannot read: \
                    nothing drives them, and an admin can terminate them";
        let gauge =
            encoder.encode_descriptor("deployments_damaged", help, None, MetricType::Gauge)?;
        let count = i64::try_from(self.0.damaged()).unwrap_or(i64::MAX);
        ConstGauge::<i64>::new(count).encode(gauge)?;
        let name = "environment_events_damaged";
        let help = "Cordons of nodes and policies of environments that this engine cannot read: \
                    the nodes stay drained, and no deployment begins in the environments";
        let gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let count = i64::try_from(self.0.damaged_environment_events()).unwrap_or(i64::MAX);
        ConstGauge::<i64>::new(count).encode(gauge)
    }
}

impl Collector for LossGauge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "1 for seven days after the store was found to have lost writes that it had \
                    acknowledged, else 0";
        let gauge =
            encoder.encode_descriptor("store_lost_writes", help, None, MetricType::Gauge)?;
        ConstGauge::<i64>::new(self.0.recent_loss().is_some().into()).encode(gauge)
    }
}

impl Collector for DurabilityGauge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "0 while the store promises less than is required, or than when this engine \
                    started, else 1";
        let gauge = encoder.encode_descriptor("store_durable", help, None, MetricType::Gauge)?;
        ConstGauge::<i64>::new(self.0.lost_durability().is_none().into()).encode(gauge)
    }
}

impl Collector for NodeGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut counts: BTreeMap<(String, &'static str), i64> = BTreeMap::new();
        for member in self.0.members() {
            let health = match member.health {
                Health::Passing => "passing",
                Health::Warning => "warning",
                Health::Critical => "critical",
                Health::Unknown => "unknown",
            };
            let environment = member.record.environment.to_string();
            *counts.entry((environment, health)).or_default() += 1;
        }
        let help = "Nodes, by environment and health";
        let mut family = encoder.encode_descriptor("nodes", help, None, MetricType::Gauge)?;
        for ((environment, health), count) in counts {
            let labels = [("environment", environment.as_str()), ("health", health)];
            let gauge = family.encode_family(&labels)?;
            ConstGauge::<i64>::new(count).encode(gauge)?;
        }
        Ok(())
    }
}

impl DiskGauges {
    pub fn set(&self, usage: DiskUsage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(usage);
    }
}

impl Collector for DiskGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let usage = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(usage) = usage else {
            return Ok(());
        };
        let help = "Bytes on the engine's disk, by what takes them; `free` is what is left";
        let mut family = encoder.encode_descriptor("disk_bytes", help, None, MetricType::Gauge)?;
        for (kind, bytes) in [
            ("database", usage.store.database_bytes),
            ("artifacts", usage.artifacts.bytes),
            ("components", usage.components.bytes),
            ("others", usage.others.bytes),
            ("reserve", usage.store.reserve_bytes),
            ("free", usage.store.free_bytes),
        ] {
            let labels = [("kind", kind)];
            let gauge = family.encode_family(&labels)?;
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            ConstGauge::<i64>::new(bytes).encode(gauge)?;
        }
        let help = "1 while the disk is so full that nothing new is accepted";
        let gauge = encoder.encode_descriptor("disk_full", help, None, MetricType::Gauge)?;
        ConstGauge::<i64>::new(usage.is_full.into()).encode(gauge)
    }
}

impl<F> Collector for HubGauges<F>
where
    F: Fn() -> [(&'static str, usize); 2] + Send + Sync + 'static,
{
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Open connections for live updates, by hub";
        let mut family =
            encoder.encode_descriptor("hub_connections", help, None, MetricType::Gauge)?;
        for (hub, count) in (self.0)() {
            let labels = [("hub", hub)];
            let gauge = family.encode_family(&labels)?;
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::<i64>::new(count).encode(gauge)?;
        }
        Ok(())
    }
}

impl fmt::Debug for DamagedGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DamagedGauge")
            .field(&self.0.damaged())
            .finish()
    }
}

impl fmt::Debug for LossGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LossGauge").finish_non_exhaustive()
    }
}

impl fmt::Debug for DurabilityGauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DurabilityGauge").finish_non_exhaustive()
    }
}

impl fmt::Debug for NodeGauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeGauges")
    }
}

impl<F> fmt::Debug for HubGauges<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubGauges")
    }
}
