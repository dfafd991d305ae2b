//! Tasks without which a process would only seem to work.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

/// Runs a task that the process cannot work without. Aborts the process if the task panics or ends,
/// because nobody else would notice. The next process needs only what is on disk or in the store.
///
/// A task that is dropped, as in a shutdown, aborts nothing. Cancel safe if `task` is.
pub async fn vital(name: &str, task: impl Future<Output = ()>) {
    vital_until_done(name, task).await;
    tracing::error!(
        "{name} has ended by itself, which is a bug: please report it; the process ends now, and \
         goes on from its stored state when it is started again"
    );
    std::process::abort()
}

/// As [`vital`], for a task that may end. Aborts the process where it panics.
pub async fn vital_until_done<T>(name: &str, task: impl Future<Output = T>) -> T {
    let mut task = pin!(task);
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)));
        polled.unwrap_or_else(|_| abort(name))
    })
    .await
}

/// As [`vital_until_done`], for what a thread does.
pub fn vital_thread<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| abort(name))
}

/// The panic itself is on standard error.
fn abort(name: &str) -> ! {
    tracing::error!(
        "{name} has panicked, which is a bug: please report it; the process ends now, and goes on \
         from its stored state when it is started again"
    );
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::future::pending;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Names what the process of a test is to do.
    const VARIABLE: &str = "HOTSWAP_TEST_VITAL";

    /// Not a test by itself: what [`Command`] starts anew.
    #[tokio::test]
    async fn child() {
        match env::var(VARIABLE).as_deref() {
            Ok("panic") => vital("a task", async { panic!("as the test wants") }).await,
            Ok("panic later") => {
                vital("a task", async {
                    tokio::task::yield_now().await;
                    panic!("as the test wants")
                })
                .await;
            }
            Ok("end") => vital("a task", async {}).await,
            Ok("done and panic") => {
                vital_until_done("a task", async { panic!("as the test wants") }).await
            }
            Ok("thread") => vital_thread("a thread", || panic!("as the test wants")),
            Ok("dropped") => {
                let task = vital("a task", pending());
                timeout(Duration::from_millis(1), task).await.unwrap_err();
                assert_eq!(vital_until_done("a task", async { 7 }).await, 7);
                assert_eq!(vital_thread("a thread", || 7), 7);
            }
            _ => {}
        }
    }

    #[test]
    fn the_process_is_aborted_unless_the_task_is_dropped_or_may_end() {
        for (what, is_aborted) in [
            ("panic", true),
            ("panic later", true),
            ("end", true),
            ("done and panic", true),
            ("thread", true),
            ("dropped", false),
        ] {
            let output = Command::new(env::current_exe().unwrap())
                .args(["--exact", "vital::tests::child"])
                .env(VARIABLE, what)
                .output()
                .unwrap();
            // 6 is SIGABRT. A test that merely fails ends with a code.
            let signal = output.status.signal();
            assert_eq!(signal == Some(6), is_aborted, "{what}: {output:?}");
            assert_eq!(output.status.success(), !is_aborted, "{what}: {output:?}");
        }
    }
}
