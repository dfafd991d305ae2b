//! What the nodes of an environment do, from one reading of their counters to the next.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hotswap_core::{
    Digest, Environment, Histogram, ModuleName, NodeId, NodeReading, VersionReading,
};
use hotswap_runner::Engine;
use hotswap_store::ModuleRecord;
use serde_json::{Value, json};

/// Nodes that are asked side by side.
const FAN_OUT: usize = 16;

/// Keeps what was read last.
#[derive(Debug)]
pub(super) struct Sampler {
    environment: Environment,
    last: HashMap<(NodeId, ModuleName), NodeReading>,
    at: Option<u64>,
}

/// What one version did since the reading before, on all nodes together.
#[derive(Debug, Default)]
struct Sum {
    nodes: u64,
    requests: u64,
    errors: u64,
    cpu_micros: u64,
    latency: Histogram,
    /// Of one instance, summed over the nodes.
    memory: u64,
}

impl Sampler {
    pub fn new(environment: Environment) -> Self {
        Self {
            environment,
            last: HashMap::new(),
            at: None,
        }
    }

    /// Reads all counters. Nothing where there was no reading before: rates are of the time
    /// between two.
    pub async fn sample(&mut self, engine: &Engine) -> Option<Value> {
        let records = match engine.modules.list(None).await {
            Ok(records) => records,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "the modules could not be listed, so nothing is measured"
                );
                return None;
            }
        };
        let mut modules: Vec<_> = records.iter().map(|it| it.module.name.clone()).collect();
        modules.sort_unstable();
        modules.dedup();
        let members = engine.registry.members_of(&self.environment);
        let nodes: Vec<NodeId> = members.into_iter().map(|it| it.record.id.clone()).collect();
        let wanted = nodes.iter().flat_map(|node| {
            let modules = modules.iter();
            modules.map(move |module| (node.clone(), module.clone()))
        });
        let readings: Vec<_> = stream::iter(wanted.collect::<Vec<_>>())
            .map(|(node, module)| async move {
                let reading = engine.fleet.read(&node, &module).await.ok()?;
                Some(((node, module), reading))
            })
            .buffer_unordered(FAN_OUT)
            .filter_map(std::future::ready)
            .collect()
            .await;
        let now = engine.clock.now().millis();
        let before = self.at.replace(now);
        let last = std::mem::replace(&mut self.last, readings.into_iter().collect());
        let interval = now.saturating_sub(before?);
        Some(self.told(&last, &records, nodes.len(), (now, interval)))
    }

    fn told(
        &self,
        last: &HashMap<(NodeId, ModuleName), NodeReading>,
        records: &[ModuleRecord],
        nodes: usize,
        (now, interval): (u64, u64),
    ) -> Value {
        let mut sums: BTreeMap<(&ModuleName, Digest), Sum> = BTreeMap::new();
        // Of the process, whatever module was asked for.
        let mut cpu: HashMap<&NodeId, u64> = HashMap::new();
        for (key @ (node, module), reading) in &self.last {
            let earlier = last.get(key);
            // Counters of another start of the process are other counters.
            let earlier = earlier.filter(|earlier| earlier.boot == reading.boot);
            let used = earlier.map_or(0, |earlier| {
                reading.cpu_millis.saturating_sub(earlier.cpu_millis)
            });
            let of = cpu.entry(node).or_default();
            *of = used.max(*of);
            for version in &reading.versions {
                let was = earlier.and_then(|earlier| {
                    let mut versions = earlier.versions.iter();
                    versions.find(|was| was.digest == version.digest)
                });
                let sum = sums.entry((module, version.digest)).or_default();
                sum.nodes += 1;
                sum.memory += version.memory;
                // What a node did before it was first read is not of this interval.
                if earlier.is_some() {
                    sum.add(version, was);
                }
            }
        }
        let seconds = Duration::from_millis(interval.max(1)).as_secs_f64();
        let versions = sums.into_iter().map(|((module, digest), sum)| {
            let mut versions = records.iter().map(|record| &record.module);
            let version = versions.find(|it| it.name == *module && it.digest == digest);
            sum.told(
                module,
                digest,
                version.map(|it| it.version.to_string()),
                seconds,
            )
        });
        let millis: u64 = cpu.values().sum();
        json!({
            "environment": self.environment.as_str(),
            "timestamp": now,
            "intervalMs": interval,
            "nodes": nodes,
            "nodesAnswering": cpu.len(),
            "cpu": Duration::from_millis(millis).as_secs_f64() / seconds,
            "versions": versions.collect::<Vec<_>>(),
        })
    }
}

impl Sum {
    /// What a node's counters rose by: all that they show, where there was nothing before.
    fn add(&mut self, now: &VersionReading, was: Option<&VersionReading>) {
        let rise = |of: fn(&VersionReading) -> u64| of(now).saturating_sub(was.map_or(0, of));
        self.requests += rise(|it| it.requests);
        self.errors += rise(|it| it.errors);
        self.cpu_micros += rise(|it| it.cpu_micros);
        match was {
            Some(was) => self.latency.add(&now.latency.since(&was.latency)),
            None => self.latency.add(&now.latency),
        }
    }

    fn told(
        &self,
        module: &ModuleName,
        digest: Digest,
        version: Option<String>,
        seconds: f64,
    ) -> Value {
        let requests = self.requests as f64;
        let mut told = json!({
            "moduleName": module.as_str(),
            "digest": digest.to_string(),
            "nodes": self.nodes,
            "requestsPerSecond": requests / seconds,
            "errorRate": if self.requests == 0 { 0.0 } else { self.errors as f64 / requests },
            "cpu": self.cpu_micros as f64 / 1e6 / seconds,
            "memoryBytes": self.memory / self.nodes.max(1),
        });
        if let Some(version) = version {
            told["version"] = version.into();
        }
        for (name, share) in [
            ("latencyP50Ms", 0.5),
            ("latencyP95Ms", 0.95),
            ("latencyP99Ms", 0.99),
        ] {
            if let Some(micros) = quantile(&self.latency, share) {
                told[name] = (micros as f64 / 1000.0).into();
            }
        }
        told
    }
}

/// The upper end of the bucket in which the share of all is reached, in microseconds: at
/// most an eighth more than the value itself.
fn quantile(latency: &Histogram, share: f64) -> Option<u64> {
    let total = latency.total();
    let rank = (share * total as f64).ceil().max(1.0);
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
    fn quantiles_of_what_was_counted() {
        let mut latency = Histogram::default();
        assert_eq!(quantile(&latency, 0.5), None);
        for millis in 1..=100 {
            let bucket = Histogram::bucket(Duration::from_millis(millis));
            latency.add(&Histogram::from_counts(
                (0..Histogram::BUCKETS).map(|at| u64::from(at == bucket)),
            ));
        }
        for (share, millis) in [(0.5, 50_000), (0.95, 95_000), (0.99, 99_000)] {
            let found = quantile(&latency, share).unwrap();
            assert!(
                found >= millis && found <= millis + millis / 8,
                "{share}: {found}"
            );
        }
    }
}
