//! `blue-green` stages the new version beside the old one on every node, probes it, and then
//! switches all nodes at once.

use hotswap_sdk::{Check, Control, Fleet, Metric, Plan, Probe, Result, Span, Strategy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Settings of `blue-green`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Request that the new version must answer on every node before the switch.
    pub probe: Probe,
    /// Whether a person must approve the switch.
    pub approval: bool,
    /// How long to wait for the approval. When this time has passed, the deployment is
    /// rolled back.
    pub approval_timeout: Span,
    /// How long to measure the new version after the switch. The previous version stays
    /// loaded during this time.
    pub soak: Span,
    /// Checks that the new version must pass during the soak. After the switch no node runs
    /// the previous version, so `maxIncrease` is compared with what that version did before; of
    /// `cpu`, only `max` is judged. If there are too few requests to judge a check, the
    /// deployment logs it and continues.
    pub checks: Vec<Check>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            probe: Probe::default(),
            approval: false,
            approval_timeout: Span::hours(24),
            soak: Span::secs(60),
            checks: vec![Check::error_rate().max(0.05), Check::restarts().max(0.0)],
        }
    }
}

/// The `blue-green` strategy.
#[derive(Debug)]
pub struct BlueGreen;

impl Strategy for BlueGreen {
    type Config = Config;
    const NAME: &'static str = "blue-green";
    const SUMMARY: &'static str =
        "Stages and probes the new version on every node, then switches all at once.";

    fn run(plan: &Plan<Config>, fleet: &Fleet, control: &Control) -> Result {
        let (config, nodes) = (&plan.config, &plan.nodes);
        control.progress("stage", 0);
        // Nodes that fail are left behind. The engine says how many may.
        let nodes = fleet.stage(nodes).into_succeeded();
        control.progress("probe", 25);
        let nodes = fleet.probe(&nodes, &config.probe).into_succeeded();
        if nodes.is_empty() {
            return Err("the new version answers on no node".into());
        }
        if config.approval {
            control.progress("approval", 50);
            let prompt = format!("switch {} nodes to {}?", nodes.len(), plan.module);
            control.approval(prompt, config.approval_timeout)?;
        }
        control.progress("switch", 60);
        let nodes = fleet.promote(&nodes).into_succeeded();
        if !config.soak.is_zero() {
            control.progress("soak", 75);
            let judgeable = |check: &Check| match &check.metric {
                Metric::Cpu => check.absolute(),
                // Nobody records the answers of before.
                metric if metric.is_query() => check.absolute(),
                _ => Some(check.clone()),
            };
            let checks: Vec<_> = config.checks.iter().filter_map(judgeable).collect();
            let verdict = fleet
                .soak(config.soak, &nodes, &[], &checks)
                .unless_failed()?;
            if verdict.is_inconclusive() {
                let metrics = verdict.inconclusive_metrics();
                control.warn(format!(
                    "soak: inconclusive, continuing: too few samples of {metrics}"
                ));
            }
        }
        fleet.still_alive(&nodes, |gone| fleet.promote(gone));
        Ok(())
    }
}

hotswap_sdk::register!(BlueGreen, include_str!("schema.json"));
