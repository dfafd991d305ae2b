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
    /// Threads without timers and I/O, for guests whose calls are answered elsewhere.
    ///
    /// # Errors
    /// Where the system has no room for the threads.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        Self::build(Builder::new_multi_thread().thread_name(name))
    }

    /// Threads with timers and I/O, for guests whose calls are answered on them.
    ///
    /// # Errors
    /// Where the system has no room for the threads.
    pub(crate) fn start_with_io(name: &str) -> io::Result<Self> {
        Self::build(Builder::new_multi_thread().thread_name(name).enable_all())
    }

    fn build(builder: &mut Builder) -> io::Result<Self> {
        let threads = available_parallelism().map_or(1, NonZero::get);
        let runtime = builder.worker_threads(threads).build()?;
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
