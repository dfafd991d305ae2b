//! Measures what a run of a strategy costs: starting and ending it, passing a call on, and
//! the memory of a run that waits.
//!
//! Prints a table. Run it with `cargo bench`, which optimises everything.

use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hotswap_core::{Answer, Call, DeploymentId, Digest, ModuleVersion, StrategyLimits};
use hotswap_plugins::{CallHandler, Exit, Host, Limits, Plan, ReadyAnswers, Stop, Strategy};
use tokio::sync::Semaphore;

#[path = "../tests/strategies/component.rs"]
#[allow(dead_code, reason = "only the tests use all of it")]
mod component;

/// The time that starting and ending a run may take.
const START_AND_END_LIMIT: Duration = Duration::from_micros(20);

/// Runs that are timed, after a tenth as many to warm up.
const RUNS: u32 = 5000;

/// Calls in the run that times calls.
const CALLS: u32 = 100_000;

/// Runs that wait at the same time.
const WAITING_RUNS: usize = 3000;

/// Answers every call at once.
struct AnswerAtOnce;

/// Answers every call on the thread of the guest, as a replay does.
struct AnswerFromJournal;

impl ReadyAnswers for AnswerFromJournal {
    fn answer(&self, _: &Call) -> Option<Answer> {
        Some(Answer::Nodewise(Vec::new()))
    }

    fn is_replaying(&self) -> bool {
        true
    }
}

#[async_trait]
impl CallHandler for AnswerFromJournal {
    fn ready_answers(&self) -> Option<Arc<dyn ReadyAnswers>> {
        Some(Arc::new(Self))
    }

    async fn call(&mut self, _: Call) -> Result<Answer, Stop> {
        Err(Stop::Suspend)
    }
}

/// Never answers, and counts the calls that wait.
struct NeverAnswer(Arc<AtomicUsize>);

#[async_trait]
impl CallHandler for AnswerAtOnce {
    async fn call(&mut self, _: Call) -> Result<Answer, Stop> {
        Ok(Answer::Nodewise(Vec::new()))
    }
}

#[async_trait]
impl CallHandler for NeverAnswer {
    async fn call(&mut self, _: Call) -> Result<Answer, Stop> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Semaphore::new(0).acquire().await.ok();
        Err(Stop::Suspend)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut is_met = true;
    println!(
        "{:52} {:>12} {:>12} {:>8}",
        "", "measured", "limit", "ratio"
    );

    let empty = component::HandmadeStrategy::default().component();
    for (what, component) in [
        ("an empty strategy", empty.as_slice()),
        ("one written with the SDK", hotswap_guests::STEPS),
    ] {
        let strategy = load(component, 256).await;
        let pooled = start_and_end(&strategy).await;
        is_met &= print_row(
            &format!("start and end {what}, pooled"),
            pooled,
            Some(START_AND_END_LIMIT),
        );

        // One waiting run fills a pool of one.
        let host = host(1);
        let occupant = host.load(hotswap_guests::STEPS).await.expect("a strategy");
        let strategy = host.load(component).await.expect("a strategy");
        let waiting = Arc::new(AtomicUsize::new(0));
        let occupant = spawn_waiting(&occupant, &waiting);
        wait_until(&waiting, 1).await;
        let on_demand = start_and_end(&strategy).await;
        occupant.abort();
        is_met &= print_row(
            &format!("start and end {what}, pool full"),
            on_demand,
            Some(START_AND_END_LIMIT),
        );
    }

    let strategy = load(hotswap_guests::STEPS, 256).await;
    let plan = plan(CALLS);
    let start = Instant::now();
    assert_eq!(
        strategy.run(&plan, &mut AnswerAtOnce).await,
        Exit::Succeeded
    );
    print_row(
        "pass a call on and its answer back",
        start.elapsed() / CALLS,
        None,
    );
    let start = Instant::now();
    assert_eq!(
        strategy.run(&plan, &mut AnswerFromJournal).await,
        Exit::Succeeded
    );
    print_row("replay a call", start.elapsed() / CALLS, None);

    let before = (resident_memory(), memory_mappings());
    let waiting = Arc::new(AtomicUsize::new(0));
    let runs: Vec<_> = (0..WAITING_RUNS)
        .map(|_| spawn_waiting(&strategy, &waiting))
        .collect();
    wait_until(&waiting, WAITING_RUNS).await;
    let bytes = resident_memory().saturating_sub(before.0) / WAITING_RUNS;
    let mappings = memory_mappings().saturating_sub(before.1) as f64 / WAITING_RUNS as f64;
    println!(
        "{:52} {bytes:>6} bytes",
        format!("memory of a waiting run (of {WAITING_RUNS})")
    );
    println!("{:52} {mappings:>12.1}", "memory mappings of a waiting run");
    for run in &runs {
        run.abort();
    }
    if is_met {
        ExitCode::SUCCESS
    } else {
        eprintln!("missed: a ratio is above 1");
        ExitCode::FAILURE
    }
}

/// Times a run without calls: make a store and an instance, run it, drop both.
async fn start_and_end(strategy: &Strategy) -> Duration {
    let plan = plan(0);
    let mut took = Duration::ZERO;
    for runs in [RUNS / 10, RUNS] {
        let start = Instant::now();
        for _ in 0..runs {
            let exit = black_box(strategy.run(&plan, &mut AnswerAtOnce).await);
            assert_eq!(exit, Exit::Succeeded);
        }
        took = start.elapsed() / runs;
    }
    took
}

fn spawn_waiting(strategy: &Strategy, waiting: &Arc<AtomicUsize>) -> tokio::task::JoinHandle<Exit> {
    let (strategy, mut handler) = (strategy.clone(), NeverAnswer(Arc::clone(waiting)));
    tokio::spawn(async move { strategy.run(&plan(1), &mut handler).await })
}

async fn wait_until(waiting: &AtomicUsize, count: usize) {
    while waiting.load(Ordering::Relaxed) < count {
        tokio::task::yield_now().await;
    }
}

async fn load(component: &[u8], pooled_runs: u32) -> Strategy {
    host(pooled_runs).load(component).await.expect("a strategy")
}

fn host(pooled_runs: u32) -> Host {
    let limits = Limits {
        pooled_runs,
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
        limits: StrategyLimits::default(),
    }
}

/// Prints a row. Returns whether it is within its limit, where it has one.
fn print_row(what: &str, measured: Duration, limit: Option<Duration>) -> bool {
    let measured_text = format!("{measured:.1?}");
    match limit {
        Some(limit) => {
            let ratio = measured.as_secs_f64() / limit.as_secs_f64();
            let limit = format!("{limit:.1?}");
            println!("{what:52} {measured_text:>12} {limit:>12} {ratio:>8.2}");
            ratio <= 1.0
        }
        None => {
            println!("{what:52} {measured_text:>12}");
            true
        }
    }
}

/// The number of memory mappings of this process.
fn memory_mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().count()
}

/// Resident memory of this process, in bytes.
fn resident_memory() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<usize>().ok());
    kilobytes.unwrap_or(0) * 1024
}
