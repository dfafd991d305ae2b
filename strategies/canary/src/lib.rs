//! `canary` updates in steps. After each step it compares the new version with the previous
//! one.

use hotswap_sdk::{Amount, Control, Fleet, ModuleVersion, Node, Plan, Result, Strategy};

mod config;
#[cfg(test)]
mod tests;

use config::Baseline;
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
        let rollout = Rollout {
            plan,
            fleet,
            control,
            previous: Previous::of(plan),
        };
        rollout.tell_what_is_compared();
        match rollout.by() {
            By::Nodes => rollout.by_nodes(&steps),
            By::Requests => rollout.by_requests(&steps),
        }
    }
}

/// What the nodes of a plan run before it.
struct Previous<'a> {
    /// The nodes that run another version, sorted.
    nodes: Vec<&'a str>,
    /// One of these versions has the same bytes as the new one.
    identical: Option<&'a ModuleVersion>,
    /// All of these versions have.
    is_identical: bool,
    /// How many nodes run the new version already.
    already: usize,
}

impl<'a> Previous<'a> {
    fn of(plan: &'a Plan<Config>) -> Self {
        let new = &plan.module;
        let active = |node: &'a Node| Some((node.id.as_str(), node.active.as_ref()?));
        let active: Vec<_> = plan.nodes.iter().filter_map(active).collect();
        let others = || active.iter().filter(|(_, version)| *version != new);
        Self {
            nodes: others().map(|(id, _)| *id).collect(),
            identical: (others().map(|(_, version)| *version))
                .find(|version| version.digest == new.digest),
            is_identical: others().next().is_some()
                && others().all(|(_, version)| version.digest == new.digest),
            already: active.len() - others().count(),
        }
    }

    fn runs_on(&self, node: &str) -> bool {
        self.nodes.binary_search(&node).is_ok()
    }
}

struct Rollout<'a> {
    plan: &'a Plan<Config>,
    fleet: &'a Fleet,
    control: &'a Control,
    previous: Previous<'a>,
}

impl Rollout<'_> {
    /// Says where a comparison can show nothing.
    fn tell_what_is_compared(&self) {
        let (new, total) = (&self.plan.module, self.plan.nodes.len());
        let previous = &self.previous;
        if let Some(identical) = previous.identical {
            let left_out = match previous.is_identical {
                true => self.plan.config.compared_by_node(),
                false => Vec::new(),
            };
            let left_out = match &left_out[..] {
                [] => String::new(),
                metrics => format!("; not compared: {}", metrics.join(", ")),
            };
            self.control.info(format!(
                "{new} and {identical} are identical, byte for byte: whatever differs is not the \
                 version{left_out}"
            ));
        } else if previous.already > 0 && previous.nodes.is_empty() {
            self.control.info(format!(
                "{new} runs already on {} of {total} nodes, and no other version runs: only \
                 absolute limits are judged",
                previous.already
            ));
        } else if total > 0 && previous.nodes.is_empty() {
            self.control.info(format!(
                "no version of {} runs on these nodes: only absolute limits are judged",
                new.name
            ));
        }
    }

    /// What the percentages count here. Without a previous version, no request could go to it; on
    /// a single node, a share of the nodes would be all of it.
    fn by(&self) -> By {
        match self.plan.nodes.len() {
            _ if self.previous.nodes.is_empty() => By::Nodes,
            1 => By::Requests,
            _ => self.plan.config.by,
        }
    }

    fn by_nodes(&self, steps: &[u8]) -> Result {
        let total = self.plan.nodes.len();
        let count = |&percent: &u8| Amount::percent(percent).of(total);
        let mut counts: Vec<_> = steps.iter().map(count).collect();
        // In a small fleet a step may round to the same nodes as the one before.
        counts.dedup();
        let mut stages = self.control.stages(counts.len());
        let mut old: Vec<String> = self.plan.nodes.iter().map(|node| node.id.clone()).collect();
        let mut new = Vec::new();
        for count in counts {
            let share = (count * 100).checked_div(total).unwrap_or(100);
            let stage = format!("canary {count} of {total} nodes, {share} %");
            stages.begin(&stage);
            // Nodes that fail are left behind, and others take their place: a step must
            // not pass because none of its nodes runs the new version.
            while new.len() < count && !old.is_empty() {
                let batch: Vec<_> = old.drain(..old.len().min(count - new.len())).collect();
                new.extend(self.fleet.update(&batch));
            }
            let compared = self.baseline(&old);
            self.soak(&stage, &new, &compared)?;
            new = (self.fleet).still_alive(&new, |gone| self.fleet.promote(gone));
        }
        Ok(())
    }

    /// The nodes of `old` that the new version is compared with: those that run the previous one.
    /// Of baselines that start anew, the last, which keep it longest.
    fn baseline(&self, old: &[String]) -> Vec<String> {
        let compared = old.iter().filter(|node| self.previous.runs_on(node));
        let mut compared: Vec<_> = compared.cloned().collect();
        let wanted = self.plan.config.baseline_nodes as usize;
        if wanted > 0 {
            compared.drain(..compared.len().saturating_sub(wanted));
        }
        compared
    }

    fn by_requests(&self, steps: &[u8]) -> Result {
        let mut stages = self.control.stages(steps.len());
        let mut nodes = self.fleet.stage(&self.plan.nodes).into_succeeded();
        for &percent in steps {
            let stage = match nodes.len() {
                1 => format!("canary {percent} % of requests on 1 node"),
                many => format!("canary {percent} % of requests on {many} nodes"),
            };
            stages.begin(&stage);
            let order = |nodes: &[String]| {
                if percent < 100 {
                    self.fleet.shift(nodes, percent)
                } else {
                    self.fleet.promote(nodes)
                }
            };
            nodes = order(&nodes).into_succeeded();
            let compared = nodes.iter().filter(|node| self.previous.runs_on(node));
            let compared = compared.filter(|_| percent < 100).cloned();
            self.soak(&stage, &nodes, &compared.collect::<Vec<_>>())?;
            nodes = self.fleet.still_alive(&nodes, order);
        }
        Ok(())
    }

    /// Measures the new version on the nodes `new`, and compares it with the previous version on
    /// the nodes `old`; without such, with what it did before.
    fn soak(&self, stage: &str, new: &[String], old: &[String]) -> Result {
        let (config, control) = (&self.plan.config, self.control);
        if new.is_empty() && !self.plan.nodes.is_empty() {
            return Err(format!("{stage}: no node runs the new version").into());
        }
        let baseline = if !old.is_empty() {
            Baseline::Nodes
        } else if self.previous.nodes.is_empty() {
            Baseline::Nothing
        } else {
            Baseline::Recorded
        };
        let mut checks = config.judgeable_checks(baseline);
        if self.previous.is_identical {
            checks = config::without_comparisons_by_node(checks);
        }
        let has_nothing_to_judge = new.is_empty() || (old.is_empty() && checks.is_empty());
        if config.soak.is_zero() || has_nothing_to_judge {
            return Ok(());
        }
        let verdict = (self.fleet)
            .soak(config.soak, new, old, &checks)
            .unless_failed()?;
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
        Ok(())
    }
}

hotswap_sdk::register!(Canary, include_str!("schema.json"));
