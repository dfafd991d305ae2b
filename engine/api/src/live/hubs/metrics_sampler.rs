//! The metrics of an environment's nodes, as the difference between two readings of their
//! counters.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use hotswap_core::{
    Digest, Environment, Histogram, ModuleName, NodeId, NodeReading, VersionReading,
};
use hotswap_runner::Engine;
use hotswap_store::ModuleRecord;
use serde_json::{Value, json};

/// The maximum number of concurrent reads.
const CONCURRENCY: usize = 16;

type Readings = HashMap<(NodeId, ModuleName), NodeReading>;

/// Reads the counters of one environment's nodes and keeps the last reading.
#[derive(Debug)]
pub(super) struct MetricsSampler {
    environment: Environment,
    last_readings: Readings,
    /// The moment of the last reading.
    last_read_at: Option<Instant>,
}

/// What one version did since the last reading, on all nodes together.
#[derive(Debug, Default)]
struct VersionTotals {
    nodes: u64,
    requests: u64,
    errors: u64,
    cpu_micros: u64,
    latency: Histogram,
    /// The memory of one instance, in bytes, summed over the nodes.
    memory: u64,
}

impl MetricsSampler {
    pub fn new(environment: Environment) -> Self {
        Self {
            environment,
            last_readings: HashMap::new(),
            last_read_at: None,
        }
    }

    /// Reads all counters and returns the metrics since the last reading. `None` for the
    /// first reading, and where the modules cannot be listed.
    pub async fn sample(&mut self, engine: &Engine) -> Option<Value> {
        let records = match engine.modules.list(None).await {
            Ok(records) => records,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "listing modules failed; skipping this metrics sample"
                );
                return None;
            }
        };
        let mut modules: Vec<_> = records.iter().map(|it| it.module.name.clone()).collect();
        modules.sort_unstable();
        modules.dedup();
        let members = engine.registry.members_of(&self.environment);
        let nodes: Vec<NodeId> = members.into_iter().map(|it| it.record.id.clone()).collect();
        let pairs = nodes.iter().flat_map(|node| {
            let modules = modules.iter();
            modules.map(move |module| (node.clone(), module.clone()))
        });
        let environment = &self.environment;
        let readings: Readings = stream::iter(pairs.collect::<Vec<_>>())
            .map(|(node, module)| async move {
                let reading = engine.fleet.read(environment, &node, &module).await.ok()?;
                Some(((node, module), reading))
            })
            .buffer_unordered(CONCURRENCY)
            .filter_map(std::future::ready)
            .collect()
            .await;
        let (now, read_at) = (engine.clock.now().millis(), engine.clock.instant());
        let last_read_at = self.last_read_at.replace(read_at);
        let last_readings = std::mem::replace(&mut self.last_readings, readings);
        let interval = read_at.saturating_duration_since(last_read_at?);
        let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        Some(self.compare(&last_readings, &records, nodes.len(), (now, interval)))
    }

    /// The sample of the interval in milliseconds between `before` and the last readings.
    fn compare(
        &self,
        before: &Readings,
        records: &[ModuleRecord],
        nodes: usize,
        (now, interval): (u64, u64),
    ) -> Value {
        let mut totals: BTreeMap<(&ModuleName, Digest), VersionTotals> = BTreeMap::new();
        // Of the node's process: the same in the readings of all its modules.
        let mut cpu_millis: HashMap<&NodeId, u64> = HashMap::new();
        for (key @ (node, module), reading) in &self.last_readings {
            let earlier = before.get(key);
            // A restart of the process resets the counters.
            let earlier = earlier.filter(|earlier| earlier.boot == reading.boot);
            let used = earlier.map_or(0, |earlier| {
                reading.cpu_millis.saturating_sub(earlier.cpu_millis)
            });
            let node_cpu = cpu_millis.entry(node).or_default();
            *node_cpu = used.max(*node_cpu);
            for version in &reading.versions {
                let earlier_version = earlier.and_then(|earlier| {
                    let mut versions = earlier.versions.iter();
                    versions.find(|earlier| earlier.digest == version.digest)
                });
                let totals = totals.entry((module, version.digest)).or_default();
                totals.nodes += 1;
                totals.memory += version.memory;
                // What a node did before its first reading is not part of the interval.
                if earlier.is_some() {
                    totals.add(version, earlier_version);
                }
            }
        }
        let seconds = Duration::from_millis(interval.max(1)).as_secs_f64();
        // The first record of a digest is the newest version.
        let names = records.iter().rev().map(|record| &record.module);
        let names: HashMap<_, _> = names
            .map(|module| ((&module.name, module.digest), &module.version))
            .collect();
        let versions = totals.into_iter().map(|((module, digest), totals)| {
            let version = names.get(&(module, digest));
            let version = version.map(|version| version.to_string());
            totals.to_json(module, digest, version, seconds)
        });
        let total_millis: u64 = cpu_millis.values().sum();
        json!({
            "environment": self.environment.as_str(),
            "timestamp": now,
            "intervalMs": interval,
            "nodes": nodes,
            "nodesAnswering": cpu_millis.len(),
            "cpu": Duration::from_millis(total_millis).as_secs_f64() / seconds,
            "versions": versions.collect::<Vec<_>>(),
        })
    }
}

impl VersionTotals {
    /// Adds the increase of a node's counters. Without an earlier reading of this version,
    /// the counters started at 0 in this interval.
    fn add(&mut self, now: &VersionReading, earlier: Option<&VersionReading>) {
        let increase = |counter: fn(&VersionReading) -> u64| {
            counter(now).saturating_sub(earlier.map_or(0, counter))
        };
        self.requests += increase(|it| it.requests);
        self.errors += increase(|it| it.errors);
        self.cpu_micros += increase(|it| it.cpu_micros);
        match earlier {
            Some(earlier) => self.latency.add(&now.latency.since(&earlier.latency)),
            None => self.latency.add(&now.latency),
        }
    }

    fn to_json(
        &self,
        module: &ModuleName,
        digest: Digest,
        version: Option<String>,
        seconds: f64,
    ) -> Value {
        let requests = self.requests as f64;
        let mut json = json!({
            "moduleName": module.as_str(),
            "digest": digest.to_string(),
            "nodes": self.nodes,
            "requestsPerSecond": requests / seconds,
            "errorRate": if self.requests == 0 { 0.0 } else { self.errors as f64 / requests },
            "cpu": self.cpu_micros as f64 / 1e6 / seconds,
            "memoryBytes": self.memory / self.nodes.max(1),
        });
        if let Some(version) = version {
            json["version"] = version.into();
        }
        for (name, fraction) in [
            ("latencyP50Ms", 0.5),
            ("latencyP95Ms", 0.95),
            ("latencyP99Ms", 0.99),
        ] {
            if let Some(micros) = quantile(&self.latency, fraction) {
                json[name] = (micros as f64 / 1000.0).into();
            }
        }
        json
    }
}

/// The quantile in microseconds, rounded up to the end of its bucket: at most a 32nd more
/// than the exact value. `None` for an empty histogram.
fn quantile(latency: &Histogram, fraction: f64) -> Option<u64> {
    let total = latency.total();
    let rank = (fraction * total as f64).ceil().max(1.0);
    let mut seen = 0_u64;
    latency.pairs().iter().find_map(|&(bucket, count)| {
        seen = seen.saturating_add(count);
        (seen as f64 >= rank).then(|| Histogram::upper_micros(usize::from(bucket)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_a_32nd_too_high() {
        let mut latency = Histogram::default();
        assert_eq!(quantile(&latency, 0.5), None);
        for millis in 1..=100 {
            let bucket = Histogram::bucket(Duration::from_millis(millis));
            latency.add(&Histogram::from_counts(
                (0..Histogram::BUCKETS).map(|at| u64::from(at == bucket)),
            ));
        }
        for (fraction, millis) in [(0.5, 50_000), (0.95, 95_000), (0.99, 99_000)] {
            let found = quantile(&latency, fraction).unwrap();
            assert!(
                found >= millis && found <= millis + millis / 32,
                "{fraction}: {found}"
            );
        }
    }
}
