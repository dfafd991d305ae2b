//! Converts between the types of the contract and those of `hotswap-core`. The names say
//! the direction.

use std::collections::HashMap;

use hotswap_core as core;

use super::interface::Plan;
use crate::bindings::exports::hotswap::strategy::guest;
use crate::bindings::hotswap::strategy::{analysis, control, fleet, types};

pub(crate) fn plan_to_wit(plan: &Plan) -> guest::Plan {
    guest::Plan {
        deployment: plan.deployment.to_string(),
        environment: plan.environment.to_string(),
        module: module_to_wit(&plan.module),
        nodes: plan.nodes.iter().map(node_to_wit).collect(),
        config: plan.config.to_string(),
    }
}

pub(crate) fn node_to_wit(node: &core::Node) -> types::Node {
    types::Node {
        id: node.id.to_string(),
        zone: node.zone.clone(),
        labels: node
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        health: match node.health {
            core::Health::Passing => types::Health::Passing,
            core::Health::Warning => types::Health::Warning,
            core::Health::Critical => types::Health::Critical,
            core::Health::Unknown => types::Health::Unknown,
        },
        active: node.active.as_ref().map(module_to_wit),
    }
}

fn module_to_wit(module: &core::ModuleVersion) -> types::ModuleVersion {
    types::ModuleVersion {
        name: module.name.to_string(),
        version: module.version.to_string(),
        digest: module.digest.to_string(),
    }
}

/// One result for each of `nodes`, in their order.
pub(crate) fn results_to_wit(
    nodes: Vec<String>,
    failures: Vec<core::NodeFailure>,
) -> Vec<types::NodeResult> {
    let failures: HashMap<String, core::NodeError> = failures
        .into_iter()
        .map(|failure| (failure.node.into(), failure.error))
        .collect();
    nodes
        .into_iter()
        .map(|node| types::NodeResult {
            outcome: failures
                .get(&node)
                .map_or(Ok(()), |error| Err(node_error_to_wit(error))),
            node,
        })
        .collect()
}

fn node_error_to_wit(error: &core::NodeError) -> types::NodeError {
    match error.clone() {
        core::NodeError::Unreachable(reason) => types::NodeError::Unreachable(reason),
        // Calls fail no node by it: a run is suspended instead.
        error @ core::NodeError::Local(_) => types::NodeError::Unreachable(error.to_string()),
        error @ core::NodeError::Fenced(_) => types::NodeError::Refused(error.to_string()),
        core::NodeError::Refused(reason) => types::NodeError::Refused(reason),
        core::NodeError::Unhealthy(reason) => types::NodeError::Unhealthy(reason),
        core::NodeError::Other(reason) => types::NodeError::Other(reason),
    }
}

pub(crate) fn probe_from_wit(probe: fleet::HttpProbe) -> core::HttpProbe {
    core::HttpProbe {
        path: probe.path,
        expect_status: probe.expect_status,
        expect_body: probe.expect_body,
        timeout: probe.timeout,
    }
}

pub(crate) fn check_from_wit(check: analysis::Check) -> core::Check {
    core::Check {
        metric: check.metric,
        max: check.max,
        max_increase: check.max_increase,
        min_increase: check.min_increase,
    }
}

pub(crate) fn verdict_to_wit(verdict: core::Verdict) -> analysis::Verdict {
    analysis::Verdict {
        judgement: judgement_to_wit(verdict.judgement),
        findings: verdict.findings.into_iter().map(finding_to_wit).collect(),
    }
}

fn finding_to_wit(finding: core::Finding) -> analysis::Finding {
    analysis::Finding {
        check: analysis::Check {
            metric: finding.check.metric,
            max: finding.check.max,
            max_increase: finding.check.max_increase,
            min_increase: finding.check.min_increase,
        },
        judgement: judgement_to_wit(finding.judgement),
        canary: finding.canary,
        baseline: finding.baseline,
        canary_samples: finding.canary_samples,
        baseline_samples: finding.baseline_samples,
        reason: finding.reason,
    }
}

fn judgement_to_wit(judgement: core::Judgement) -> analysis::Judgement {
    match judgement {
        core::Judgement::Pass => analysis::Judgement::Pass,
        core::Judgement::Fail => analysis::Judgement::Fail,
        core::Judgement::Inconclusive => analysis::Judgement::Inconclusive,
    }
}

pub(crate) fn decision_to_wit(decision: core::Decision) -> control::Decision {
    control::Decision {
        approved: decision.approved,
        by: decision.by,
        comment: decision.comment,
    }
}

pub(crate) fn level_from_wit(level: control::Level) -> core::Level {
    match level {
        control::Level::Debug => core::Level::Debug,
        control::Level::Info => core::Level::Info,
        control::Level::Warn => core::Level::Warn,
        control::Level::Error => core::Level::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_nodes_with_duplicates() {
        let failures = vec![core::NodeFailure {
            node: "b".parse().unwrap(),
            error: core::NodeError::Refused("full".into()),
        }];
        let nodes = ["c", "b", "a", "b"].map(str::to_owned).to_vec();
        let results = results_to_wit(nodes, failures);
        let failed: Vec<_> = results
            .iter()
            .map(|result| (result.node.as_str(), result.outcome.is_err()))
            .collect();
        assert_eq!(
            failed,
            [("c", false), ("b", true), ("a", false), ("b", true)]
        );
    }
}
