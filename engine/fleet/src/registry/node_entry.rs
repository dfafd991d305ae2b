//! How a node's health follows from what is heard of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hotswap_common::Backoff;
use hotswap_core::{Health, Timestamp};
use hotswap_protocol::NodeHealth;
use hotswap_store::NodeRecord;
use reqwest::Url;

use super::listening_time::ListeningTime;
use super::member::Member;

/// A node as the registry holds it in memory.
#[derive(Debug)]
pub(super) struct NodeEntry {
    pub(super) record: Arc<NodeRecord>,
    pub(super) control_url: Url,
    /// `None` if nothing was heard of it since this engine started.
    pub(super) last_heard: Option<Heard>,
    /// `None` if it has sent no heartbeat since this engine started.
    pub(super) last_report: Option<Report>,
    /// The health that subscribers were last notified of.
    pub(super) notified_health: Health,
    /// Set while requests get no answer. Forgotten as soon as something is heard of the node.
    pub(super) silence: Option<Silence>,
}

/// When a node that gave no answer is asked again.
#[derive(Debug)]
pub(super) struct Silence {
    pub(super) backoff: Backoff,
    pub(super) ask_again_at: Instant,
}

/// When a node sent a heartbeat or answered a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    /// The date, for people.
    pub(super) at: Timestamp,
    /// The moment, in listening time.
    pub(super) listened: Duration,
}

/// What a node last reported of itself.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) health: NodeHealth,
    pub(super) reason: Option<String>,
}

/// The moment for which health is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// In listening time.
    pub(super) listened: Duration,
    /// Whether a stall has just ended: a node that was not gone before does not count as gone.
    pub(super) is_settling: bool,
    /// A heartbeat is due every interval.
    pub(super) interval: Duration,
}

/// Number of consecutive missed heartbeats after which a node is late. A pause of the machine
/// or a reconnect may cost two.
const LATE_AFTER: u32 = 3;
/// Number of consecutive missed heartbeats after which a node is gone.
const GONE_AFTER: u32 = 6;

impl Moment {
    pub(super) fn new(time: &ListeningTime, listened: Duration, interval: Duration) -> Self {
        Self {
            listened,
            is_settling: time.is_settling(listened),
            interval,
        }
    }
}

impl NodeEntry {
    /// The node's health, with a sentence if it is not passing.
    pub(super) fn health(&self, moment: Moment) -> (Health, Option<String>) {
        let Some(heard) = &self.last_heard else {
            let reason = "no heartbeat since this engine started";
            return (Health::Unknown, Some(reason.to_owned()));
        };
        let interval = moment.interval;
        let age = moment.listened.saturating_sub(heard.listened);
        let overdue = |health| {
            let reason = format!(
                "it was last heard of {:.1} s ago; a heartbeat is due every {:.1} s",
                age.as_secs_f64(),
                interval.as_secs_f64()
            );
            (health, Some(reason))
        };
        if age >= interval.saturating_mul(GONE_AFTER) {
            let was_gone = self.notified_health == Health::Critical;
            return overdue(if moment.is_settling && !was_gone {
                Health::Warning
            } else {
                Health::Critical
            });
        }
        if age >= interval.saturating_mul(LATE_AFTER) {
            return overdue(Health::Warning);
        }
        match &self.last_report {
            Some(Report {
                health: NodeHealth::Warning,
                reason,
            }) => {
                let reason = reason.clone();
                let reason = reason.unwrap_or_else(|| "the node gave no reason".to_owned());
                (Health::Warning, Some(reason))
            }
            Some(Report {
                health: NodeHealth::Passing,
                ..
            })
            | None => (Health::Passing, None),
        }
    }

    pub(super) fn member(&self, moment: Moment) -> Member {
        let (health, reason) = self.health(moment);
        Member {
            record: Arc::clone(&self.record),
            health,
            reason,
            last_seen: self.last_heard.map(|heard| heard.at),
        }
    }
}
