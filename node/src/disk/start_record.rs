use std::io;
use std::path::{Path, PathBuf};

use hotswap_common::file;
use hotswap_protocol::Starts;
use serde::{Deserialize, Serialize};

/// Counts the starts of a node on its data folder, and those that ended without a shutdown. The
/// engine tells a crash from a planned restart by it.
#[derive(Debug, Clone)]
pub(crate) struct StartRecord {
    path: PathBuf,
    starts: Starts,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StoredRecord {
    starts: u64,
    crashes: u64,
    /// Whether the last start has not been shut down.
    running: bool,
}

impl StartRecord {
    /// Records a start in the file at `path`. Only one node at a time may use it.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub(crate) fn begin(path: PathBuf) -> io::Result<Self> {
        let stored = read(&path)?;
        let starts = Starts {
            starts: stored.starts.saturating_add(1),
            crashes: stored.crashes.saturating_add(u64::from(stored.running)),
        };
        let record = Self { path, starts };
        record.write(true)?;
        Ok(record)
    }

    /// The starts until now, this one included.
    pub(crate) fn starts(&self) -> Starts {
        self.starts
    }

    /// Records that the node was shut down.
    pub(crate) fn end(&self) {
        if let Err(error) = self.write(false) {
            tracing::warn!(%error, path = %self.path.display(), "cannot record the shutdown, so it will look like a crash");
        }
    }

    fn write(&self, running: bool) -> io::Result<()> {
        let record = StoredRecord {
            starts: self.starts.starts,
            crashes: self.starts.crashes,
            running,
        };
        let content = serde_json::to_vec(&record).map_err(io::Error::other)?;
        file::write_atomic(&self.path, &content)
    }
}

fn read(path: &Path) -> io::Result<StoredRecord> {
    let Some(content) = file::read_if_exists(path)? else {
        return Ok(StoredRecord::default());
    };
    Ok(serde_json::from_slice(&content).unwrap_or_else(|error| {
        tracing::warn!(%error, path = %path.display(), "the record of the node's starts is damaged, counting anew");
        StoredRecord::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_without_a_shutdown_before_it_counts_as_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("starts.json");
        let start = || StartRecord::begin(path.clone()).unwrap();
        let counts = |record: &StartRecord| (record.starts().starts, record.starts().crashes);
        let first = start();
        assert_eq!(counts(&first), (1, 0));
        first.end();
        assert_eq!(counts(&start()), (2, 0));
        let third = start();
        assert_eq!(counts(&third), (3, 1), "the second was not shut down");
        third.end();
        assert_eq!(counts(&start()), (4, 1));
        std::fs::write(&path, b"junk").unwrap();
        assert_eq!(counts(&start()), (1, 0));
    }
}
