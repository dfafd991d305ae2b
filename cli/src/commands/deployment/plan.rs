//! `hotswap deployment create --plan`: what a deployment would do.

use std::time::Duration;

use anyhow::Result;

use super::Context;
use crate::client::{DeploymentPlan, NewDeployment, PlanStep};
use crate::exit::Exit;
use crate::format::{self, sanitize};

/// The most names of nodes in one line; further ones are counted.
const MAX_NAMES: usize = 12;

/// Shows what a deployment would do. Fails where something would stand against it.
pub(super) async fn show(new: &NewDeployment, context: &Context) -> Result<Exit> {
    let response = context.client.plan_deployment(new).await?;
    let plan: DeploymentPlan = serde_json::from_value(response.clone())?;
    let exit = if plan.problems.is_empty() {
        Exit::Success
    } else {
        Exit::Failure
    };
    if context.out.json {
        context.out.json(&response)?;
        return Ok(exit);
    }
    let line = |text: &str| context.out.line(&sanitize(text));
    describe(&plan).iter().try_for_each(|text| line(text))?;
    line("")?;
    if plan.nodes.is_empty() {
        line("nodes: none")?;
    } else {
        let rows = plan.nodes.iter().map(|node| {
            let or_none =
                |version: &Option<String>| version.as_deref().unwrap_or("none").to_owned();
            [
                sanitize(&node.id),
                sanitize(node.zone.as_deref().unwrap_or_default()),
                or_none(&node.runs),
                or_none(&node.would_run),
            ]
        });
        let rows: Vec<_> = rows.collect();
        context
            .out
            .table(["NODE", "ZONE", "RUNS", "WOULD RUN"], &rows)?;
    }
    if !plan.left_out.is_empty() {
        line("")?;
        line("left out:")?;
        for node in &plan.left_out {
            line(&format!("  {}: {}", node.id, node.detail))?;
        }
    }
    if !plan.steps.is_empty() {
        line("")?;
        line("steps, where all goes well:")?;
        for step in &plan.steps {
            line(&format!("  {}", describe_step(step)))?;
        }
        if plan.further_steps > 0 {
            line(&format!("  and {} more", plan.further_steps))?;
        }
    }
    if !plan.problems.is_empty() {
        line("")?;
        for problem in &plan.problems {
            line(&format!("! {problem}"))?;
        }
    }
    if !plan.warnings.is_empty() {
        line("")?;
        for warning in &plan.warnings {
            line(&format!("~ {}", format::sanitize(warning)))?;
        }
    }
    Ok(exit)
}

/// The lines above the nodes.
fn describe(plan: &DeploymentPlan) -> Vec<String> {
    let selector = plan.selector.as_ref();
    let selector = selector.map_or_else(String::new, |selector| format!(" ({selector})"));
    let policy = &plan.policy;
    let span = |millis| format::duration(Duration::from_millis(millis));
    let mut lines = vec![
        format!(
            "{} {} → {}{selector} by {}",
            plan.module_name, plan.version, plan.target_environment, plan.strategy
        ),
        format!("config:  {}", plan.config),
        format!(
            "policy:  at most {} unavailable, {} failed, {} missing",
            policy.max_unavailable, policy.tolerated_failures, policy.max_missing
        ),
        match plan.shortest {
            Some(0) => format!(
                "time:    no waits; the deadline is {}",
                span(policy.deadline)
            ),
            Some(shortest) => format!(
                "time:    at least {}; the deadline is {}",
                span(shortest),
                span(policy.deadline)
            ),
            None => format!(
                "time:    unknown; the deadline is {}",
                span(policy.deadline)
            ),
        },
    ];
    if plan.require_approval {
        lines.push("approval before it starts".to_owned());
    }
    lines
}

/// `+1m 30s  promote prod-1 prod-2`.
fn describe_step(step: &PlanStep) -> String {
    let at = match step.at {
        0 => "+0s".to_owned(),
        at => format!("+{}", format::duration(Duration::from_millis(at))),
    };
    let nodes = format::names(&step.nodes, MAX_NAMES);
    let span = step
        .span
        .map(|span| format::duration(Duration::from_millis(span)));
    let span = span.unwrap_or_default();
    let percent = step.percent.unwrap_or_default();
    let text = step.text.as_deref().unwrap_or_default();
    let what = match step.step.as_str() {
        "progress" => format!("— {text} ({percent} %)"),
        "shift" => format!("shift {percent} % of requests on {nodes}"),
        "probe" => format!("probe {text} on {nodes}"),
        "soak" if step.baseline.is_empty() => format!("soak {span}, watching {nodes}"),
        "soak" => format!(
            "soak {span}, comparing {nodes} with {}",
            format::names(&step.baseline, MAX_NAMES)
        ),
        "sleep" => format!("wait {span}"),
        "approval" => format!("ask: {text} (for at most {span})"),
        other => format!("{other} {nodes}"),
    };
    let at_once = match step.at_once {
        Some(count) if count < step.nodes.len() && count > 0 => format!(", {count} at a time"),
        _ => String::new(),
    };
    let refused = match &step.refused {
        Some(_) => " — refused",
        None => "",
    };
    format!("{at:<8}  {what}{at_once}{refused}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn step(value: serde_json::Value) -> String {
        let mut step = json!({ "at": 0, "nodes": [], "baseline": [] });
        for (name, value) in value.as_object().unwrap() {
            step[name] = value.clone();
        }
        describe_step(&serde_json::from_value(step).unwrap())
    }

    #[test]
    fn each_step_is_a_line() {
        for (value, line) in [
            (
                json!({ "step": "progress", "text": "canary", "percent": 10 }),
                "+0s       — canary (10 %)",
            ),
            (
                json!({ "at": 90_000, "step": "promote", "nodes": ["a", "b"] }),
                "+1m 30s   promote a b",
            ),
            (
                json!({ "step": "stage", "nodes": ["a", "b", "c"], "atOnce": 2 }),
                "+0s       stage a b c, 2 at a time",
            ),
            (
                json!({ "step": "stage", "nodes": ["a", "b"], "atOnce": 0, "refused": "no" }),
                "+0s       stage a b — refused",
            ),
            (
                json!({ "step": "shift", "nodes": ["a"], "percent": 25 }),
                "+0s       shift 25 % of requests on a",
            ),
            (
                json!({ "step": "soak", "nodes": ["a"], "baseline": ["b"], "span": 300_000 }),
                "+0s       soak 5m, comparing a with b",
            ),
            (
                json!({ "step": "sleep", "span": 5000 }),
                "+0s       wait 5s",
            ),
            (
                json!({ "step": "approval", "text": "go on?", "span": 60_000 }),
                "+0s       ask: go on? (for at most 1m)",
            ),
        ] {
            assert_eq!(step(value), line);
        }
        let many: Vec<_> = (1..=20).map(|number| format!("n{number}")).collect();
        let line = step(json!({ "step": "stage", "nodes": many }));
        assert!(line.ends_with("n11 and 9 more"), "{line}");
    }
}
