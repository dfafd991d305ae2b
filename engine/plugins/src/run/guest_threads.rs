use std::io;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// The threads on which guests compute, one for each processor.
///
/// Apart from the threads of the caller, which also serve requests: between two slices of fuel a
/// guest cannot be interrupted, and one instruction may fill all of its memory. The system shares
/// the processors between both kinds of threads.
pub(crate) struct GuestThreads {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl GuestThreads {
    /// # Errors
    /// Where the system has no room for the threads.
    pub(crate) fn start() -> io::Result<Self> {
        let threads = available_parallelism().map_or(1, NonZero::get);
        // Without timers and I/O: guests have none, and their calls are answered elsewhere.
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("strategy")
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// Runs `work` on one of the threads, in turn with the work of others where it yields. `None`
    /// where the threads have stopped.
    ///
    /// Cancel safe: `work` is dropped where it yields next.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let task = self.runtime.as_ref()?.spawn(work);
        match AbortOnDropHandle::new(task).await {
            Ok(done) => Some(done),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => None,
            },
        }
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // May happen on a thread that must not block, even on one of these.
            runtime.shutdown_background();
        }
    }
}
