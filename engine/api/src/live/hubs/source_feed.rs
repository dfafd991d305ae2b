//! What becomes of the sources of nodes, for the subscribers of `/hubs/metrics`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::select_all;
use hotswap_fleet::discovery::{Discovery, Sources};
use hotswap_signalr::{ConnectionHandle, OutboundMessage, Reply};
use poem_openapi::types::ToJSON;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::view;

const SOURCE_CHANGED: &str = "SourceChanged";

/// How long changes are gathered: a thousand nodes that register at once are one change.
const GATHER: Duration = Duration::from_millis(100);

/// Sends each change of a source. A handle: clones share everything.
///
/// It is the state that is sent, not what has happened: the journal knows nothing of sources. So who
/// was away subscribes again and gets the present state, and a newer state replaces one of the same
/// source that a slow client has not read yet.
#[derive(Clone)]
pub(super) struct SourceFeed(Arc<Inner>);

struct Inner {
    sources: Sources,
    /// By connection id.
    subscribers: Mutex<HashMap<u64, ConnectionHandle>>,
}

impl SourceFeed {
    pub fn new(sources: Sources) -> Self {
        Self(Arc::new(Inner {
            sources,
            subscribers: Mutex::default(),
        }))
    }

    /// Sends changes as they happen. Runs until dropped.
    pub async fn follow(&self) {
        let sources: Vec<_> = self.0.sources.iter().cloned().collect();
        let mut changes: Vec<_> = sources.iter().map(|source| source.changes()).collect();
        if changes.is_empty() {
            return;
        }
        loop {
            let changed = changes.iter_mut().map(|change| change.changed().boxed());
            // This one counts as seen from here on.
            let (Ok(()), first, _) = select_all(changed).await else {
                return;
            };
            sleep(GATHER).await;
            for (index, (source, change)) in sources.iter().zip(&mut changes).enumerate() {
                if index == first || change.has_changed().unwrap_or(false) {
                    change.mark_unchanged();
                    self.send(source.as_ref());
                }
            }
        }
    }

    /// Subscribes a connection. The reply has the present state of all sources, and changes follow it.
    pub fn subscribe(self, connection: &ConnectionHandle) -> Reply {
        let connection = connection.clone();
        let states: Vec<_> = self.0.sources.iter().map(|it| state(it.as_ref())).collect();
        let reply = json!({ "sources": states });
        Reply::with_follow_up(reply, move || {
            let id = connection.id();
            self.subscribers().insert(id, connection.clone());
            // `on_disconnected` may have been called before.
            if connection.is_closed() {
                self.unsubscribe(id);
            }
            for (source, before) in self.0.sources.iter().zip(&states) {
                // It may have changed since it was read.
                if !is_same(&state(source.as_ref()), before) {
                    connection.send(&message(source.as_ref()));
                }
            }
        })
    }

    pub fn unsubscribe(&self, connection_id: u64) {
        self.subscribers().remove(&connection_id);
    }

    fn send(&self, source: &dyn Discovery) {
        let message = message(source);
        self.subscribers()
            .retain(|_, connection| connection.send(&message));
    }

    fn subscribers(&self) -> MutexGuard<'_, HashMap<u64, ConnectionHandle>> {
        let guard = self.0.subscribers.lock();
        guard.unwrap_or_else(PoisonError::into_inner)
    }
}

fn message(source: &dyn Discovery) -> OutboundMessage {
    let key = format!("{SOURCE_CHANGED} {}", source.name());
    OutboundMessage::replaceable(key, SOURCE_CHANGED, state(source))
}

/// Whether two states differ only in their age.
fn is_same(one: &Value, other: &Value) -> bool {
    let without_age = |state: &Value| {
        let mut state = state.clone();
        if let Some(fields) = state.as_object_mut() {
            fields.remove("ageMillis");
        }
        state
    };
    without_age(one) == without_age(other)
}

fn state(source: &dyn Discovery) -> Value {
    let state = view::DiscoverySource::of(source);
    state.to_json().unwrap_or_default()
}
