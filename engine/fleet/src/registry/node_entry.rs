//! How a node's health follows from its heartbeats.

use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{Health, Timestamp};
use hotswap_protocol::NodeHealth;
use hotswap_store::NodeRecord;
use reqwest::Url;

use super::member::Member;

/// A node as the registry holds it in memory.
#[derive(Debug)]
pub(super) struct NodeEntry {
    pub(super) record: Arc<NodeRecord>,
    pub(super) control_url: Url,
    pub(super) last_heartbeat: Option<LastHeartbeat>,
    /// The health that subscribers were last notified of.
    pub(super) notified_health: Health,
}

/// The health that a node last reported.
#[derive(Debug)]
pub(super) struct LastHeartbeat {
    pub(super) at: Timestamp,
    pub(super) health: NodeHealth,
    pub(super) reason: Option<String>,
}

/// Number of consecutive missed heartbeats after which a node is late. A pause of the machine
/// or a reconnect may cost two.
const LATE_AFTER: u32 = 3;
/// Number of consecutive missed heartbeats after which a node is gone.
const GONE_AFTER: u32 = 6;

impl NodeEntry {
    /// The node's health at `now`, with a sentence if it is not passing. A heartbeat is due
    /// every `interval`.
    pub(super) fn health(&self, now: Timestamp, interval: Duration) -> (Health, Option<String>) {
        let Some(heartbeat) = &self.last_heartbeat else {
            let reason = "no heartbeat since this engine started";
            return (Health::Unknown, Some(reason.to_owned()));
        };
        let age = now.since(heartbeat.at);
        let overdue = |health| {
            let reason = format!(
                "the last heartbeat came {:.1} s ago; one is due every {:.1} s",
                age.as_secs_f64(),
                interval.as_secs_f64()
            );
            (health, Some(reason))
        };
        if age >= interval.saturating_mul(GONE_AFTER) {
            return overdue(Health::Critical);
        }
        if age >= interval.saturating_mul(LATE_AFTER) {
            return overdue(Health::Warning);
        }
        match heartbeat.health {
            NodeHealth::Passing => (Health::Passing, None),
            NodeHealth::Warning => {
                let reason = heartbeat.reason.clone();
                let reason = reason.unwrap_or_else(|| "the node gave no reason".to_owned());
                (Health::Warning, Some(reason))
            }
        }
    }

    pub(super) fn member(&self, now: Timestamp, interval: Duration) -> Member {
        let (health, reason) = self.health(now, interval);
        Member {
            record: Arc::clone(&self.record),
            health,
            reason,
            last_seen: self.last_heartbeat.as_ref().map(|heartbeat| heartbeat.at),
        }
    }
}
