//! `halves` updates one half of the nodes, compares it with the other half, and then updates
//! the other half.

use hotswap_sdk::{Amount, Check, Control, Fleet, Plan, Result, Span, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Settings of `halves`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// How many nodes to update first: a count, or a percentage of all nodes.
    pub batch: Amount,
    /// How long to measure these nodes before the others are updated.
    pub watch: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            batch: Amount::percent(50),
            watch: Span::mins(1),
        }
    }
}

/// The `halves` strategy.
#[derive(Debug)]
pub struct Halves;

impl Strategy for Halves {
    type Config = Config;
    const NAME: &'static str = "halves";
    const SUMMARY: &'static str =
        "Updates one half of the nodes, measures it, then updates the other half.";

    fn run(plan: &Plan<Config>, fleet: &Fleet, control: &Control) -> Result {
        let (first, rest) = plan.config.batch.split(&plan.nodes);
        let mut stages = control.stages(2);

        stages.begin("first half");
        fleet.deploy(first)?;
        let checks = [Check::error_rate().max_increase(0.5)];
        fleet
            .soak(plan.config.watch, first, rest, &checks)
            .unless_failed()?;

        stages.begin("second half");
        fleet.deploy(rest)
    }
}

hotswap_sdk::register!(Halves);
