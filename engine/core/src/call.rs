use serde::{Deserialize, Serialize};

use crate::{Node, NodeFailure, NodeId};

/// What a strategy asked of the engine: one of the imports of the world
/// `hotswap:strategy/strategy`, with its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "call", content = "arguments")]
pub enum Call {
    /// `fleet.nodes`.
    Nodes,
    /// `fleet.stage`.
    Stage {
        /// On these.
        nodes: Vec<NodeId>,
    },
    /// `fleet.shift`.
    Shift {
        /// On these.
        nodes: Vec<NodeId>,
        /// 0 to 100; more is a violation that ends the deployment.
        percent: u8,
    },
    /// `fleet.promote`.
    Promote {
        /// On these.
        nodes: Vec<NodeId>,
    },
    /// `fleet.revert`.
    Revert {
        /// On these.
        nodes: Vec<NodeId>,
    },
    /// `fleet.probe`.
    Probe {
        /// On these.
        nodes: Vec<NodeId>,
        /// What to ask, and what to expect.
        request: HttpProbe,
    },
    /// `analysis.soak`.
    Soak {
        /// How long, in milliseconds.
        window: u64,
        /// Nodes on which the new version is watched.
        canary: Vec<NodeId>,
        /// Nodes on which the version before is watched.
        baseline: Vec<NodeId>,
        /// What must hold.
        checks: Vec<Check>,
    },
    /// `control.now`.
    Now,
    /// `control.sleep`.
    Sleep {
        /// How long, in milliseconds.
        span: u64,
    },
    /// `control.approval`.
    Approval {
        /// What the person is asked.
        prompt: String,
        /// How long to wait for them, in milliseconds.
        timeout: u64,
    },
    /// `control.progress`.
    Progress {
        /// The stage's name.
        stage: String,
        /// 0 to 100; more is a violation that ends the deployment.
        percent: u8,
    },
    /// `control.log`.
    Log {
        /// How much it matters.
        level: Level,
        /// What to say.
        message: String,
    },
}

/// How a call is journaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing comes back: the call alone is journaled.
    Note,
    /// Nothing is done: call and answer are journaled as one event.
    Read,
    /// Something is done: the intent is journaled, then carried out, then the answer is
    /// journaled. An intent without an answer is carried out again after a crash.
    Write,
}

impl Call {
    /// The import's name, for people: `fleet.stage`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nodes => "fleet.nodes",
            Self::Stage { .. } => "fleet.stage",
            Self::Shift { .. } => "fleet.shift",
            Self::Promote { .. } => "fleet.promote",
            Self::Revert { .. } => "fleet.revert",
            Self::Probe { .. } => "fleet.probe",
            Self::Soak { .. } => "analysis.soak",
            Self::Now => "control.now",
            Self::Sleep { .. } => "control.sleep",
            Self::Approval { .. } => "control.approval",
            Self::Progress { .. } => "control.progress",
            Self::Log { .. } => "control.log",
        }
    }

    /// How it is journaled.
    pub fn class(&self) -> Class {
        match self {
            Self::Progress { .. } | Self::Log { .. } => Class::Note,
            Self::Nodes | Self::Now => Class::Read,
            Self::Stage { .. }
            | Self::Shift { .. }
            | Self::Promote { .. }
            | Self::Revert { .. }
            | Self::Probe { .. }
            | Self::Soak { .. }
            | Self::Sleep { .. }
            | Self::Approval { .. } => Class::Write,
        }
    }

    /// The nodes that the call changes: those that must be put back if the deployment
    /// does not succeed.
    pub fn changes(&self) -> &[NodeId] {
        match self {
            Self::Stage { nodes } | Self::Shift { nodes, .. } | Self::Promote { nodes } => nodes,
            Self::Revert { nodes } => nodes,
            _ => &[],
        }
    }

    /// All the nodes that the call names.
    pub fn named(&self) -> impl Iterator<Item = &NodeId> {
        let (first, second): (&[NodeId], &[NodeId]) = match self {
            Self::Probe { nodes, .. } => (nodes, &[]),
            Self::Soak {
                canary, baseline, ..
            } => (canary, baseline),
            other => (other.changes(), &[]),
        };
        first.iter().chain(second)
    }
}

/// What the engine answered to a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "answer", content = "value")]
pub enum Answer {
    /// To a note, and to a sleep that is over.
    Done,
    /// To `fleet.nodes`.
    Nodes(Vec<Node>),
    /// To the calls that act on nodes: those that did not do as asked. All others did.
    Nodewise(Vec<NodeFailure>),
    /// To `analysis.soak`.
    Verdict(Verdict),
    /// To `control.now`: milliseconds since the Unix epoch.
    Time(u64),
    /// To `control.approval`.
    Decision(Decision),
}

/// A request that must be answered as expected before a version counts as good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpProbe {
    /// Path and query, beginning with `/`.
    pub path: String,
    /// The status that the answer must have.
    pub expect_status: u16,
    /// Text that the body must contain; looked for in its first 64 KiB.
    pub expect_body: Option<String>,
    /// How long to ask again before the node counts as unhealthy, in milliseconds.
    pub timeout: u64,
}

/// One condition on one metric of the new version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// `error-rate`, `latency-p50`, `latency-p95`, `latency-p99`, `cpu` or `memory`.
    pub metric: String,
    /// Highest value allowed, in the metric's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Highest rise over the baseline allowed, as a fraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_increase: Option<f64>,
    /// A rise smaller than this is never a failure; in the metric's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_increase: Option<f64>,
}

impl Check {
    /// Whether its limits are numbers that a journal can hold.
    pub fn is_finite(&self) -> bool {
        [self.max, self.max_increase, self.min_increase]
            .into_iter()
            .flatten()
            .all(f64::is_finite)
    }
}

/// What a check, or a whole soak, came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Judgement {
    /// Enough was seen, and nothing speaks against the new version.
    Pass,
    /// The condition is certainly broken.
    Fail,
    /// Too little was seen to tell.
    Inconclusive,
}

/// What one check came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The condition, as it was asked.
    pub check: Check,
    /// What it came to.
    pub judgement: Judgement,
    /// The metric's value on the new version, where there is one.
    pub canary: Option<f64>,
    /// The metric's value on the version before, where there is one.
    pub baseline: Option<f64>,
    /// Requests, or readings of a gauge, that were seen of the new version.
    pub canary_samples: u64,
    /// Requests, or readings of a gauge, that were seen of the version before.
    pub baseline_samples: u64,
    /// One sentence for a person: what was compared, and why it passed or failed.
    pub reason: String,
}

/// What a soak came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// `Fail` if any finding failed; else `Inconclusive` if any was; else `Pass`.
    pub judgement: Judgement,
    /// One for each check, in the order asked.
    pub findings: Vec<Finding>,
}

/// What a person decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Whether to go on.
    pub approved: bool,
    /// Who decided; empty where nobody did in time.
    pub by: String,
    /// What they said of it.
    pub comment: Option<String>,
}

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// For the strategy's author.
    Debug,
    /// For whoever watches.
    Info,
    /// Something to look at.
    Warn,
    /// Something that went wrong.
    Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On replay a call is compared with what was written of it: a figure that came back
    /// a little different would be taken for another call.
    #[test]
    fn figures_are_read_as_they_were_written() {
        let mut figure = 0.1_f64;
        for _ in 0..10_000 {
            figure = f64::from_bits(figure.to_bits().wrapping_mul(6_364_136_223_846_793_005) >> 2);
            let check = Check {
                metric: "error-rate".into(),
                max: Some(figure),
                max_increase: None,
                min_increase: None,
            };
            if check.is_finite() {
                let json = serde_json::to_string(&check).unwrap();
                assert_eq!(
                    serde_json::from_str::<Check>(&json).unwrap(),
                    check,
                    "{json}"
                );
            }
        }
    }
}
