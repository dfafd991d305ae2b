use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{Health, NodeId, Timestamp};
use hotswap_protocol::NodeHealth;
use hotswap_store::NodeRecord;
use reqwest::Url;

/// A registered node, and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it said of itself.
    pub record: Arc<NodeRecord>,
    /// What was last heard of it, and how long ago.
    pub health: Health,
    /// One sentence, where that is not passing.
    pub reason: Option<String>,
    /// When it registered or sent its last heartbeat; none since this engine's start.
    pub last_seen: Option<Timestamp>,
}

/// A node's health is another than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The node.
    pub node: NodeId,
    /// How it is now; none where it was deregistered.
    pub health: Option<Health>,
}

/// A node as the registry holds it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) record: Arc<NodeRecord>,
    pub(crate) control: Url,
    pub(crate) heard: Option<Heard>,
    /// The health that subscribers know.
    pub(crate) told: Health,
}

/// What a node last said of its health.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) at: Timestamp,
    pub(crate) health: NodeHealth,
    pub(crate) reason: Option<String>,
}

/// Heartbeats in a row that may be missing before a node counts as late: two can be lost
/// to a pause of the machine or a reconnect.
const LATE: u32 = 3;
/// Heartbeats in a row that may be missing before a node counts as gone.
const GONE: u32 = 6;

impl Entry {
    /// How the node is at `now`, where a heartbeat is due every `interval`.
    pub(crate) fn health(&self, now: Timestamp, interval: Duration) -> (Health, Option<String>) {
        let Some(heard) = &self.heard else {
            let reason = "not heard of since this engine started";
            return (Health::Unknown, Some(reason.to_owned()));
        };
        let age = now.since(heard.at);
        let overdue = |health| {
            let reason = format!(
                "the last heartbeat came {:.1} s ago, and one is due every {:.1} s",
                age.as_secs_f64(),
                interval.as_secs_f64()
            );
            (health, Some(reason))
        };
        if age >= interval.saturating_mul(GONE) {
            return overdue(Health::Critical);
        }
        if age >= interval.saturating_mul(LATE) {
            return overdue(Health::Warning);
        }
        match heard.health {
            NodeHealth::Passing => (Health::Passing, None),
            NodeHealth::Warning => {
                let reason = heard.reason.clone();
                let reason = reason.unwrap_or_else(|| "the node gave no reason".to_owned());
                (Health::Warning, Some(reason))
            }
        }
    }

    pub(crate) fn member(&self, now: Timestamp, interval: Duration) -> Member {
        let (health, reason) = self.health(now, interval);
        Member {
            record: Arc::clone(&self.record),
            health,
            reason,
            last_seen: self.heard.as_ref().map(|heard| heard.at),
        }
    }
}
