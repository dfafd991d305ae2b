//! The store for tests: it keeps its contract in memory, and nothing beyond the process.

mod catalogue;
mod decisions;
mod environment_journal;
mod journal;
mod state;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use self::state::State;
use crate::{Appended, EnvironmentAppended};

/// Notifications that a slow subscriber may be behind before it loses the oldest.
const NOTIFICATION_CAPACITY: usize = 8192;

/// Journals and catalogue in memory, for tests and simulations. A handle: clones share what is
/// stored.
///
/// It passes the suite of every store, but for what outlives the process. No call waits for
/// anything, so what happens depends on the order of the calls alone. Lists and searches look at
/// every deployment. Events are kept as they are, so none is ever damaged.
#[derive(Clone)]
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    subscribers: broadcast::Sender<Appended>,
    environment_subscribers: broadcast::Sender<EnvironmentAppended>,
}

impl Memory {
    /// A new store, which is empty. Stores with different ids have different epochs.
    pub fn new(id: u64) -> Self {
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(State::new(id)),
                subscribers: broadcast::Sender::new(NOTIFICATION_CAPACITY),
                environment_subscribers: broadcast::Sender::new(NOTIFICATION_CAPACITY),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.inner.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    /// Notifies of appends, in order: the caller still holds the state. Fails where nobody has
    /// subscribed.
    fn notify(&self, appended: Vec<Appended>) {
        for appended in appended {
            let _ = self.inner.subscribers.send(appended);
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}
