use hotswap_core::DeploymentId;

use super::state::WatchState;
use crate::args::Patience;
use crate::exit::Exit;
use crate::format;

/// The messages after watching, on standard error: why it ended before the deployment did,
/// and what to do next.
pub(super) fn messages(
    exit: Exit,
    id: DeploymentId,
    state: Option<&WatchState>,
    patience: Patience,
) -> Vec<String> {
    let next = format!("  next: hotswap watch {id}, or hotswap abort {id}");
    match exit {
        Exit::Interrupted => vec!["interrupted; the deployment continues".to_owned(), next],
        Exit::Timeout => vec![timeout_message(state, patience), next],
        Exit::AwaitingApproval => {
            let question = state
                .and_then(|state| state.deployment.question.as_deref())
                .unwrap_or("continue?");
            vec![
                format!("a person has to decide: {}", format::sanitize(question)),
                format!(
                    "  next: hotswap approve {id}, or hotswap reject {id}; then hotswap watch {id}"
                ),
            ]
        }
        Exit::Success | Exit::NotSucceeded | Exit::Failure | Exit::Usage => Vec::new(),
    }
}

fn timeout_message(state: Option<&WatchState>, patience: Patience) -> String {
    let timeout = patience.timeout.map_or_else(String::new, format::duration);
    let line = format!("not ended after {timeout}; the deployment continues");
    let Some(state) = state else {
        return line;
    };
    let status = format::status(state.deployment.status());
    let stage = state.deployment.stages.last();
    let stage = stage.map_or_else(String::new, |stage| {
        format!(", stage {}", format::sanitize(&stage.name))
    });
    let missing = format::node_names(state.nodes_without_new_version());
    format!("{line}: {status}{stage}, not updated: {missing}")
}
