//! What a look costs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use hotswap_core::{Histogram, Judge, NodeInterval, SoakPlan, VersionInterval};

use super::deployment::checks;
use super::random::Random;

const NODES: usize = 1000;
const LOOKS: usize = 40;

/// A reading and a look may take so long.
const LIMIT_MILLIS: f64 = 5.0;

/// Prints how long one reading and look of a large soak takes. Returns whether that is short enough.
pub fn is_met() -> bool {
    let mut random = Random::new(7);
    let mut judge = Judge::new(SoakPlan {
        checks: checks().into_iter().take(4).collect(),
        has_baseline: true,
        ..SoakPlan::default()
    });
    let (mut quick, mut shown) = (Vec::new(), Vec::new());
    for _ in 0..LOOKS {
        let intervals: Vec<_> = (0..NODES)
            .map(|number| interval(&mut random, number))
            .collect();
        let start = Instant::now();
        judge.observe(&intervals);
        black_box(judge.interim());
        quick.push(start.elapsed());
        black_box(judge.findings());
        shown.push(start.elapsed());
    }
    let (quick, shown) = (median(quick), median(shown));
    let is_met = shown <= LIMIT_MILLIS;
    println!(
        "A look at {NODES} nodes × 4 checks takes {quick:.2} ms, {shown:.2} ms with the intervals \
         that people see (median of {LOOKS}); at most {LIMIT_MILLIS} ms: {}",
        if is_met { "met" } else { "MISSED" }
    );
    is_met
}

fn interval(random: &mut Random, number: usize) -> NodeInterval {
    let mut counts = vec![0; Histogram::BUCKETS];
    for _ in 0..100 {
        let millis = 40.0 * (0.6 * random.normal()).exp();
        counts[Histogram::bucket_of_micros((1000.0 * millis) as u64)] += 1;
    }
    let version = VersionInterval {
        requests: 100,
        errors: random.binomial(100, 0.01),
        latency: Histogram::from_counts(counts),
        cpu_micros: 500_000,
        memory: Some(5_000_000),
        restarts: 0,
        lost: 0,
        ..VersionInterval::default()
    };
    let is_new = number < NODES / 10;
    NodeInterval {
        node: format!("node-{number}").parse().expect("a node id"),
        elapsed: Duration::from_secs(15),
        canary: is_new.then(|| version.clone()),
        baseline: (!is_new).then_some(version),
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}
