//! `direct`: all nodes at once. The quickest way, for places where nobody is hurt.

use hotswap_sdk::{Control, Fleet, NoConfig, Plan, Result, Strategy};

#[cfg(test)]
mod tests;

/// All nodes at once.
#[derive(Debug)]
pub struct Direct;

impl Strategy for Direct {
    type Config = NoConfig;
    const NAME: &'static str = "direct";
    const SUMMARY: &'static str = "Updates all nodes at once.";

    fn run(plan: &Plan<NoConfig>, fleet: &Fleet, control: &Control) -> Result {
        control.progress("all nodes", 0);
        fleet.deploy(&plan.nodes)
    }
}

hotswap_sdk::register!(Direct, include_str!("schema.json"));
