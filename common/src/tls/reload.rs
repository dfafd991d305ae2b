use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task;

use super::Error;

/// How often files are looked at. Kubernetes itself takes a minute to renew a mounted secret.
const INTERVAL: Duration = Duration::from_secs(5);

/// What stands on files that may change.
pub trait Reload: Send + Sync + 'static {
    /// Reads the files again. Blocks. Returns whether they have changed and are in use now.
    ///
    /// # Errors
    /// [`Error`] if they cannot be used. The previous contents stay in use.
    fn reload(&self) -> Result<bool, Error>;

    /// What the files are for, to name it in a log: `the certificate of …`.
    fn name(&self) -> &'static str;
}

/// Follows files for as long as it is polled: looks at them every five seconds, and at once
/// where `now` is notified. Logs what was read again, and once why it cannot be used.
pub async fn follow(all: Vec<Arc<dyn Reload>>, now: Arc<Notify>) {
    let mut failed: Vec<Option<String>> = vec![None; all.len()];
    loop {
        let _ = tokio::time::timeout(INTERVAL, now.notified()).await;
        for (one, failed) in all.iter().zip(&mut failed) {
            let reloaded = {
                let one = Arc::clone(one);
                task::spawn_blocking(move || one.reload()).await
            };
            let name = one.name();
            // A panic of one ends neither its own renewals nor those of the others.
            let Ok(reloaded) = reloaded else {
                tracing::error!(
                    "reading {name} panicked, which is a bug: please report it; what was in use \
                     before stays so"
                );
                continue;
            };
            match reloaded {
                Ok(changed) => {
                    *failed = None;
                    if changed {
                        tracing::info!("{name} was read again and is in use now");
                    }
                }
                Err(error) => {
                    let error = error.to_string();
                    if failed.as_ref() != Some(&error) {
                        tracing::error!(
                            error,
                            "{name} cannot be used, and the one before stays in use until the \
                             files are right: replace certificate and key by a pair in PEM form"
                        );
                    }
                    *failed = Some(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Panics(AtomicUsize);

    struct Counts(Notify);

    impl Reload for Panics {
        fn reload(&self) -> Result<bool, Error> {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("as the test wants")
        }

        fn name(&self) -> &'static str {
            "the certificate that panics"
        }
    }

    impl Reload for Counts {
        fn reload(&self) -> Result<bool, Error> {
            self.0.notify_one();
            Ok(true)
        }

        fn name(&self) -> &'static str {
            "another certificate"
        }
    }

    #[tokio::test]
    async fn files_are_followed_after_one_of_them_has_panicked() {
        let panics = Arc::new(Panics::default());
        let counts = Arc::new(Counts(Notify::new()));
        let now = Arc::new(Notify::new());
        let all: Vec<Arc<dyn Reload>> = vec![panics.clone(), counts.clone()];
        let followed = async {
            for _ in 0..2 {
                now.notify_one();
                counts.0.notified().await;
            }
        };
        tokio::select! {
            () = follow(all, Arc::clone(&now)) => panic!("it does not end"),
            () = followed => {}
        }
        assert_eq!(panics.0.load(Ordering::SeqCst), 2);
    }
}
