//! Hands the data folder from an engine that stops to its successor.
//!
//! Where Kubernetes replaces a pod, the next engine starts while the one before it still serves for
//! its lame-duck time. An engine that does not stop keeps the folder: to start a second one there is
//! a mistake, and fails at once.

use std::io;
use std::path::Path;
use std::time::Duration;

use hotswap_common::file::{Attempt, FileLock};
use tokio::time::Instant;

/// The file that is in the data folder while its engine stops.
const MARKER: &str = "stopping";
/// Longer than lame-duck time and drain time together, with a usual grace period of the pod.
const PATIENCE: Duration = Duration::from_secs(120);
const INTERVAL: Duration = Duration::from_millis(200);

/// Tells a successor that this engine will soon release the folder.
///
/// # Errors
/// If the folder cannot be written to.
pub fn announce_stop(folder: &Path) -> io::Result<()> {
    std::fs::write(folder.join(MARKER), "")
}

/// Waits until an engine that stops has released the folder, for two minutes at most. Returns at once
/// if none stops. `locks` names the files of the folder that an engine locks.
///
/// # Errors
/// If the folder cannot be read or written to.
pub async fn wait_until_stopped(folder: &Path, locks: &[&str]) -> io::Result<()> {
    let marker = folder.join(MARKER);
    let deadline = Instant::now() + PATIENCE;
    let mut is_logged = false;
    while marker.try_exists()? {
        let mut is_held = false;
        for lock in locks {
            is_held |= matches!(FileLock::try_acquire(&folder.join(lock))?, Attempt::Held(_));
        }
        if !is_held {
            // The engine may have died while it stopped, and left the marker.
            return remove(&marker);
        }
        if Instant::now() >= deadline {
            return Ok(());
        }
        if !is_logged {
            let dir = folder.display();
            tracing::info!(%dir, "waiting for the stopping engine to release the data folder");
            is_logged = true;
        }
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}

fn remove(marker: &Path) -> io::Result<()> {
    match std::fs::remove_file(marker) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "engine.lock";

    fn acquire(folder: &Path) -> FileLock {
        match FileLock::try_acquire(&folder.join(LOCK)).unwrap() {
            Attempt::Acquired(lock) => lock,
            Attempt::Held(holder) => panic!("{holder:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_engine_that_stops_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let lock = acquire(folder);
        let begin = Instant::now();
        wait_until_stopped(folder, &[LOCK]).await.unwrap();
        assert_eq!(
            begin.elapsed(),
            Duration::ZERO,
            "a second engine is told at once"
        );

        announce_stop(folder).unwrap();
        let leaves = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(lock);
        };
        let (waited, ()) = tokio::join!(wait_until_stopped(folder, &[LOCK]), leaves);
        waited.unwrap();
        assert!(begin.elapsed() >= Duration::from_secs(5));
        assert!(begin.elapsed() < Duration::from_secs(6));

        // The successor has the folder, and does not stop.
        let _lock = acquire(folder);
        let begin = Instant::now();
        wait_until_stopped(folder, &[LOCK]).await.unwrap();
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_never_leaves_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let _lock = acquire(folder.path());
        announce_stop(folder.path()).unwrap();
        let begin = Instant::now();
        wait_until_stopped(folder.path(), &[LOCK]).await.unwrap();
        assert!(begin.elapsed() >= PATIENCE);
    }
}
