//! `blue-green`: the whole new fleet is made ready beside the old one, and then the
//! switch is thrown at once.

use hotswap_sdk::{Check, Control, Fleet, Plan, Probe, Result, Span, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// How `blue-green` rolls out.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The request that the new version must answer on every node before the switch.
    pub probe: Probe,
    /// Whether a person must approve the switch.
    pub approval: bool,
    /// How long to wait for the person; when it has passed the rollout is taken back.
    pub approval_timeout: Span,
    /// How long the new version is watched after the switch, with the version before
    /// still loaded beside it.
    pub soak: Span,
    /// What it must keep to while it is watched. No node runs the version before any
    /// more, so only `max` is judged; with too few requests to tell, the log says so
    /// and the rollout stays.
    pub checks: Vec<Check>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            probe: Probe::default(),
            approval: false,
            approval_timeout: Span::hours(24),
            soak: Span::secs(60),
            checks: vec![Check::error_rate().max(0.05)],
        }
    }
}

/// Everything ready, then one switch.
#[derive(Debug)]
pub struct BlueGreen;

impl Strategy for BlueGreen {
    type Config = Config;
    const NAME: &'static str = "blue-green";
    const SUMMARY: &'static str = "Prepares and probes every node, then switches all at once.";

    fn run(plan: &Plan<Config>, fleet: &Fleet, control: &Control) -> Result {
        let (config, nodes) = (&plan.config, &plan.nodes);
        control.progress("stage", 0);
        fleet.stage(nodes).all()?;
        control.progress("probe", 25);
        fleet.probe(nodes, &config.probe).all()?;
        if config.approval {
            control.progress("approval", 50);
            let prompt = format!("switch {} nodes to {}?", nodes.len(), plan.module);
            control.approval(prompt, config.approval_timeout)?;
        }
        control.progress("switch", 60);
        fleet.promote(nodes).all()?;
        if !config.soak.is_zero() {
            control.progress("soak", 75);
            let checks: Vec<_> = config.checks.iter().filter_map(Check::absolute).collect();
            let verdict = fleet
                .soak(config.soak, nodes, &[], &checks)
                .unless_failed()?;
            if verdict.is_inconclusive() {
                let unknown = verdict.undecided();
                control.warn(format!(
                    "soak: going on, though too little was seen of {unknown}"
                ));
            }
        }
        fleet.ensure_alive(nodes)
    }
}

hotswap_sdk::register!(BlueGreen, include_str!("schema.json"));
