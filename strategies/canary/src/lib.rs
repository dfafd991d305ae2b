//! `canary` updates in steps. After each step it compares the new version with the previous
//! one.

use hotswap_sdk::{Amount, Check, Control, Fleet, Plan, Result, Strategy};

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
                let share = |percent| {
                    let (new, _) = Amount::percent(percent).split(&plan.nodes);
                    (percent, new.len())
                };
                let mut steps: Vec<_> = steps.into_iter().map(share).collect();
                // In a small fleet a step may round to the same nodes as the one before.
                steps.dedup_by_key(|(_, count)| *count);
                let mut stages = control.stages(steps.len());
                let mut old: Vec<String> = plan.nodes.iter().map(|node| node.id.clone()).collect();
                let mut new = Vec::new();
                for (percent, count) in steps {
                    let stage = format!("canary {percent} %");
                    stages.begin(&stage);
                    // Nodes that fail are left behind, and others take their place: a step must
                    // not pass because none of its nodes runs the new version.
                    while new.len() < count && !old.is_empty() {
                        let batch: Vec<_> = old.drain(..old.len().min(count - new.len())).collect();
                        new.extend(fleet.update(&batch));
                    }
                    soak(&stage, plan, fleet, control, &new, &old)?;
                    new = fleet.still_alive(&new, |gone| fleet.promote(gone));
                }
            }
            By::Requests => {
                let mut stages = control.stages(steps.len());
                let mut nodes = fleet.stage(&plan.nodes).into_succeeded();
                for percent in steps {
                    let stage = format!("canary {percent} %");
                    stages.begin(&stage);
                    let order = |nodes: &[String]| {
                        if percent < 100 {
                            fleet.shift(nodes, percent)
                        } else {
                            fleet.promote(nodes)
                        }
                    };
                    nodes = order(&nodes).into_succeeded();
                    let old = if percent < 100 { &nodes[..] } else { &[] };
                    soak(&stage, plan, fleet, control, &nodes, old)?;
                    nodes = fleet.still_alive(&nodes, order);
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
    new: &[String],
    old: &[String],
) -> Result {
    if new.is_empty() && !plan.nodes.is_empty() {
        return Err(format!("{stage}: no node runs the new version").into());
    }
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
    Ok(())
}

hotswap_sdk::register!(Canary, include_str!("schema.json"));
