//! Strategies that compute without end are in nobody's way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use hotswap_plugins::{Host, Limits};
use serde_json::json;
use tokio::runtime::Builder;

use crate::fixture::Fixture;

/// A runtime of one thread serves the API. While strategies compute on every thread of the host,
/// that thread answers requests, and then has nothing to do.
#[test]
fn the_api_answers_while_strategies_compute_on_every_thread_of_the_host() {
    let idle = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&idle);
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_park(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let limits = Limits {
        fuel: u64::MAX,
        ..Limits::default()
    };
    let host = Host::new(limits).unwrap();
    runtime.block_on(async {
        let engine = Fixture::of_host(host.clone(), vec![hotswap_guests::HOSTILE]).await;
        engine.furnish().await;
        let strategies = 2 * available_parallelism().unwrap().get();
        for number in 0..strategies {
            let module = format!("module-{number}");
            engine
                .push(&module, "1.0.0", hotswap_guests::HELLO_V1)
                .await;
            let endless = json!({
                "moduleName": module,
                "strategy": "hostile",
                "config": {"attack": "endless-loop"},
            });
            engine.deploy(endless).await;
        }
        // From here on none of them ends or waits. A rehearsal may still count until the end of
        // its slice of fuel.
        until(|| host.pooled_instances() >= strategies as u64).await;
        for path in ["/health/ready", "/api/v1/deployments", "/api/v1/nodes"] {
            let before = idle.load(Ordering::SeqCst);
            engine.get(path).await.ok();
            until(|| idle.load(Ordering::SeqCst) > before).await;
        }
        until(|| host.pooled_instances() == strategies as u64).await;
        engine.kill().await;
    });
}

async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
