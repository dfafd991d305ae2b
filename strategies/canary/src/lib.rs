//! `canary`: a little at first, watched next to the version before, then more.

use hotswap_sdk::{Amount, Check, Control, Fleet, Node, Plan, Result, Strategy};

mod config;
#[cfg(test)]
mod tests;

pub use config::{By, Config, WhenInconclusive};

/// A little at first, then more.
#[derive(Debug)]
pub struct Canary;

impl Strategy for Canary {
    type Config = Config;
    const NAME: &'static str = "canary";
    const SUMMARY: &'static str =
        "Updates step by step, and takes it back if the new version does worse than the old.";

    fn run(plan: &Plan<Config>, fleet: &Fleet, control: &Control) -> Result {
        let steps = plan.config.steps()?;
        let mut stages = control.stages(steps.len());
        let mut begin = |percent| {
            let stage = format!("canary {percent} %");
            stages.begin(&stage);
            stage
        };
        match plan.config.by {
            By::Nodes => {
                let mut updated = 0;
                for percent in steps {
                    let stage = begin(percent);
                    let (new, old) = Amount::percent(percent).split(&plan.nodes);
                    // In a small fleet a step may round to the same nodes as the one before.
                    if new.len() > updated {
                        fleet.deploy(&new[updated..])?;
                        updated = new.len();
                        watch(&stage, plan, fleet, control, new, old)?;
                    }
                }
            }
            By::Requests => {
                fleet.stage(&plan.nodes).all()?;
                for percent in steps {
                    let stage = begin(percent);
                    let old = if percent < 100 {
                        fleet.shift(&plan.nodes, percent).all()?;
                        &plan.nodes[..]
                    } else {
                        fleet.promote(&plan.nodes).all()?;
                        &[]
                    };
                    watch(&stage, plan, fleet, control, &plan.nodes, old)?;
                }
            }
        }
        Ok(())
    }
}

/// Watches the new version for a while, next to the old where that still runs. At
/// 100 % nothing is left to compare with: then only checks with a `max` are judged, and
/// where there are none nothing is waited for.
fn watch(
    stage: &str,
    plan: &Plan<Config>,
    fleet: &Fleet,
    control: &Control,
    new: &[Node],
    old: &[Node],
) -> Result {
    let config = &plan.config;
    let checks: Vec<Check> = config.judgeable(old.is_empty());
    let blind = old.is_empty() && checks.is_empty();
    if !config.soak.is_zero() && !blind {
        let verdict = fleet.soak(config.soak, new, old, &checks).unless_failed()?;
        if verdict.is_inconclusive() {
            if config.when_inconclusive == WhenInconclusive::RollBack {
                verdict.passed()?;
            } else {
                control.warn(format!("{stage}: going on, though {verdict}"));
            }
        }
    }
    fleet.ensure_alive(new)
}

hotswap_sdk::register!(Canary, include_str!("schema.json"));
