//! What this engine has seen of the store, in a file: it outlives the engine, so that engines
//! notice what the store lost while none of them ran.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hotswap_common::file;
use serde::{Deserialize, Serialize};

use super::witness::Witness;

/// The time between two writes. What an engine sees in between is missing if it crashes: a fraction
/// of the second that a server with `appendfsync everysec` may lose.
const WRITE_INTERVAL: Duration = Duration::from_millis(250);

/// The longest entry of the log that is kept, in bytes. Without an entry, positions and fences still
/// show a loss.
const MAX_ENTRY: usize = 16 << 10;

/// The file, and what was last written to it. An engine also works without it, but then forgets at
/// its end what it has seen.
pub(super) struct WitnessFile {
    path: PathBuf,
    /// Which store it is about: an engine may be given another one.
    store: String,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    last: Option<Record>,
    /// Whether the last attempt failed. Only the first failure in a row is logged.
    fails: bool,
}

/// What an engine has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// Address and key prefix of the store.
    #[serde(default)]
    pub(super) store: String,
    pub(super) epoch: String,
    /// The highest position that was acknowledged or read.
    pub(super) position: u64,
    /// The highest fence that was handed out to the engine.
    pub(super) fence: u64,
    /// The last entry of the log that was read in this epoch: its place, and its fields as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) entry: Option<(String, String)>,
}

impl WitnessFile {
    pub(super) fn new(path: PathBuf, store: String) -> Arc<Self> {
        let written = Mutex::default();
        Arc::new(Self {
            path,
            store,
            written,
        })
    }

    /// What the engine had seen of this store when it ended. `None` if the file is missing or about
    /// another store, or cannot be read, which is logged.
    pub(super) async fn read(self: &Arc<Self>) -> Option<Record> {
        let this = Arc::clone(self);
        let read = move || -> io::Result<Option<Record>> {
            let content = file::read_if_exists(&this.path)?;
            let record = content.map(|content| serde_json::from_slice(&content));
            Ok(record.transpose()?)
        };
        match run_blocking(read).await {
            Ok(record) => record.filter(|record| record.store == self.store),
            Err(error) => {
                tracing::warn!(
                    path = %self.path.display(),
                    error = &error as &dyn std::error::Error,
                    "cannot read what this engine had seen of the store: what the store lost since may go unnoticed"
                );
                None
            }
        }
    }

    /// Keeps the file current until it is dropped. Cancel safe.
    pub(super) async fn keep(self: Arc<Self>, witness: Arc<Witness>) {
        loop {
            self.write(&witness).await;
            tokio::time::sleep(WRITE_INTERVAL).await;
            witness.changed().await;
        }
    }

    /// Writes what was seen until now. Logs the first failure in a row.
    pub(super) async fn write(self: &Arc<Self>, witness: &Arc<Witness>) {
        let (this, witness) = (Arc::clone(self), Arc::clone(witness));
        let write = move || {
            // Held while it writes: a later write sees at least as much.
            let mut written = this.written.lock().unwrap_or_else(PoisonError::into_inner);
            let record = witness.record(&this.store, MAX_ENTRY);
            if record.is_none() || record == written.last {
                return Ok(());
            }
            let content = serde_json::to_vec(&record)?;
            let outcome = file::write_atomic(&this.path, &content);
            let failed_before = std::mem::replace(&mut written.fails, outcome.is_err());
            match outcome {
                Ok(()) => written.last = record,
                Err(error) if !failed_before => return Err(error),
                Err(_) => {}
            }
            Ok(())
        };
        if let Err(error) = run_blocking(write).await {
            tracing::warn!(
                path = %self.path.display(),
                error = &error as &dyn std::error::Error,
                "cannot keep what this engine has seen of the store: what the store loses while no engine runs may go unnoticed"
            );
        }
    }
}

async fn run_blocking<T: Send + 'static>(
    operation: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let result = tokio::task::spawn_blocking(operation).await;
    // Fails if the runtime is shutting down.
    result.unwrap_or_else(|error| Err(io::Error::other(error)))
}
