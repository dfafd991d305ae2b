//! The calls of a strategy, as a test sees them.

use std::fmt;

use crate::{Check, Level, Probe, Span};

/// A call that a strategy made, with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// [`Fleet::nodes`](crate::Fleet::nodes).
    Nodes,
    /// [`Fleet::stage`](crate::Fleet::stage) of these nodes.
    Stage(Vec<String>),
    /// [`Fleet::shift`](crate::Fleet::shift) of these nodes to a percentage.
    Shift(Vec<String>, u8),
    /// [`Fleet::promote`](crate::Fleet::promote) of these nodes.
    Promote(Vec<String>),
    /// [`Fleet::revert`](crate::Fleet::revert) of these nodes.
    Revert(Vec<String>),
    /// [`Fleet::probe`](crate::Fleet::probe) of these nodes.
    Probe(Vec<String>, Probe),
    /// [`Fleet::soak`](crate::Fleet::soak).
    Soak {
        /// How long the soak was to last.
        window: Span,
        /// The nodes on the new version.
        canary: Vec<String>,
        /// The nodes on the previous version.
        baseline: Vec<String>,
        /// The checks to judge.
        checks: Vec<Check>,
    },
    /// [`Control::now`](crate::Control::now).
    Now,
    /// [`Control::sleep`](crate::Control::sleep).
    Sleep(Span),
    /// [`Control::approval`](crate::Control::approval).
    Approval {
        /// The question.
        prompt: String,
        /// How long to wait for a decision.
        timeout: Span,
    },
    /// [`Control::progress`](crate::Control::progress).
    Progress {
        /// The name of the stage.
        stage: String,
        /// 0 to 100.
        percent: u8,
    },
    /// [`Control::log`](crate::Control::log).
    Log {
        /// The severity of the line.
        level: Level,
        /// The line.
        message: String,
    },
}

impl Call {
    /// Whether the call changes nodes or waits. Other calls read or report.
    pub(super) const fn acts_or_waits(&self) -> bool {
        !matches!(
            self,
            Self::Nodes | Self::Now | Self::Progress { .. } | Self::Log { .. }
        )
    }
}

/// One line of [`ScriptedFleet::transcript`](super::ScriptedFleet::transcript):
/// `stage node-1 node-2`.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes => f.write_str("nodes"),
            Self::Stage(nodes) => write!(f, "stage {}", nodes.join(" ")),
            Self::Shift(nodes, percent) => write!(f, "shift to {percent} %: {}", nodes.join(" ")),
            Self::Promote(nodes) => write!(f, "promote {}", nodes.join(" ")),
            Self::Revert(nodes) => write!(f, "revert {}", nodes.join(" ")),
            Self::Probe(nodes, probe) => write!(f, "probe {}: {}", probe.path, nodes.join(" ")),
            Self::Soak {
                window,
                canary,
                baseline,
                ..
            } => {
                write!(f, "soak {window}: {}", canary.join(" "))?;
                match baseline.len() {
                    0 => Ok(()),
                    _ => write!(f, " against {}", baseline.join(" ")),
                }
            }
            Self::Now => f.write_str("now"),
            Self::Sleep(span) => write!(f, "sleep {span}"),
            Self::Approval { prompt, timeout } => write!(f, "approval within {timeout}: {prompt}"),
            Self::Progress { stage, percent } => write!(f, "progress {percent} %: {stage}"),
            Self::Log { level, message } => {
                write!(f, "log {}: {message}", format!("{level:?}").to_lowercase())
            }
        }
    }
}
