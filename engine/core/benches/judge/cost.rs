//! What a look costs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use hotswap_core::{
    BeforeSoak, Histogram, Judge, Lifetime, NodeId, NodeInterval, SoakPlan, VersionInterval,
};

use super::deployment::checks;
use super::random::Random;

const NODES: usize = 1000;
const LOOKS: usize = 40;

/// A reading and a look may take so long.
const LIMIT_MILLIS: f64 = 5.0;

/// Which nodes run both versions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fleet {
    /// A tenth runs the new one, the others the previous one.
    Split,
    /// Each runs both.
    Shared,
}

/// Prints how long one reading and look of a large soak takes, with all default checks and what is
/// known of the nodes from before. Returns whether that is short enough.
pub fn is_met() -> bool {
    let split = is_met_by("nodes", Fleet::Split);
    let shared = is_met_by("nodes that run both versions", Fleet::Shared);
    split && shared
}

fn is_met_by(name: &str, fleet: Fleet) -> bool {
    let mut random = Random::new(7);
    let is_shared = fleet == Fleet::Shared;
    let checks = checks();
    let count = checks.len();
    let mut judge = Judge::new(SoakPlan {
        checks,
        has_baseline: true,
        by_node: is_shared,
        before: if is_shared {
            BeforeSoak::default()
        } else {
            before(&mut random)
        },
        ..SoakPlan::default()
    });
    let (mut quick, mut shown) = (Vec::new(), Vec::new());
    for _ in 0..LOOKS {
        let intervals: Vec<_> = (0..NODES)
            .map(|number| interval(&mut random, number, fleet))
            .collect();
        let start = Instant::now();
        judge.observe(&intervals);
        black_box(judge.interim());
        quick.push(start.elapsed());
        black_box(judge.findings());
        shown.push(start.elapsed());
    }
    let (quick, longest) = (median(quick), shown.iter().max().copied());
    let longest = longest.unwrap_or_default().as_secs_f64() * 1e3;
    let shown = median(shown);
    let is_met = shown <= LIMIT_MILLIS;
    println!(
        "A look at {NODES} {name} × {count} checks takes {quick:.2} ms, {shown:.2} ms with the \
         intervals that people see (median of {LOOKS}; the longest {longest:.2} ms); at most \
         {LIMIT_MILLIS} ms: {}",
        if is_met { "met" } else { "MISSED" }
    );
    is_met
}

fn node(number: usize) -> NodeId {
    format!("node-{number}").parse().expect("a node id")
}

/// What the nodes did with the previous version.
fn before(random: &mut Random) -> BeforeSoak {
    let versions: Vec<_> = (0..NODES)
        .map(|number| (node(number), version(random)))
        .collect();
    let (canary, baseline) = versions.split_at(NODES / 10);
    BeforeSoak {
        canary: canary
            .iter()
            .map(|(node, version)| (node.clone(), version.latency.clone()))
            .collect(),
        baseline: Histogram::sum(baseline.iter().map(|(_, version)| &version.latency)),
        usage: versions.iter().cloned().collect(),
        lifetime: Lifetime {
            millis: 30 * 86_400_000,
            crashes: 100,
        },
    }
}

fn interval(random: &mut Random, number: usize, fleet: Fleet) -> NodeInterval {
    let (is_new, is_old) = match fleet {
        Fleet::Split => (number < NODES / 10, number >= NODES / 10),
        Fleet::Shared => (true, true),
    };
    NodeInterval {
        node: node(number),
        elapsed: Duration::from_secs(15),
        canary: is_new.then(|| version(random)),
        baseline: is_old.then(|| version(random)),
    }
}

/// What a version does on a node between two readings.
fn version(random: &mut Random) -> VersionInterval {
    let mut counts = vec![0; Histogram::BUCKETS];
    for _ in 0..100 {
        let millis = 40.0 * (0.6 * random.normal()).exp();
        counts[Histogram::bucket_of_micros((1000.0 * millis) as u64)] += 1;
    }
    VersionInterval {
        requests: 100,
        errors: random.binomial(100, 0.01),
        latency: Histogram::from_counts(counts),
        cpu_micros: 500_000,
        memory: Some(5_000_000),
        restarts: 0,
        lost: 0,
        ..VersionInterval::default()
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
