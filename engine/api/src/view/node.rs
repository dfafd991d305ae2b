use std::collections::BTreeMap;

use hotswap_core as core;
use hotswap_fleet::Member;
use poem_openapi::{Enum, Object};

/// All nodes, sorted by id.
#[derive(Debug, Clone, Object)]
pub(crate) struct Nodes {
    /// They.
    pub nodes: Vec<Node>,
}

/// A machine that runs `hotswap node`.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Node {
    /// Its name.
    pub id: String,
    /// Which environment it belongs to.
    pub environment: String,
    /// Where it stands, if it says so.
    pub zone: Option<String>,
    /// What its operator says of it.
    pub labels: BTreeMap<String, String>,
    /// What was last heard of it, and how long ago.
    pub health: Health,
    /// One sentence, where that is not passing.
    pub reason: Option<String>,
    /// Where it takes orders of the engine.
    pub control_url: String,
    /// Where it answers requests.
    pub data_url: String,
    /// When it registered first.
    pub registered_at: u64,
    /// When it was last heard of; absent: not since the engine started.
    pub last_seen: Option<u64>,
}

/// What the engine last heard of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "core::Health")]
pub(crate) enum Health {
    /// It reports in and says that all is well.
    Passing,
    /// It reports in, late or with a complaint.
    Warning,
    /// It has not reported in for so long that it counts as gone.
    Critical,
    /// It has not been heard of yet.
    Unknown,
}

/// How many nodes are how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Object)]
pub(crate) struct HealthCounts {
    /// Report in and say that all is well.
    pub passing: u32,
    /// Report in, late or with a complaint.
    pub warning: u32,
    /// Count as gone.
    pub critical: u32,
    /// Have not been heard of since the engine started.
    pub unknown: u32,
}

impl HealthCounts {
    /// Of these nodes.
    pub fn of<'a>(members: impl IntoIterator<Item = &'a Member>) -> Self {
        let mut counts = Self::default();
        for member in members {
            match member.health {
                core::Health::Passing => counts.passing += 1,
                core::Health::Warning => counts.warning += 1,
                core::Health::Critical => counts.critical += 1,
                core::Health::Unknown => counts.unknown += 1,
            }
        }
        counts
    }
}

impl From<Member> for Node {
    fn from(member: Member) -> Self {
        let record = member.record.as_ref().clone();
        Self {
            id: record.id.into(),
            environment: record.environment.into(),
            zone: record.zone,
            labels: record.labels,
            health: member.health.into(),
            reason: member.reason,
            control_url: record.control_url,
            data_url: record.data_url,
            registered_at: record.registered_at.millis(),
            last_seen: member.last_seen.map(core::Timestamp::millis),
        }
    }
}
