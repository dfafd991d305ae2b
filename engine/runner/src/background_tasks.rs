use hotswap_common::vital;
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

    /// Runs a task that must go on until [`Self::shutdown`]: the process is aborted where it panics or
    /// ends. It must be cancel safe.
    pub(crate) fn spawn_vital(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn(vital(name, task));
    }

    /// Drops all tasks wherever they are.
    pub(crate) async fn shutdown(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::future::pending;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    const VARIABLE: &str = "HOTSWAP_TEST_BACKGROUND";

    /// Not a test by itself: what [`Command`] starts anew.
    #[tokio::test]
    async fn child() {
        let tasks = BackgroundTasks::default();
        match env::var(VARIABLE).as_deref() {
            Ok("panic") => tasks.spawn_vital("a task", async { panic!("as the test wants") }),
            Ok("end") => tasks.spawn_vital("a task", async {}),
            _ => {
                tasks.spawn_vital("a task", pending());
                tokio::task::yield_now().await;
                return tasks.shutdown().await;
            }
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    }

    #[test]
    fn a_task_that_must_go_on_ends_with_the_process_or_a_shutdown() {
        for (what, signal) in [("panic", Some(6)), ("end", Some(6)), ("shutdown", None)] {
            let output = Command::new(env::current_exe().unwrap())
                .args(["--exact", "background_tasks::tests::child"])
                .env(VARIABLE, what)
                .output()
                .unwrap();
            assert_eq!(output.status.signal(), signal, "{what}: {output:?}");
            assert_eq!(
                output.status.success(),
                signal.is_none(),
                "{what}: {output:?}"
            );
        }
    }
}
