//! Soaks that cannot decide anything at the present traffic.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hotswap_core::{
    Call, DerivedChecks, Environment, Finding, Judge, Judgement, ModuleName, ModuleVersion, NodeId,
    NodeReading, NodeTraffic, RecordedBaseline, SoakHistory, SoakOptions,
};
use hotswap_fleet::Fleet;
use humantime::format_duration;

use crate::soak_probes::SoakProbes;

/// Nodes that are asked for their traffic. The others are taken to have as much.
const ASKED: usize = 64;
/// How long their requests are counted.
pub(super) const COUNTED: Duration = Duration::from_millis(1500);
/// Warnings of one preview: many soaks lack the same.
const MAX_WARNINGS: usize = 5;

/// The nodes that soaks among these calls read. Empty where none has checks.
pub(super) fn soaked_nodes(calls: &[&Call]) -> Vec<NodeId> {
    let mut nodes = BTreeSet::new();
    for call in calls {
        if let Call::Soak {
            canary,
            baseline,
            checks,
            ..
        } = call
            && !checks.is_empty()
        {
            nodes.extend(canary.iter().chain(baseline));
        }
    }
    nodes.into_iter().take(ASKED).cloned().collect()
}

/// The requests that each of these nodes has answered of a module since it started, with the time
/// of the reading. Nodes that do not answer are left out.
pub(super) async fn read(
    fleet: &dyn Fleet,
    (environment, module): (&Environment, &ModuleName),
    nodes: &[NodeId],
) -> HashMap<NodeId, NodeReading> {
    let mut reads = Vec::with_capacity(nodes.len());
    for node in nodes {
        reads.push(fleet.read(environment, node, module));
    }
    let mut answers = stream::iter(reads).buffer_unordered(ASKED);
    let mut readings = HashMap::with_capacity(nodes.len());
    while let Some(answer) = answers.next().await {
        if let Ok(reading) = answer {
            readings.insert(reading.node.clone(), reading);
        }
    }
    readings
}

/// Requests in a second of each node that was read twice within `elapsed`.
pub(super) fn rates(
    before: &HashMap<NodeId, NodeReading>,
    after: &HashMap<NodeId, NodeReading>,
    elapsed: Duration,
) -> HashMap<NodeId, f64> {
    let requests = |reading: &NodeReading| -> u64 {
        let versions = reading.versions.iter();
        versions.fold(0, |sum, held| sum.saturating_add(held.requests))
    };
    let rate = |(node, reading): (&NodeId, &NodeReading)| {
        let earlier = before.get(node)?;
        let same_start = earlier.boot == reading.boot;
        let more = requests(reading).saturating_sub(requests(earlier));
        same_start.then(|| (node.clone(), more as f64 / elapsed.as_secs_f64()))
    };
    after.iter().filter_map(rate).collect()
}

/// What the nodes do now.
pub(super) struct PresentTraffic<'a> {
    /// Their last readings.
    pub(super) readings: &'a HashMap<NodeId, NodeReading>,
    /// Their requests in a second.
    pub(super) rates: &'a HashMap<NodeId, f64>,
}

/// A sentence for each soak of `module` that cannot decide at this traffic, where the new version
/// does as well as the previous one.
pub(super) fn warnings(
    calls: &[&Call],
    module: &ModuleVersion,
    PresentTraffic { readings, rates }: PresentTraffic<'_>,
    options: SoakOptions,
    probes: Option<&SoakProbes>,
) -> Vec<String> {
    if rates.is_empty() {
        return Vec::new();
    }
    let usual = rates.values().sum::<f64>() / rates.len() as f64;
    // Each version gets as many of the node's own.
    let own = probes.map_or(0.0, |probes| probes.rate_per_second);
    let mut percent = 100.0;
    let mut history = SoakHistory::default();
    let mut warnings = Vec::new();
    for call in calls {
        match call {
            Call::Shift { percent: share, .. } => percent = f64::from(*share),
            Call::Promote { .. } => percent = 100.0,
            Call::Soak {
                window,
                canary,
                baseline,
                checks,
            } => {
                let (on_canary, on_baseline): (BTreeSet<_>, BTreeSet<_>) =
                    (canary.iter().collect(), baseline.iter().collect());
                let traffic: Vec<_> = on_canary
                    .union(&on_baseline)
                    .map(|&node| {
                        let rate = rates.get(node).copied().unwrap_or(usual);
                        let is_shared = on_canary.contains(node) && on_baseline.contains(node);
                        let share = if is_shared { percent / 100.0 } else { 1.0 };
                        let rest = if is_shared { 1.0 - share } else { 1.0 };
                        NodeTraffic {
                            node: node.clone(),
                            canary: on_canary.contains(node).then_some(rate * share + own),
                            baseline: on_baseline.contains(node).then_some(rate * rest + own),
                        }
                    })
                    .collect();
                let window = Duration::from_millis(*window);
                let mut checks = checks.clone();
                let mut derived = DerivedChecks::default();
                if baseline.is_empty() {
                    // The soak will be judged by what the previous version did on these nodes.
                    let recorded = canary.iter().filter_map(|node| readings.get(node));
                    let recorded: Vec<_> = recorded.cloned().collect();
                    let recorded = RecordedBaseline::new(module, &recorded);
                    derived = recorded.derive(checks, &SoakHistory::default());
                    checks = std::mem::take(&mut derived.checks);
                }
                let findings = Judge::forecast(history.clone(), checks, options, window, &traffic);
                let undecided = findings
                    .iter()
                    .filter(|finding| finding.judgement == Judgement::Inconclusive);
                let undecided: Vec<_> = undecided.map(describe).collect();
                if !undecided.is_empty() && warnings.len() < MAX_WARNINGS {
                    warnings.push(format!(
                        "at the present traffic the soak of {} on {} cannot decide: {}",
                        format_duration(window),
                        count(canary.len()),
                        undecided.join("; ")
                    ));
                }
                // Later soaks go on from this one, as the deployment will.
                let mut recorded = findings;
                derived.explain(&mut recorded);
                history.record_forecast(recorded);
            }
            _ => {}
        }
    }
    warnings
}

fn describe(finding: &Finding) -> String {
    format!("{}: {}", finding.check.metric, finding.reason)
}

fn count(nodes: usize) -> String {
    let plural = if nodes == 1 { "" } else { "s" };
    format!("{nodes} node{plural}")
}

#[cfg(test)]
mod tests {
    use hotswap_core::{Check, Digest, Timestamp, VersionReading};

    use super::*;

    fn node(id: &str) -> NodeId {
        id.parse().unwrap()
    }

    fn soak(canary: &[&str], baseline: &[&str]) -> Call {
        Call::Soak {
            window: 60_000,
            canary: canary.iter().map(|id| node(id)).collect(),
            baseline: baseline.iter().map(|id| node(id)).collect(),
            checks: vec![Check {
                metric: "error-rate".into(),
                max: None,
                max_increase: Some(0.5),
                min_increase: None,
            }],
        }
    }

    fn reading(id: &str, boot: &str, requests: u64) -> (NodeId, NodeReading) {
        let reading = NodeReading {
            node: node(id),
            boot: boot.into(),
            at: Timestamp::from_millis(0),
            cpu_millis: 0,
            starts: None,
            traffic: None,
            versions: vec![VersionReading {
                digest: Digest::of(b"v1"),
                version: None,
                lifetime: None,
                generation: 0,
                slot: None,
                requests,
                errors: 0,
                in_flight: 0,
                client_faults: 0,
                cpu_micros: 0,
                latency: hotswap_core::Histogram::default(),
                memory: 0,
                memory_sum: 0,
                instances: 0,
                refused: 0,
                queued: 0,
                synthetic: 0,
                module_metrics: Vec::new(),
            }],
        };
        (node(id), reading)
    }

    fn module() -> ModuleVersion {
        ModuleVersion {
            name: "hello".parse().unwrap(),
            version: "2.0.0".parse().unwrap(),
            digest: Digest::of(b"v2"),
        }
    }

    fn forecast(
        calls: &[&Call],
        rates: &HashMap<NodeId, f64>,
        probes: Option<&SoakProbes>,
    ) -> Vec<String> {
        let present = PresentTraffic {
            readings: &HashMap::new(),
            rates,
        };
        warnings(calls, &module(), present, SoakOptions::default(), probes)
    }

    #[test]
    fn rates_are_counted_between_two_readings_of_one_start() {
        let before = HashMap::from([reading("a", "1", 100), reading("b", "1", 100)]);
        let after = HashMap::from([reading("a", "1", 130), reading("b", "2", 5)]);
        let rates = rates(&before, &after, Duration::from_secs(2));
        assert_eq!(rates, HashMap::from([(node("a"), 15.0)]));
    }

    #[test]
    fn a_soak_that_cannot_decide_is_told_before_it_begins() {
        let soak = soak(&["a"], &["b", "c"]);
        let steps = [&soak];
        assert_eq!(soaked_nodes(&steps), [node("a"), node("b"), node("c")]);
        let rates = |rate| HashMap::from([(node("a"), rate), (node("b"), rate)]);
        assert_eq!(forecast(&steps, &rates(50.0), None), Vec::<String>::new());
        let found = forecast(&steps, &rates(0.5), None);
        assert_eq!(found.len(), 1);
        let start = "at the present traffic the soak of 1m on 1 node cannot decide: error-rate: the \
                     new version answered 30 requests";
        assert!(found[0].starts_with(start), "{found:?}");
        assert!(
            found[0].contains("at the present rate that takes another"),
            "{found:?}"
        );
        // Nothing is said where nothing is known.
        assert_eq!(
            forecast(&steps, &HashMap::new(), None),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_share_of_requests_is_a_share_of_the_traffic() {
        let shift = Call::Shift {
            nodes: vec![node("a")],
            percent: 1,
        };
        let rates = HashMap::from([(node("a"), 20.0)]);
        let (shared, split) = (soak(&["a"], &["a"]), soak(&["a"], &["b"]));
        assert_eq!(forecast(&[&shift, &shared], &rates, None).len(), 1);
        assert_eq!(forecast(&[&split], &rates, None).len(), 0);
        // What the nodes send themselves counts, too.
        let probes = SoakProbes {
            path: "/".to_owned(),
            rate_per_second: 20.0,
        };
        let rates = HashMap::from([(node("a"), 0.0)]);
        assert_eq!(forecast(&[&split], &rates, None).len(), 1);
        assert_eq!(forecast(&[&split], &rates, Some(&probes)).len(), 0);
    }

    #[test]
    fn the_last_step_is_judged_by_what_the_previous_version_did() {
        let soak = soak(&["a", "b"], &[]);
        let rates = HashMap::from([(node("a"), 50.0), (node("b"), 50.0)]);
        let of = |requests| {
            let held = |id: &str| {
                let (node, mut reading) = reading(id, "1", requests);
                reading.versions[0].slot = Some(hotswap_core::ReadSlot::Active);
                (node, reading)
            };
            let readings = HashMap::from([held("a"), held("b")]);
            let present = PresentTraffic {
                readings: &readings,
                rates: &rates,
            };
            warnings(&[&soak], &module(), present, SoakOptions::default(), None)
        };
        assert_eq!(of(100_000), Vec::<String>::new());
        // Too few to tell what is usual.
        assert_eq!(of(3).len(), 1);
    }

    /// Its limits are new, so no earlier soak has spent anything of their budget: at a rate that is
    /// just enough for a soak alone, it can decide after five others, which would each leave it less.
    #[test]
    fn earlier_soaks_leave_the_limits_of_the_last_step_their_budget() {
        let (step, last) = (soak(&["a"], &["b", "c"]), soak(&["a", "b", "c"], &[]));
        let held = |id: &str| {
            let (node, mut reading) = reading(id, "1", 100_000);
            reading.versions[0].slot = Some(hotswap_core::ReadSlot::Active);
            (node, reading)
        };
        let readings = HashMap::from([held("a"), held("b"), held("c")]);
        let undecided = |calls: &[&Call], rate: f64| {
            let rates = ["a", "b", "c"].map(|id| (node(id), rate));
            let present = PresentTraffic {
                readings: &readings,
                rates: &HashMap::from(rates),
            };
            let found = warnings(calls, &module(), present, SoakOptions::default(), None);
            found.iter().any(|warning| warning.contains("on 3 nodes"))
        };
        let rates = (1..1000).map(|tenth| f64::from(tenth) / 10.0);
        let enough = rates.into_iter().find(|&rate| !undecided(&[&last], rate));
        let enough = enough.expect("some rate is enough");
        let steps = [&step, &step, &step, &step, &step, &last];
        assert!(!undecided(&steps, 1.2 * enough), "{enough}");
    }
}
