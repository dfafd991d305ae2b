use std::io;
use std::num::NonZero;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Handle, Runtime};

/// The threads that drive deployments, one for each processor.
///
/// Apart from those that serve requests, because strategies compute on them: a strategy that is
/// replayed, or that computes for a moment between two calls, delays no request.
pub(crate) struct DriverThreads {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl DriverThreads {
    /// # Errors
    /// Where the system has no room for the threads.
    pub(crate) fn start() -> io::Result<Self> {
        let threads = available_parallelism().map_or(1, NonZero::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("driver")
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// Where to spawn what they run.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for DriverThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // May happen on a thread that must not block, even on one of these.
            runtime.shutdown_background();
        }
    }
}
