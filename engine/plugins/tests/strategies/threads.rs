//! Guests compute apart from the threads of those who run them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, available_parallelism};

use hotswap_core::StrategyLimits;
use hotswap_plugins::Plan;
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

#[test]
fn the_thread_of_the_caller_is_idle_while_guests_compute_on_all_threads_of_the_host() {
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
        runtime.spawn(async move { strategy.run(&plan, &mut Script::default()).await });
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
