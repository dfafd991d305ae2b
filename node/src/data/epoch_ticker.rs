use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use wasmtime::Engine;

/// How often a running module checks whether it must yield or end. A module that only
/// computes holds its thread for this long at a time.
const EPOCH_INTERVAL: Duration = Duration::from_millis(10);

/// A thread that increments the epoch of WebAssembly engines, which is what interrupts
/// modules. Dropping the ticker ends the thread.
pub(super) struct EpochTicker {
    _stop_on_drop: mpsc::Sender<()>,
}

impl EpochTicker {
    /// Starts the thread.
    pub(super) fn start(engines: [Engine; 2]) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        thread::Builder::new()
            .name("epoch".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(EPOCH_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                    for engine in &engines {
                        engine.increment_epoch();
                    }
                }
            })?;
        Ok(Self {
            _stop_on_drop: stop,
        })
    }
}
