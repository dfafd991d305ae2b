use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hotswap_protocol::Version;

/// Why versions in slots cannot be loaded. A version that is loaded later, or leaves its slot,
/// has no fault any more.
#[derive(Debug, Default)]
pub(super) struct Faults {
    reasons: Mutex<HashMap<Key, String>>,
}

/// Module, version and digest.
type Key = (String, String, String);

impl Faults {
    /// Records why a version cannot be loaded. Returns whether this was not known.
    pub(super) fn set(&self, module: &str, version: &Version, reason: String) -> bool {
        let known = self.reasons().insert(key(module, version), reason.clone());
        known.is_none_or(|known| known != reason)
    }

    pub(super) fn clear(&self, module: &str, version: &Version) {
        self.reasons().remove(&key(module, version));
    }

    /// Why the version is not loaded, if an attempt has failed.
    pub(super) fn reason(&self, module: &str, version: &Version) -> Option<String> {
        self.reasons().get(&key(module, version)).cloned()
    }

    fn reasons(&self) -> MutexGuard<'_, HashMap<Key, String>> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(module: &str, version: &Version) -> Key {
    let (version, digest) = (version.version.clone(), version.digest.clone());
    (module.to_owned(), version, digest)
}
