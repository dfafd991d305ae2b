//! `rolling` updates the nodes in batches. The next batch begins when the updated nodes still
//! report in, but for those that the environment's policy tolerates.

use hotswap_sdk::{Amount, Control, Fleet, Plan, Result, Span, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Settings of `rolling`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// How many nodes to update at the same time: a count, or a percentage of all nodes.
    pub batch: Amount,
    /// How long to wait after a batch before the next one begins. If an updated node stops
    /// reporting in, it has failed, and the deployment is rolled back unless the environment's
    /// policy tolerates that.
    pub settle: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            batch: Amount::count(2),
            settle: Span::secs(30),
        }
    }
}

/// The `rolling` strategy.
#[derive(Debug)]
pub struct Rolling;

impl Strategy for Rolling {
    type Config = Config;
    const NAME: &'static str = "rolling";
    const SUMMARY: &'static str =
        "Updates the nodes in batches, and checks each batch before the next.";

    fn run(plan: &Plan<Config>, fleet: &Fleet, control: &Control) -> Result {
        let batches = plan.config.batch.batches(&plan.nodes);
        let mut stages = control.stages(batches.len());
        let mut visited = 0;
        let mut updated = Vec::new();
        for batch in batches {
            stages.next("batch");
            updated.extend(fleet.update(batch));
            visited += batch.len();
            if visited < plan.nodes.len() {
                control.sleep(plan.config.settle);
            }
            updated = fleet.still_alive(&updated, |gone| fleet.promote(gone));
        }
        Ok(())
    }
}

hotswap_sdk::register!(Rolling, include_str!("schema.json"));
