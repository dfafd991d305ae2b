//! Where open journals end, as this engine saw it last.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hotswap_core::DeploymentId;

use crate::Head;

/// Maximum number of deployments, about 100 bytes each.
const MAX_CACHED: usize = 65_536;

/// Saves an append the question where its journal ends. Never trusted: the server compares.
#[derive(Debug, Default)]
pub(super) struct HeadCache(Mutex<HashMap<DeploymentId, Head>>);

impl HeadCache {
    pub(super) fn get(&self, deployment: DeploymentId) -> Option<Head> {
        self.lock().get(&deployment).copied()
    }

    /// Remembers the head, unless a later one is known.
    pub(super) fn put(&self, deployment: DeploymentId, head: Head) {
        let mut heads = self.lock();
        if head.lifecycle.is_ended() {
            heads.remove(&deployment);
            return;
        }
        if heads.len() >= MAX_CACHED && !heads.contains_key(&deployment) {
            *heads = HashMap::new();
        }
        let known = heads.entry(deployment).or_insert(head);
        if known.next_seq < head.next_seq {
            *known = head;
        }
    }

    pub(super) fn remove(&self, deployment: DeploymentId) {
        self.lock().remove(&deployment);
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeploymentId, Head>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
