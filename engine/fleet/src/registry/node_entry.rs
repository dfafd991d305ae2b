//! How a node's health follows from what is heard of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotswap_common::Backoff;
use hotswap_core::{Health, Timestamp};
use hotswap_protocol::{NodeHealth, Readiness, Traffic};
use hotswap_store::NodeRecord;
use reqwest::Url;

use super::listening_time::ListeningTime;
use super::member::Member;
use super::report::ModuleStates;

/// A node as the registry holds it in memory.
#[derive(Debug)]
pub(super) struct NodeEntry {
    pub(super) record: Arc<NodeRecord>,
    pub(super) control_url: Url,
    /// `None` if nothing was heard of it since this engine started.
    pub(super) last_heard: Option<Heard>,
    /// `None` if it has sent no heartbeat since this engine started.
    pub(super) last_report: Option<Report>,
    /// The source through which the engine knows it, and asks it. `None` for a node that reports in
    /// by itself, and for one that was not heard of since this engine started.
    pub(super) found_in: Option<Arc<str>>,
    /// Random id of the node's start. `None` if it has not registered since this engine
    /// started.
    pub(super) boot: Option<String>,
    /// Whether its next heartbeat is answered with the request to register again: the environment
    /// that its labels lead to may be another one by now.
    pub(super) must_register: bool,
    /// The starts that were replaced by later ones of the same data folder, the latest last.
    pub(super) replaced_boots: VecDeque<String>,
    pub(super) modules: Option<Arc<ModuleStates>>,
    /// As its last heartbeat said it.
    pub(super) readiness: Option<Readiness>,
    /// As its last heartbeat said it.
    pub(super) traffic: Option<Traffic>,
    /// The health that subscribers were last notified of.
    pub(super) notified_health: Health,
    /// Set while requests get no answer. Forgotten as soon as something is heard of the node.
    pub(super) unanswered: Option<Unanswered>,
}

/// When a node that gave no answer is asked again.
#[derive(Debug)]
pub(super) struct Unanswered {
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

/// Starts of a node that the registry remembers. Two nodes on copies of one folder take turns
/// only if this many restarts come in between.
const MAX_REPLACED_BOOTS: usize = 16;

/// The last report of a node about itself.
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

/// How long a node is silent until it counts as gone.
pub(super) fn silence(interval: Duration) -> Duration {
    interval.saturating_mul(GONE_AFTER)
}

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
    /// A node that nothing has been heard of since this engine started.
    pub(super) fn unheard(record: NodeRecord, control_url: Url) -> Self {
        Self {
            record: Arc::new(record),
            control_url,
            last_heard: None,
            last_report: None,
            found_in: None,
            boot: None,
            must_register: false,
            replaced_boots: VecDeque::new(),
            modules: None,
            readiness: None,
            traffic: None,
            notified_health: Health::Unknown,
            unanswered: None,
        }
    }

    /// The starts that are replaced once the node has registered with the start `boot`.
    pub(super) fn replaced_by(&self, boot: Option<&str>) -> VecDeque<String> {
        let mut replaced = self.replaced_boots.clone();
        replaced.extend(self.boot.clone().filter(|own| Some(own.as_str()) != boot));
        let excess = replaced.len().saturating_sub(MAX_REPLACED_BOOTS);
        replaced.drain(..excess);
        replaced
    }

    /// Whether the node still reports in. One that was not heard of since this engine started
    /// may: it gets the time to do so.
    pub(super) fn is_reporting(&self, moment: Moment) -> bool {
        !self.has_stopped() && self.silent_for(moment) < silence(moment.interval)
    }

    /// How long this engine has listened since it last heard of the node; since its own start,
    /// if it has not heard of it.
    pub(super) fn silent_for(&self, moment: Moment) -> Duration {
        let heard = self.last_heard.map(|heard| heard.listened);
        moment.listened.saturating_sub(heard.unwrap_or_default())
    }

    /// Whether the node has said that it stops.
    pub(super) fn has_stopped(&self) -> bool {
        let report = self.last_report.as_ref();
        report.is_some_and(|report| report.health == NodeHealth::Stopping)
    }

    /// The node's health, with a sentence if it is not passing.
    pub(super) fn health(&self, moment: Moment) -> (Health, Option<String>) {
        let Some(heard) = &self.last_heard else {
            let reason = "no heartbeat since this engine started";
            return (Health::Unknown, Some(reason.to_owned()));
        };
        if self.has_stopped() {
            return (Health::Critical, Some("it has stopped".to_owned()));
        }
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
        if age >= silence(interval) {
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
                health: NodeHealth::Passing | NodeHealth::Stopping,
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
            found_in: self.found_in.clone(),
            boot: self.boot.clone(),
            modules: self.modules.clone(),
            readiness: self.readiness.clone(),
            traffic: self.traffic,
        }
    }
}
