use hotswap_core as core;
use hotswap_runner::reconciler::{NextStep, Placement};
use poem_openapi::{Enum, Object};

/// A module on a node: what should run there, what does, and what happens next.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct NodeModule {
    /// The name of the module.
    pub module_name: String,
    /// The version that should run. Absent: no version should.
    pub desired: Option<String>,
    /// The version that runs. Absent: none does, or the node is not heard.
    pub actual: Option<String>,
    /// Since when that should run.
    pub since: u64,
    /// Whether the node runs what it should, and what the engine does about it if not.
    pub state: NodeModuleState,
    /// Why it does not run what it should, in one sentence.
    pub reason: Option<String>,
    /// What happens next, in one sentence.
    pub next: Option<String>,
    /// When the engine tries again. Only in the state `retrying`.
    pub retry_at: Option<u64>,
    /// The execution id of the deployment that changes the node. Only in the state
    /// `deploying`.
    pub execution_id: Option<String>,
}

/// Whether a node runs what it should of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase")]
pub(crate) enum NodeModuleState {
    /// It runs what it should.
    InStep,
    /// The engine is changing it.
    Repairing,
    /// The engine will change it as soon as fewer nodes are being changed.
    Queued,
    /// The engine could not change it, and will try again.
    Retrying,
    /// A deployment changes it, and decides what it runs.
    Deploying,
    /// A person has cordoned it: the engine leaves it as it is until that ends.
    Cordoned,
    /// The engine waits for it to report in.
    Unreachable,
    /// It has the version, could not load it, and tries again.
    Loading,
}

impl NodeModule {
    /// What is known of a module on a node.
    pub fn new(module: &core::ModuleName, placement: &Placement) -> Self {
        let version = |module: &core::ModuleVersion| module.version.to_string();
        let desired = placement.desired.as_ref().map(version);
        let actual = placement.actual.as_ref().map(version);
        let (state, reason, next) = explain(placement, desired.as_deref(), actual.as_deref());
        Self {
            module_name: module.to_string(),
            desired,
            actual,
            since: placement.since.millis(),
            state,
            reason,
            next,
            retry_at: match &placement.next {
                NextStep::Retrying(failure) => Some(failure.retry_at.millis()),
                _ => None,
            },
            execution_id: match placement.next {
                NextStep::Deployment(id) => Some(id.to_string()),
                _ => None,
            },
        }
    }
}

fn explain(
    placement: &Placement,
    desired: Option<&str>,
    actual: Option<&str>,
) -> (NodeModuleState, Option<String>, Option<String>) {
    let differs = || {
        let runs = |version: Option<&str>| version.map_or("no version".to_owned(), str::to_owned);
        let (actual, desired) = (runs(actual), runs(desired));
        format!("it runs {actual} and should run {desired}")
    };
    let (state, reason, next) = match &placement.next {
        NextStep::Loading(reason) => (
            NodeModuleState::Loading,
            format!("it could not load the version: {reason}"),
            "the node tries again".to_owned(),
        ),
        NextStep::None => return (NodeModuleState::InStep, None, None),
        NextStep::Repairing => (
            NodeModuleState::Repairing,
            differs(),
            "the engine is changing it".to_owned(),
        ),
        NextStep::Queued => (
            NodeModuleState::Queued,
            differs(),
            "the engine changes it as soon as fewer nodes are being changed".to_owned(),
        ),
        NextStep::Retrying(failure) => (
            NodeModuleState::Retrying,
            format!(
                "{}; {} of the engine to change it failed, the last one: {}",
                differs(),
                if failure.attempts == 1 {
                    "one attempt".to_owned()
                } else {
                    format!("{} attempts", failure.attempts)
                },
                failure.error
            ),
            "the engine tries again".to_owned(),
        ),
        NextStep::Deployment(id) => (
            NodeModuleState::Deploying,
            format!("deployment {id} is changing it"),
            "the deployment decides which version it runs".to_owned(),
        ),
        NextStep::Cordoned(cordon) => (
            NodeModuleState::Cordoned,
            format!("{}; it was {cordon}", differs()),
            "the engine brings it to what it should run once it is uncordoned".to_owned(),
        ),
        NextStep::Unreachable => (
            NodeModuleState::Unreachable,
            "it does not report in, so what it runs is not known".to_owned(),
            "the engine brings it to what it should run as soon as it reports in".to_owned(),
        ),
    };
    (state, Some(reason), Some(next))
}
