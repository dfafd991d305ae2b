//! `direct` updates all nodes at once. It is the quickest strategy, for environments where a
//! bad version does no harm.

use hotswap_sdk::{Control, Fleet, NoConfig, Plan, Result, Strategy};

#[cfg(test)]
mod tests;

/// The `direct` strategy.
#[derive(Debug)]
pub struct Direct;

impl Strategy for Direct {
    type Config = NoConfig;
    const NAME: &'static str = "direct";
    const SUMMARY: &'static str = "Updates all nodes at once.";

    fn run(plan: &Plan<NoConfig>, fleet: &Fleet, control: &Control) -> Result {
        control.progress("all nodes", 0);
        // A node that fails is left behind. The engine says how many may.
        fleet.update(&plan.nodes);
        Ok(())
    }
}

hotswap_sdk::register!(Direct, include_str!("schema.json"));
