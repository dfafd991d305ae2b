//! What a run of a strategy costs: to begin and end it, to pass a call on, to let it wait.
//!
//! Prints a table. Wants `cargo bench`, for which everything is optimised.

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hotswap_core::{Answer, Call, DeploymentId, Digest, ModuleVersion};
use hotswap_plugins::{Calls, Exit, Host, Limits, Plan, Stop, Strategy};
use tokio::sync::Semaphore;

#[path = "../tests/strategies/component.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod component;

/// What beginning and ending a run may take.
const LIMIT: Duration = Duration::from_micros(20);

/// Runs that are timed, after a tenth of it to warm up.
const RUNS: u32 = 5000;

/// Calls of the run in which calls are timed.
const CALLS: u32 = 100_000;

/// Runs that wait at once.
const WAITING: usize = 3000;

/// Answers at once.
struct Ready;

/// Answers never, and counts who waits.
struct Never(Arc<AtomicUsize>);

#[async_trait]
impl Calls for Ready {
    async fn call(&mut self, _: Call) -> Result<Answer, Stop> {
        Ok(Answer::Nodewise(Vec::new()))
    }
}

#[async_trait]
impl Calls for Never {
    async fn call(&mut self, _: Call) -> Result<Answer, Stop> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Semaphore::new(0).acquire().await.ok();
        Err(Stop::Suspend)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!(
        "{:52} {:>12} {:>12} {:>8}",
        "", "measured", "limit", "ratio"
    );

    let empty = component::Handmade::default().component();
    for (what, component) in [
        ("an empty strategy", empty.as_slice()),
        ("one written with the SDK", hotswap_guests::STEPS),
    ] {
        let strategy = load(component, 256).await;
        let pooled = begin_and_end(&strategy).await;
        row(
            &format!("begin and end {what}, pooled"),
            pooled,
            Some(LIMIT),
        );

        // One that waits fills a pool of one.
        let host = host(1);
        let occupant = host.load(hotswap_guests::STEPS).await.expect("a strategy");
        let strategy = host.load(component).await.expect("a strategy");
        let waiting = Arc::new(AtomicUsize::new(0));
        let occupant = wait(&occupant, &waiting);
        until(&waiting, 1).await;
        let on_demand = begin_and_end(&strategy).await;
        occupant.abort();
        row(
            &format!("begin and end {what}, pool full"),
            on_demand,
            Some(LIMIT),
        );
    }

    let strategy = load(hotswap_guests::STEPS, 256).await;
    let plan = plan(CALLS);
    let start = Instant::now();
    assert_eq!(strategy.run(&plan, &mut Ready).await, Exit::Succeeded);
    row(
        "pass a call on and its answer back",
        start.elapsed() / CALLS,
        None,
    );

    let before = (resident(), mappings());
    let waiting = Arc::new(AtomicUsize::new(0));
    let runs: Vec<_> = (0..WAITING).map(|_| wait(&strategy, &waiting)).collect();
    until(&waiting, WAITING).await;
    let bytes = resident().saturating_sub(before.0) / WAITING;
    let maps = mappings().saturating_sub(before.1) as f64 / WAITING as f64;
    println!(
        "{:52} {bytes:>6} bytes",
        format!("memory of a run that waits (of {WAITING})")
    );
    println!("{:52} {maps:>12.1}", "mappings of one");
    for run in &runs {
        run.abort();
    }
}

/// A run of no calls: make a store and an instance, call it, drop them.
async fn begin_and_end(strategy: &Strategy) -> Duration {
    let plan = plan(0);
    let mut took = Duration::ZERO;
    for runs in [RUNS / 10, RUNS] {
        let start = Instant::now();
        for _ in 0..runs {
            let exit = black_box(strategy.run(&plan, &mut Ready).await);
            assert_eq!(exit, Exit::Succeeded);
        }
        took = start.elapsed() / runs;
    }
    took
}

fn wait(strategy: &Strategy, waiting: &Arc<AtomicUsize>) -> tokio::task::JoinHandle<Exit> {
    let (strategy, mut calls) = (strategy.clone(), Never(Arc::clone(waiting)));
    tokio::spawn(async move { strategy.run(&plan(1), &mut calls).await })
}

async fn until(waiting: &AtomicUsize, count: usize) {
    while waiting.load(Ordering::Relaxed) < count {
        tokio::task::yield_now().await;
    }
}

async fn load(component: &[u8], pooled: u32) -> Strategy {
    host(pooled).load(component).await.expect("a strategy")
}

fn host(pooled: u32) -> Host {
    let limits = Limits {
        pooled,
        ..Limits::default()
    };
    Host::new(limits).expect("a host")
}

fn plan(steps: u32) -> Plan {
    Plan {
        deployment: DeploymentId::from_bytes([7; 16]),
        environment: "bench".parse().expect("a name"),
        module: ModuleVersion {
            name: "checkout".parse().expect("a name"),
            version: "2.0.0".parse().expect("a version"),
            digest: Digest::of(b"v2"),
        },
        nodes: Vec::new(),
        config: serde_json::json!({ "steps": steps, "kind": "stage", "sleep": 0 }),
    }
}

fn row(what: &str, measured: Duration, limit: Option<Duration>) {
    let measured_text = format!("{measured:.1?}");
    match limit {
        Some(limit) => {
            let ratio = measured.as_secs_f64() / limit.as_secs_f64();
            let limit = format!("{limit:.1?}");
            println!("{what:52} {measured_text:>12} {limit:>12} {ratio:>8.2}");
        }
        None => println!("{what:52} {measured_text:>12}"),
    }
}

/// Mappings of memory of this process.
fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().count()
}

/// Memory of this process that is not on disk, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<usize>().ok());
    kilobytes.unwrap_or(0) * 1024
}
