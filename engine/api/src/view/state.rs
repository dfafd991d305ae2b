use hotswap_core as core;
use poem_openapi::{Enum, Object};

/// Where a deployment is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "core::Status")]
pub(crate) enum Status {
    /// Requested; the engine has not begun.
    Pending,
    /// A person has to decide: `question` says on what.
    AwaitingApproval,
    /// The strategy runs.
    Running,
    /// Held until somebody resumes it.
    Paused,
    /// The nodes are being put back.
    RollingBack,
    /// The new version stays.
    Succeeded,
    /// It did not succeed, and every touched node is back as it was.
    RolledBack,
    /// It did not succeed, and nothing was touched or some node could not be put back.
    Failed,
}

/// Why a deployment did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct Cause {
    /// What kind of end it was.
    pub kind: CauseKind,
    /// What happened, in a sentence or two.
    pub message: String,
}

/// The kinds of ends that are no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "core::CauseKind")]
pub(crate) enum CauseKind {
    /// The strategy returned an error: a check failed, a node did not do as asked.
    Strategy,
    /// The strategy crashed, or ran longer without a call than is allowed.
    Trap,
    /// On replay the strategy asked something else than the journal holds.
    Mismatch,
    /// The strategy asked for something that no plan allows.
    Violation,
    /// The strategy used more than a deployment may.
    Limit,
    /// More nodes failed than the environment's policy tolerates.
    Policy,
    /// It took longer than the environment's policy allows.
    Deadline,
    /// A person asked for it.
    Abort,
    /// A person did not approve it, or nobody did in time.
    Rejected,
    /// Something that it needs is gone: its strategy, its artifact, its nodes.
    Unavailable,
}

/// A stage that the strategy told of.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Stage {
    /// The name that the strategy gave it.
    pub name: String,
    /// When it began.
    pub started_at: u64,
    /// When the next one began, or the strategy ended.
    pub ended_at: Option<u64>,
}

/// What became of a node so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase")]
pub(crate) enum NodePhase {
    /// Not touched.
    Pending,
    /// The new version is loaded beside the active one.
    Staged,
    /// The new version gets `percent` of the requests.
    Shifted,
    /// The new version answers all requests.
    Active,
    /// The version before answers all requests again.
    Reverted,
    /// It did not do what it was last asked; `error` says why.
    Failed,
}

/// A node of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct DeployedNode {
    /// Its name.
    pub id: String,
    /// Where it stands, if it says so.
    pub zone: Option<String>,
    /// The version that it ran before.
    pub before: Option<String>,
    /// What became of it.
    pub phase: NodePhase,
    /// How many of a hundred requests the new version gets, where it is shifted.
    pub percent: Option<u8>,
    /// What it last failed to do.
    pub error: Option<NodeError>,
    /// When one of these changed.
    pub changed_at: u64,
}

/// Why a node did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct NodeError {
    /// What kind of failure it was.
    pub kind: NodeErrorKind,
    /// What happened, in a sentence.
    pub reason: String,
}

/// The ways in which a node fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase")]
pub(crate) enum NodeErrorKind {
    /// No connection, or no answer in time: what it did is unknown.
    Unreachable,
    /// It answered, and would not.
    Refused,
    /// It did it, and the new version then failed its health check.
    Unhealthy,
    /// Anything else.
    Other,
}

/// A node that did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct NodeFailure {
    /// The node.
    pub node: String,
    /// Why not.
    pub error: NodeError,
}

/// A line that the strategy logged.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct LogLine {
    /// When.
    pub at: u64,
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub message: String,
}

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "core::Level")]
pub(crate) enum Level {
    /// For the strategy's author.
    Debug,
    /// For whoever watches.
    Info,
    /// Something to look at.
    Warn,
    /// Something that went wrong.
    Error,
}

/// What one check of the new version came to.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Finding {
    /// The condition, as the strategy asked it.
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
    /// What was compared, and why it passed or failed, in a sentence.
    pub reason: String,
}

/// A condition on a metric of the new version.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Check {
    /// `error-rate`, `latency-p50`, `latency-p95`, `latency-p99`, `cpu` or `memory`.
    pub metric: String,
    /// The highest value allowed, in the metric's unit.
    pub max: Option<f64>,
    /// The highest rise over the version before allowed, as a fraction: 0.5 is half as
    /// much again.
    pub max_increase: Option<f64>,
    /// A rise smaller than this is never a failure; in the metric's unit.
    pub min_increase: Option<f64>,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "core::Judgement")]
pub(crate) enum Judgement {
    /// Enough was seen, and nothing speaks against the new version.
    Pass,
    /// The condition is certainly broken.
    Fail,
    /// Too little was seen to tell.
    Inconclusive,
}

impl From<core::Cause> for Cause {
    fn from(cause: core::Cause) -> Self {
        Self {
            kind: cause.kind.into(),
            message: cause.message,
        }
    }
}

impl From<core::Stage> for Stage {
    fn from(stage: core::Stage) -> Self {
        Self {
            name: stage.name,
            started_at: stage.started_at.millis(),
            ended_at: stage.ended_at.map(core::Timestamp::millis),
        }
    }
}

impl From<(core::NodeId, core::NodeState)> for DeployedNode {
    fn from((id, state): (core::NodeId, core::NodeState)) -> Self {
        use core::NodePhase as P;
        let (phase, percent) = match state.phase {
            P::Pending => (NodePhase::Pending, None),
            P::Staged => (NodePhase::Staged, None),
            P::Shifted { percent } => (NodePhase::Shifted, Some(percent)),
            P::Active => (NodePhase::Active, None),
            P::Reverted => (NodePhase::Reverted, None),
            P::Failed => (NodePhase::Failed, None),
        };
        Self {
            id: id.into(),
            zone: state.zone,
            before: state.before.map(|before| before.version.to_string()),
            phase,
            percent,
            error: state.error.map(Into::into),
            changed_at: state.changed_at.millis(),
        }
    }
}

impl From<core::NodeError> for NodeError {
    fn from(error: core::NodeError) -> Self {
        use core::NodeError as E;
        let (kind, reason) = match error {
            E::Unreachable(reason) => (NodeErrorKind::Unreachable, reason),
            E::Refused(reason) => (NodeErrorKind::Refused, reason),
            E::Unhealthy(reason) => (NodeErrorKind::Unhealthy, reason),
            E::Other(reason) => (NodeErrorKind::Other, reason),
        };
        Self { kind, reason }
    }
}

impl From<core::NodeFailure> for NodeFailure {
    fn from(failure: core::NodeFailure) -> Self {
        Self {
            node: failure.node.into(),
            error: failure.error.into(),
        }
    }
}

impl From<core::LogLine> for LogLine {
    fn from(line: core::LogLine) -> Self {
        Self {
            at: line.at.millis(),
            level: line.level.into(),
            message: line.message,
        }
    }
}

impl From<core::Finding> for Finding {
    fn from(finding: core::Finding) -> Self {
        Self {
            check: finding.check.into(),
            judgement: finding.judgement.into(),
            canary: finding.canary,
            baseline: finding.baseline,
            canary_samples: finding.canary_samples,
            baseline_samples: finding.baseline_samples,
            reason: finding.reason,
        }
    }
}

impl From<core::Check> for Check {
    fn from(check: core::Check) -> Self {
        Self {
            metric: check.metric,
            max: check.max,
            max_increase: check.max_increase,
            min_increase: check.min_increase,
        }
    }
}
