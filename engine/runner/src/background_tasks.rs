use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of an engine that nobody waits for. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct BackgroundTasks {
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl BackgroundTasks {
    /// Runs a task until [`Self::shutdown`]. It must be cancel safe.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks
            .spawn(async move { shutdown.run_until_cancelled(task).await });
    }

    /// Drops all tasks wherever they are.
    pub(crate) async fn shutdown(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
