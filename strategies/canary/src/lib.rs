//! `canary` updates in steps. After each step it compares the new version with the previous
//! one.

use hotswap_sdk::{Amount, Check, Control, Fleet, Node, Plan, Result, Strategy};

mod config;
#[cfg(test)]
mod tests;

pub use config::{By, Config, WhenInconclusive};

/// The `canary` strategy.
#[derive(Debug)]
pub struct Canary;

impl Strategy for Canary {
    type Config = Config;
    const NAME: &'static str = "canary";
    const SUMMARY: &'static str =
        "Updates in steps, and rolls back if the new version does worse than the previous one.";

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
                    soak(&stage, plan, fleet, control, new, old)?;
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
                    soak(&stage, plan, fleet, control, &plan.nodes, old)?;
                }
            }
        }
        Ok(())
    }
}

/// Measures the new version on the nodes `new`, and compares it with the previous version on
/// the nodes `old`. At 100 % there are no nodes `old`: then only checks with a `max` are
/// judged, and if there are none, the soak is skipped.
fn soak(
    stage: &str,
    plan: &Plan<Config>,
    fleet: &Fleet,
    control: &Control,
    new: &[Node],
    old: &[Node],
) -> Result {
    let config = &plan.config;
    let checks: Vec<Check> = config.judgeable_checks(!old.is_empty());
    let has_nothing_to_judge = old.is_empty() && checks.is_empty();
    if !config.soak.is_zero() && !has_nothing_to_judge {
        let verdict = fleet.soak(config.soak, new, old, &checks).unless_failed()?;
        if verdict.is_inconclusive() {
            if config.when_inconclusive == WhenInconclusive::RollBack {
                verdict.passed()?;
            } else {
                let metrics = verdict.inconclusive_metrics();
                control.warn(format!(
                    "{stage}: inconclusive, continuing: too few samples of {metrics}"
                ));
            }
        }
    }
    fleet.ensure_alive(new)
}

hotswap_sdk::register!(Canary, include_str!("schema.json"));
