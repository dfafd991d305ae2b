use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use hotswap_core::{NodeId, Timestamp};

/// The outcome of asking the instances that only registries know, by their ids. Apart from what the
/// registries say of their health. A handle: clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Polled(Arc<RwLock<BTreeMap<NodeId, Poll>>>);

/// The outcome of asking an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// The source that has named its address.
    pub source: Arc<str>,
    /// When it was asked last.
    pub at: Timestamp,
    /// Why it is not a node of this engine. `None` if it has answered, and its report counts.
    pub failure: Option<Arc<str>>,
}

impl Polled {
    /// The outcome of asking an instance. `None` if it was not asked: it reports in by itself, or
    /// is new.
    pub fn get(&self, id: &NodeId) -> Option<Poll> {
        let polls = self.0.read().unwrap_or_else(PoisonError::into_inner);
        polls.get(id).cloned()
    }

    /// How many of the instances of a source have answered, and how many have not.
    pub fn count(&self, source: &str) -> (usize, usize) {
        let polls = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let of_source = polls.values().filter(|poll| &*poll.source == source);
        of_source.fold((0, 0), |(good, bad), poll| match poll.failure {
            None => (good + 1, bad),
            Some(_) => (good, bad + 1),
        })
    }

    /// The first instance of a source, by its id, that has not answered, and why.
    pub fn first_failure(&self, source: &str) -> Option<(NodeId, Arc<str>)> {
        let polls = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut of_source = polls.iter().filter(|(_, poll)| &*poll.source == source);
        of_source.find_map(|(id, poll)| Some((id.clone(), poll.failure.clone()?)))
    }

    /// Records a poll. Returns the one before.
    pub fn record(&self, id: &NodeId, poll: Poll) -> Option<Poll> {
        let mut polls = self.0.write().unwrap_or_else(PoisonError::into_inner);
        polls.insert(id.clone(), poll)
    }

    /// The instance is not asked any more.
    pub fn forget(&self, id: &NodeId) {
        let mut polls = self.0.write().unwrap_or_else(PoisonError::into_inner);
        polls.remove(id);
    }
}
