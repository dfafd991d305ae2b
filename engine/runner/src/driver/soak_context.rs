//! What a soak needs of its deployment.

use hotswap_core::{Answer, DeploymentId, Header, RecordedCall, SoakHistory, SoakOptions};
use serde_json::Value;

/// What a soak needs of its deployment: a fold over its journal.
#[derive(Debug, Clone)]
pub(super) struct SoakContext {
    pub(super) deployment: DeploymentId,
    /// The evidence of earlier soaks.
    pub(super) history: SoakHistory,
    pub(super) options: SoakOptions,
    /// How many nodes may fail.
    pub(super) tolerated: usize,
}

impl SoakContext {
    /// Of a deployment to `total` nodes that has made these calls.
    pub(super) fn new<'a>(
        header: &Header,
        total: usize,
        calls: impl IntoIterator<Item = &'a RecordedCall>,
    ) -> Self {
        let mut context = Self {
            deployment: header.id,
            history: SoakHistory::default(),
            options: options(&header.config),
            tolerated: header.policy.tolerated_failures.of(total),
        };
        for answer in calls.into_iter().filter_map(|call| call.answer.as_ref()) {
            context.record(answer);
        }
        context
    }

    /// Adds the answer to a call of the deployment.
    pub(super) fn record(&mut self, answer: &Answer) {
        self.history.record(answer);
    }
}

/// The settings of a strategy that are for the judge: the contract has no place for them, and they
/// are pinned with the request. A strategy that offers them lists them in its schema.
fn options(config: &Value) -> SoakOptions {
    SoakOptions {
        pass_early: config["passEarly"].as_bool().unwrap_or(false),
        min_samples: config["minSamples"].as_u64().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_for_the_judge_are_read_where_a_strategy_has_them() {
        let read = options(&json!({ "passEarly": true, "minSamples": 500 }));
        assert_eq!((read.pass_early, read.min_samples), (true, 500));
        for other in [
            json!({}),
            json!(null),
            json!({ "passEarly": 1, "minSamples": -1 }),
        ] {
            assert_eq!(options(&other), SoakOptions::default());
        }
    }
}
