//! `rolling`: batch after batch, each alive before the next.

use hotswap_sdk::{Amount, Control, Fleet, Plan, Result, Span, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// How `rolling` rolls out.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Nodes that are updated together: a count, or a percentage of all.
    pub batch: Amount,
    /// How long a batch runs the new version before the next begins. A node that falls
    /// silent in that time takes the rollout back.
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

/// Batch after batch.
#[derive(Debug)]
pub struct Rolling;

impl Strategy for Rolling {
    type Config = Config;
    const NAME: &'static str = "rolling";
    const SUMMARY: &'static str = "Updates batch after batch, each alive before the next.";

    fn run(plan: &Plan<Config>, fleet: &Fleet, control: &Control) -> Result {
        let batches = plan.config.batch.batches(&plan.nodes);
        let mut stages = control.stages(batches.len());
        let mut updated = 0;
        for batch in batches {
            stages.next("batch");
            fleet.deploy(batch)?;
            updated += batch.len();
            if updated < plan.nodes.len() {
                control.sleep(plan.config.settle);
            }
            fleet.ensure_alive(&plan.nodes[..updated])?;
        }
        Ok(())
    }
}

hotswap_sdk::register!(Rolling, include_str!("schema.json"));
