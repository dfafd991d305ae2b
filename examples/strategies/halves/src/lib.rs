//! `halves`: one half of the fleet, a while to watch it, then the other.

use hotswap_sdk::{Amount, Check, Control, Fleet, Plan, Result, Span, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// How `halves` rolls out.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Nodes that go first: a count, or a percentage of all.
    pub batch: Amount,
    /// How long they are watched before the others follow.
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

/// One half, then the other.
#[derive(Debug)]
pub struct Halves;

impl Strategy for Halves {
    type Config = Config;
    const NAME: &'static str = "halves";
    const SUMMARY: &'static str = "Updates one half, watches it, then updates the other.";

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
