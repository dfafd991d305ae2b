use std::sync::Arc;

use hashlink::LruCache;
use hotswap_core::{Deployment, DeploymentId, NodeId, NodeState};
use serde_json::Value;

/// Bytes that the cached states may take: a thousand of small fleets, or a few of large ones.
const MAX_BYTES: usize = 8 << 20;
/// Entries for which a leaf of a `BTreeMap` has room. It is allocated whole.
const LEAF: usize = 11;
/// About what a node of a state takes beside its error: its entry, and its texts.
const NODE_BYTES: usize = size_of::<(NodeId, NodeState)>();
const NODE_TEXTS: usize = 160;

/// The states that were read last, by size.
pub(super) struct StateCache {
    states: LruCache<DeploymentId, CachedState>,
    /// Of all states.
    bytes: usize,
}

struct CachedState {
    state: Arc<Deployment>,
    bytes: usize,
}

impl Default for StateCache {
    fn default() -> Self {
        Self {
            states: LruCache::new_unbounded(),
            bytes: 0,
        }
    }
}

impl StateCache {
    pub(super) fn get(&mut self, id: DeploymentId) -> Option<Arc<Deployment>> {
        let cached = self.states.get(&id)?;
        Some(Arc::clone(&cached.state))
    }

    /// Keeps a state, unless a newer one is there. Drops those that were not read for longest
    /// until the rest has room.
    pub(super) fn insert(&mut self, state: Arc<Deployment>) {
        let id = state.header.id;
        let newest = self.states.peek(&id).map(|cached| cached.state.next_seq);
        if newest.is_some_and(|newest| newest >= state.next_seq) {
            return;
        }
        self.remove(id);
        let bytes = size_of_state(&state);
        self.bytes += bytes;
        self.states.insert(id, CachedState { state, bytes });
        while self.bytes > MAX_BYTES
            && let Some((_, oldest)) = self.states.remove_lru()
        {
            self.bytes -= oldest.bytes;
        }
    }

    pub(super) fn remove(&mut self, id: DeploymentId) {
        if let Some(removed) = self.states.remove(&id) {
            self.bytes -= removed.bytes;
        }
    }
}

/// About the memory that a state takes.
fn size_of_state(state: &Deployment) -> usize {
    let errors = state.nodes.values().filter(|node| node.error.is_some());
    let log: usize = state.log.iter().map(|line| line.message.len() + 64).sum();
    let header = &state.header;
    let metadata = header.metadata.iter();
    let metadata: usize = metadata
        .map(|(key, value)| key.len() + value.len() + 96)
        .sum();
    let description = header.description.as_ref().map_or(0, String::len);
    let nodes = state.nodes.len().next_multiple_of(LEAF) * NODE_BYTES;
    2048 + nodes
        + state.nodes.len() * NODE_TEXTS
        + (errors.count() + state.failures.len()) * 256
        + (state.stages.len() + state.findings.len()) * 256
        + log
        + metadata
        + description
        + size_of_value(&header.config)
}

/// About the memory that a JSON value takes on the heap.
fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len() + 16,
        Value::Array(items) => {
            let inside: usize = items.iter().map(size_of_value).sum();
            size_of_val(items.as_slice()) + inside
        }
        Value::Object(fields) => {
            let entries = fields.len().next_multiple_of(LEAF) * size_of::<(String, Value)>();
            let inside = fields.iter();
            let inside: usize = inside
                .map(|(key, value)| key.len() + 16 + size_of_value(value))
                .sum();
            entries + inside
        }
    }
}

#[cfg(test)]
mod tests {
    use hotswap_core::{Event, EventBody, Timestamp};

    use super::*;

    fn state(nodes: usize) -> Arc<Deployment> {
        let header = crate::projections::tests::header();
        let event = |seq, body| Event {
            seq,
            position: seq,
            at: Timestamp::from_millis(seq),
            body,
        };
        let nodes = (0..nodes).map(crate::projections::tests::node).collect();
        let requested = event(0, EventBody::Requested(Box::new(header)));
        let planned = event(
            1,
            EventBody::Planned {
                nodes,
                missing: Vec::new(),
                cordoned: Vec::new(),
            },
        );
        Arc::new(Deployment::fold([&requested, &planned]).unwrap())
    }

    #[test]
    fn the_states_that_were_not_read_for_longest_make_room() {
        let mut cache = StateCache::default();
        let first = state(1000);
        let first_id = first.header.id;
        cache.insert(first);
        let mut ids = Vec::new();
        for _ in 0..100 {
            let next = state(1000);
            ids.push(next.header.id);
            cache.insert(next);
            assert!(cache.get(first_id).is_some());
            assert!(cache.bytes <= MAX_BYTES);
        }
        assert!(cache.get(ids[0]).is_none());
        assert!(cache.get(ids[99]).is_some());
        let bytes: usize = cache.states.iter().map(|(_, cached)| cached.bytes).sum();
        assert_eq!(cache.bytes, bytes);
    }

    #[test]
    fn a_state_larger_than_the_cache_is_not_kept() {
        let mut cache = StateCache::default();
        let large = state(100_000);
        let id = large.header.id;
        cache.insert(large);
        assert!(cache.get(id).is_none());
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn an_older_state_does_not_replace_a_newer_one() {
        let mut cache = StateCache::default();
        let newer = state(2);
        let older = Event {
            seq: 0,
            position: 0,
            at: Timestamp::from_millis(0),
            body: EventBody::Requested(Box::new(newer.header.clone())),
        };
        cache.insert(Arc::clone(&newer));
        cache.insert(Arc::new(Deployment::begin(&older).unwrap()));
        assert_eq!(cache.get(newer.header.id), Some(newer));
    }
}
