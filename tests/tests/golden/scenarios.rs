use hotswap_core::{Action, Status};
use serde_json::{Value, json};

use crate::faults::Fault;

/// A rollout of `hello` 2.0.0 to three nodes that run 1.0.0.
pub struct Scenario {
    /// The name of its files.
    pub name: &'static str,
    /// The first schema version that has it.
    pub since: u32,
    pub strategy: &'static str,
    pub config: Value,
    /// Whether a person must approve the start.
    pub require_approval: bool,
    /// What happens from outside, in this order.
    pub steps: Vec<PersonStep>,
    pub fault: Option<Fault>,
    /// How it must end.
    pub status: Status,
}

/// What happens in a scenario from outside.
#[derive(Clone, Copy)]
pub enum PersonStep {
    /// Waits for a question, and answers it.
    Decide(bool),
    /// Pauses at once, and resumes when the strategy is held.
    PauseAndResume,
    /// Pauses as soon as the strategy waits, until the deadline.
    Pause,
    /// Aborts as soon as the strategy waits.
    AbortWait,
    /// Ends every wait as soon as the strategy waits.
    PromoteInFull,
    /// No person, but a node: once the strategy waits, it tells of a fence that the store has not
    /// handed out, so the store has lost writes.
    TellOfLostWrites,
}

impl Scenario {
    fn new(name: &'static str, strategy: &'static str, config: Value, status: Status) -> Self {
        Self {
            name,
            since: 1,
            strategy,
            config,
            require_approval: false,
            steps: Vec::new(),
            fault: None,
            status,
        }
    }

    fn with(self, step: PersonStep) -> Self {
        let steps = vec![step];
        Self { steps, ..self }
    }

    fn since(self, since: u32) -> Self {
        Self { since, ..self }
    }

    fn gated(self) -> Self {
        Self {
            require_approval: true,
            ..self
        }
    }

    fn with_fault(self, node: &'static str, refuses: fn(&Action) -> bool) -> Self {
        let fault = Some(Fault { node, refuses });
        Self { fault, ..self }
    }
}

/// All scenarios: each strategy, and each way to an end.
pub fn all() -> Vec<Scenario> {
    let failing_probe =
        json!({ "probe": { "body": "no such text", "timeout": "1ms" }, "soak": "1ms" });
    let approval = || json!({ "approval": true, "soak": "1ms" });
    let rolling = || json!({ "batch": 1, "settle": "1ms" });
    vec![
        Scenario::new("direct", "direct", json!({}), Status::Succeeded),
        Scenario::new(
            "direct-gate-approved",
            "direct",
            json!({}),
            Status::Succeeded,
        )
        .gated()
        .with(PersonStep::Decide(true)),
        Scenario::new("direct-gate-rejected", "direct", json!({}), Status::Failed)
            .gated()
            .with(PersonStep::Decide(false)),
        Scenario::new("direct-not-settled", "direct", json!({}), Status::Succeeded)
            .with_fault("production-3", |action| matches!(action, Action::Settle)),
        Scenario::new("direct-not-reverted", "direct", json!({}), Status::Failed)
            .with_fault("production-2", |action| {
                matches!(action, Action::Promote(_) | Action::Revert(_))
            }),
        Scenario::new("rolling", "rolling", rolling(), Status::Succeeded),
        Scenario::new("rolling-paused", "rolling", rolling(), Status::Succeeded)
            .with(PersonStep::PauseAndResume),
        Scenario::new(
            "rolling-node-failed",
            "rolling",
            rolling(),
            Status::RolledBack,
        )
        .with_fault("production-2", |action| {
            matches!(action, Action::Promote(_))
        }),
        Scenario::new(
            "rolling-deadline",
            "rolling",
            json!({ "batch": 1, "settle": "3s" }),
            Status::RolledBack,
        )
        .with(PersonStep::Pause),
        Scenario::new(
            "rolling-writes-lost",
            "rolling",
            json!({ "batch": 1, "settle": "1s" }),
            Status::Succeeded,
        )
        .with(PersonStep::TellOfLostWrites)
        .since(3),
        Scenario::new(
            "blue-green-approved",
            "blue-green",
            approval(),
            Status::Succeeded,
        )
        .with(PersonStep::Decide(true)),
        Scenario::new(
            "blue-green-rejected",
            "blue-green",
            approval(),
            Status::RolledBack,
        )
        .with(PersonStep::Decide(false)),
        Scenario::new(
            "blue-green-unhealthy",
            "blue-green",
            failing_probe,
            Status::RolledBack,
        ),
        Scenario::new(
            "canary",
            "canary",
            json!({ "soak": "2s" }),
            Status::Succeeded,
        ),
        Scenario::new(
            "canary-by-requests",
            "canary",
            json!({ "by": "requests", "steps": [50, 100], "soak": "1s" }),
            Status::Succeeded,
        ),
        Scenario::new(
            "canary-aborted",
            "canary",
            json!({ "soak": "3s" }),
            Status::RolledBack,
        )
        .with(PersonStep::AbortWait),
        Scenario::new(
            "canary-promoted",
            "canary",
            json!({ "soak": "3s", "whenInconclusive": "rollBack" }),
            Status::Succeeded,
        )
        .with(PersonStep::PromoteInFull)
        .since(3),
        Scenario::new(
            "strategy-panicked",
            "hostile",
            json!({ "attack": "touch-then-panic" }),
            Status::RolledBack,
        ),
    ]
}
