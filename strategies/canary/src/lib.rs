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
        match plan.config.by {
            By::Nodes => {
                let share = |percent| (percent, Amount::percent(percent).split(&plan.nodes));
                let mut steps: Vec<_> = steps.into_iter().map(share).collect();
                // In a small fleet a step may round to the same nodes as the one before.
                steps.dedup_by_key(|(_, (new, _))| new.len());
                let mut stages = control.stages(steps.len());
                let mut updated = 0;
                for (percent, (new, old)) in steps {
                    let stage = format!("canary {percent} %");
                    stages.begin(&stage);
                    fleet.deploy(&new[updated..])?;
                    updated = new.len();
                    watch(&stage, plan, fleet, control, new, old)?;
                }
            }
            By::Requests => {
                let mut stages = control.stages(steps.len());
                fleet.stage(&plan.nodes).all()?;
                for percent in steps {
                    let stage = format!("canary {percent} %");
                    stages.begin(&stage);
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
                let unknown = verdict.undecided();
                control.warn(format!(
                    "{stage}: going on, though too little was seen of {unknown}"
                ));
            }
        }
    }
    fleet.ensure_alive(new)
}

hotswap_sdk::register!(Canary, include_str!("schema.json"));
