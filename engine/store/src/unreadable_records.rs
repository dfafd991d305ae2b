//! Records of the catalogue that cannot be read.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A record of the catalogue that this engine cannot read. Lists leave it out: one record must not
/// hide all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRecord {
    /// What it is a record of: `module`, `strategy`, `backend` or `node`.
    pub kind: &'static str,
    /// Under which name it is stored, with the version of a module.
    pub key: String,
    /// Why it cannot be read.
    pub reason: String,
}

/// The records that were found to be unreadable. Each is logged once.
#[derive(Debug, Default)]
pub(crate) struct UnreadableRecords(Mutex<HashSet<(&'static str, String)>>);

/// What was read of one kind.
pub(crate) struct Listed<T> {
    pub(crate) records: Vec<T>,
    pub(crate) unreadable: Vec<UnreadableRecord>,
}

impl fmt::Display for UnreadableRecord {
    /// `the record of module hello 1.0.0 cannot be read: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key, reason } = self;
        write!(f, "the record of {kind} {key} cannot be read: {reason}")
    }
}

impl UnreadableRecords {
    /// Logs those that were not logged before.
    pub(crate) fn report(&self, found: &[UnreadableRecord]) {
        if found.is_empty() {
            return;
        }
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for record in found {
            if reported.insert((record.kind, record.key.clone())) {
                tracing::error!(
                    error = %record,
                    "a record of the catalogue is left out of lists, and no unused file is deleted"
                );
            }
        }
    }
}

impl<T> Listed<T> {
    pub(crate) fn new() -> Self {
        Self {
            records: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// Adds what was read of one record.
    pub(crate) fn add(
        &mut self,
        kind: &'static str,
        key: impl FnOnce() -> String,
        read: Result<T, impl fmt::Display>,
    ) {
        match read {
            Ok(record) => self.records.push(record),
            Err(error) => self.unreadable.push(UnreadableRecord {
                kind,
                key: key(),
                reason: error.to_string(),
            }),
        }
    }
}
