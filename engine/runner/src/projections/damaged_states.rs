//! The states of deployments whose journals cannot be read.

use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{Deployment, DeploymentId};
use hotswap_store::Head;
use tokio::time::Instant;

use super::state_cache::StateCache;

/// How long a state is believed. Somebody may mend a journal, which does not become longer by it.
const MAX_AGE: Duration = Duration::from_secs(60);

/// The states that were read last. Each takes the whole journal to find out, since no snapshot is
/// stored of a journal that cannot be read; without this, every page and request would read it all.
pub(super) struct DamagedStates {
    since: Instant,
    states: StateCache,
}

impl Default for DamagedStates {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            states: StateCache::default(),
        }
    }
}

impl DamagedStates {
    /// The state of a deployment, if it was read not long ago.
    pub(super) fn get(&mut self, id: DeploymentId) -> Option<Arc<Deployment>> {
        if self.since.elapsed() >= MAX_AGE {
            *self = Self::default();
        }
        self.states.get(id)
    }

    pub(super) fn insert(&mut self, state: Arc<Deployment>) {
        self.states.insert(state);
    }

    pub(super) fn remove(&mut self, id: DeploymentId) {
        self.states.remove(id);
    }

    /// Whether a state is that of a journal which ends at `head`.
    pub(super) fn is_current(state: &Deployment, head: &Head) -> bool {
        state.next_seq == head.next_seq && state.lifecycle == head.lifecycle
    }
}
