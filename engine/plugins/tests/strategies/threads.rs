//! Guests compute apart from the threads of those who run them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, available_parallelism};

use hotswap_core::{Answer, Call, StrategyLimits};
use hotswap_plugins::{Exit, Plan, ReadyAnswers};
use tokio::runtime::{Builder, Runtime};

use crate::component::HandmadeStrategy;
use crate::script::{Script, TEST_TIMEOUT, host, plan};

/// A runtime with one thread, and how often that thread had nothing to do.
fn runtime_with_one_thread() -> (Runtime, Arc<AtomicUsize>) {
    let idle = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&idle);
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_park(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        })
        .build();
    (runtime.unwrap(), idle)
}

/// Has no answer ready, and notes the threads on which it is asked: those where the guest
/// computes.
#[derive(Default)]
struct AskedOn(Mutex<Vec<String>>);

impl ReadyAnswers for AskedOn {
    fn answer(&self, _: &Call) -> Option<Answer> {
        let name = thread::current().name().unwrap_or_default().to_owned();
        self.0.lock().unwrap().push(name);
        None
    }
}

#[test]
fn a_guest_leaves_the_thread_of_the_caller_only_where_it_computes_for_long() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("caller")
        .build()
        .unwrap();
    // A turn of the loop has five instructions: it computes for 15 million between two calls.
    let strategy = HandmadeStrategy {
        imports: r#"(import "hotswap:strategy/control@0.1.0" "now" (func $now (result i64)))"#,
        run: "(drop (call $now))
              (local.set 0 (i32.const 3000000))
              (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
              (drop (call $now))
              (drop (call $now))",
        ..HandmadeStrategy::default()
    };
    let strategy = runtime
        .block_on(host().load(&strategy.component()))
        .unwrap();
    for (may_compute_here, expected) in [
        (true, ["caller", "strategy", "caller"]),
        (false, ["strategy", "strategy", "strategy"]),
    ] {
        let asked = Arc::new(AskedOn::default());
        let mut script = Script {
            may_compute_here,
            replay: Some(Arc::clone(&asked) as Arc<dyn ReadyAnswers>),
            ..Script::default()
        };
        let strategy = strategy.clone();
        let run = async move { strategy.run(&plan("{}"), &mut script).await };
        let exit = runtime.block_on(runtime.spawn(run)).unwrap();
        assert_eq!(exit, Exit::Succeeded);
        assert_eq!(*asked.0.lock().unwrap(), expected);
    }
}

#[test]
fn the_thread_of_the_caller_is_idle_while_guests_compute_on_all_threads_of_the_host() {
    while_guests_compute(false);
}

/// Where a guest may compute on the thread of the caller, it leaves it after a slice of fuel.
#[test]
fn the_thread_of_the_caller_is_idle_while_guests_that_began_there_compute_for_long() {
    while_guests_compute(true);
}

fn while_guests_compute(may_compute_here: bool) {
    let (runtime, idle) = runtime_with_one_thread();
    let endless = HandmadeStrategy {
        run: "(loop $l (br $l))",
        ..HandmadeStrategy::default()
    };
    let host = host();
    let strategy = runtime.block_on(host.load(&endless.component())).unwrap();
    let plan = Plan {
        limits: StrategyLimits {
            fuel: u64::MAX,
            total_fuel: u64::MAX,
            ..StrategyLimits::default()
        },
        ..plan("{}")
    };
    let guests = 2 * available_parallelism().unwrap().get();
    for _ in 0..guests {
        let (strategy, plan) = (strategy.clone(), plan.clone());
        runtime.spawn(async move {
            let mut script = Script {
                may_compute_here,
                ..Script::default()
            };
            strategy.run(&plan, &mut script).await
        });
    }
    // From here on none of them ends or waits.
    while host.pooled_instances() < guests as u64 {
        thread::yield_now();
    }
    let (answer, answered) = mpsc::channel();
    let counter = Arc::clone(&idle);
    runtime.spawn(async move { answer.send(counter.load(Ordering::SeqCst)) });
    let idle_before = answered.recv_timeout(TEST_TIMEOUT);
    let idle_before = idle_before.expect("the runtime does something else");
    let started = std::time::Instant::now();
    while idle.load(Ordering::SeqCst) == idle_before {
        assert!(started.elapsed() < TEST_TIMEOUT, "the thread is never idle");
        thread::yield_now();
    }
    assert_eq!(host.pooled_instances(), guests as u64, "all still compute");
}
