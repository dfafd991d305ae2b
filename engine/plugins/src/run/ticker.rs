use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

/// How often a strategy that computes is interrupted so that others can run. Short enough
/// that a person does not notice, long against the cost of an interruption (1 µs).
const TICK: Duration = Duration::from_millis(10);

/// A thread that advances the epoch of wasmtime engines. Dropping it stops the thread.
pub(crate) struct EpochTicker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EpochTicker {
    pub(crate) fn start(engines: Vec<Engine>) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("hotswap-epoch".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Acquire) {
                    thread::park_timeout(TICK);
                    engines.iter().for_each(Engine::increment_epoch);
                }
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for EpochTicker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread only increments counters, so it cannot have panicked.
            let _ = thread.join();
        }
    }
}
