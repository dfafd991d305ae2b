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
    /// [`Error`] where they cannot be used. What was in use before stays so.
    fn reload(&self) -> Result<bool, Error>;

    /// What the files are for, to name it in a log: `the certificate of …`.
    fn name(&self) -> &'static str;
}

/// Follows files for as long as it is polled: looks at them every five seconds, and at once
/// where `now` is notified. Logs what was read anew, and once why it cannot be used.
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
            // It is stopped only with the whole process.
            let Ok(reloaded) = reloaded else { return };
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
