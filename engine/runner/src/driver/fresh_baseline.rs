//! Nodes of a baseline that reload the previous version when a soak begins, so that they are as
//! cold as those of the canary.

use std::collections::BTreeMap;
use std::time::Duration;

use hotswap_core::{
    Call, CordonedNode, DeploymentId, Environment, Fence, Finding, Header, ModuleVersion, Node,
    NodeError, NodeFailure, NodeId, NodeReading, ReadSlot, RecordedCall, parse_version,
};
use serde_json::Value;

use super::call_limits::CallLimits;
use super::context::DriverContext;
use super::error::Error;
use super::execution::held_back_failure;
use super::failed_nodes::{name_failures, name_nodes};
use super::fleet_watch::FleetWatch;
use super::members::Members;
use super::node_operations::{NodeOperations, Operated, check_sender};

/// A node may take this share of the soak to load its version. Later it is of no use.
const SHARE_OF_WINDOW: u32 = 4;

/// The baselines of a deployment that asks for fresh ones: `baselineNodes` in its configuration. The
/// contract with strategies has no place for it, and it is pinned with the request.
#[derive(Debug)]
pub(super) struct FreshBaseline {
    deployment: DeploymentId,
    environment: Environment,
    max_unavailable: usize,
    nodes: Vec<Node>,
    missing: Vec<NodeFailure>,
    cordoned: Vec<CordonedNode>,
}

/// The baseline of one soak, restarted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct RestartedBaseline {
    restarted: Vec<NodeId>,
    /// The nodes that did not reload their version. They are not compared.
    left_out: Vec<NodeFailure>,
}

impl FreshBaseline {
    /// `None` unless the deployment asks for it.
    pub(super) fn of(header: &Header, members: Members<'_>) -> Option<Self> {
        is_wanted(&header.config).then(|| Self {
            deployment: header.id,
            environment: header.environment.clone(),
            max_unavailable: members.max_unavailable(&header.policy),
            nodes: members.nodes.to_vec(),
            missing: members.missing.to_vec(),
            cordoned: members.cordoned.to_vec(),
        })
    }

    /// Has the nodes of the baseline of a soak reload their version, as many at the same time as
    /// the policy allows to be unavailable. None of them stops serving.
    ///
    /// Repeat it after a crash: a node that has carried the order out does not do so again. Which
    /// version each node loads is what the journaled `readings` of the soak's beginning say. Nodes
    /// that are also on the canary's side are not restarted.
    ///
    /// # Errors
    /// [`Error::StaleFence`] where another engine drives the deployment; [`Error::Nodes`] where this
    /// machine can open no connection.
    pub(super) async fn restart(
        &self,
        context: &DriverContext,
        fence: Fence,
        module: &ModuleVersion,
        (number, call): (u32, &RecordedCall),
    ) -> Result<RestartedBaseline, Error> {
        let readings = &call.readings;
        let Call::Soak {
            window,
            canary,
            baseline,
            ..
        } = &call.request
        else {
            return Ok(RestartedBaseline::default());
        };
        // Nothing is judged.
        if readings.is_empty() {
            return Ok(RestartedBaseline::default());
        }
        let alone = baseline.iter().filter(|node| !canary.contains(node));
        let (mut versions, mut left_out) = (BTreeMap::new(), Vec::new());
        for node in alone {
            match active_version(node, module, readings) {
                Some(version) => drop(versions.insert(node.clone(), version)),
                None => left_out.push(NodeFailure {
                    node: node.clone(),
                    error: NodeError::Other("it did not say what it runs".to_owned()),
                }),
            }
        }
        let operations = NodeOperations {
            fleet: context.fleet.as_ref(),
            deployment: self.deployment,
            environment: &self.environment,
            module,
            plan: &self.nodes,
            concurrency: context.limits.fan_out,
            fence,
        };
        let limits = CallLimits {
            max_unavailable: self.max_unavailable,
            // They only leave the comparison.
            ..CallLimits::none()
        };
        let operation = format!("{}.{number}.baseline", self.deployment);
        let within = Duration::from_millis(*window) / SHARE_OF_WINDOW;
        let watch = FleetWatch::new(
            context.watched_fleet(),
            (&self.environment, &module.name),
            self.members(),
        );
        let limits = (limits, Some(watch));
        let restarted = operations.restart(&versions, &operation, limits, within);
        let Operated {
            failures,
            held_back,
            ..
        } = restarted.await;
        check_sender(&failures, operations.fence)?;
        left_out.extend(failures);
        left_out.extend(held_back.into_iter().map(held_back_failure));
        for NodeFailure { node, error } in &left_out {
            let deployment = self.deployment;
            tracing::warn!(%deployment, %node, %error, "a node of the baseline was not restarted");
        }
        let failed = |node: &NodeId| left_out.iter().any(|failure| failure.node == *node);
        let restarted = versions.into_keys().filter(|node| !failed(node)).collect();
        Ok(RestartedBaseline {
            restarted,
            left_out,
        })
    }

    fn members(&self) -> Members<'_> {
        Members {
            nodes: &self.nodes,
            missing: &self.missing,
            cordoned: &self.cordoned,
        }
    }
}

impl RestartedBaseline {
    /// The nodes that the soak must not compare with.
    pub(super) fn left_out(&self) -> impl Iterator<Item = &NodeId> {
        self.left_out.iter().map(|failure| &failure.node)
    }

    /// Says in findings that compare what the baseline was.
    pub(super) fn explain(&self, findings: &mut [Finding]) {
        let Some(note) = self.describe() else {
            return;
        };
        let comparing = |finding: &&mut Finding| {
            let check = &finding.check;
            check.max_increase.is_some() && !check.metric.starts_with("query:")
        };
        for finding in findings.iter_mut().filter(comparing) {
            finding.reason = format!("{}; {note}", finding.reason);
        }
    }

    /// `compared with 2 nodes that loaded the previous version anew when the soak began: a, b`.
    fn describe(&self) -> Option<String> {
        let left_out = self.left_out.iter();
        let left_out = name_failures(left_out.map(|failure| (&failure.node, &failure.error)));
        let restarted = match self.restarted.len() {
            0 if left_out.is_empty() => return None,
            0 => "compared with no node".to_owned(),
            count => {
                let plural = if count == 1 { "" } else { "s" };
                format!(
                    "compared with {count} node{plural} that loaded the previous version anew when \
                     the soak began: {}",
                    name_nodes(&self.restarted)
                )
            }
        };
        Some(if left_out.is_empty() {
            restarted
        } else {
            format!("{restarted}; not restarted, so left out: {left_out}")
        })
    }
}

fn is_wanted(config: &Value) -> bool {
    config["baselineNodes"]
        .as_u64()
        .is_some_and(|nodes| nodes > 0)
}

/// The version that a node ran when the soak began, other than `module`.
fn active_version(
    node: &NodeId,
    module: &ModuleVersion,
    readings: &[NodeReading],
) -> Option<ModuleVersion> {
    let reading = readings.iter().find(|reading| reading.node == *node)?;
    let mut versions = reading.versions.iter();
    let active = versions.find(|held| held.slot == Some(ReadSlot::Active))?;
    if active.is_of(module) {
        return None;
    }
    Some(ModuleVersion {
        name: module.name.clone(),
        version: parse_version(active.version.as_deref()?).ok()?,
        digest: active.digest,
    })
}

#[cfg(test)]
mod tests {
    use hotswap_core::{Check, Judgement};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fresh_baseline_is_there_where_a_configuration_asks_for_nodes() {
        for (config, wanted) in [
            (json!({ "baselineNodes": 2 }), true),
            (json!({ "baselineNodes": 0 }), false),
            (json!({ "baselineNodes": "all" }), false),
            (json!({}), false),
        ] {
            assert_eq!(is_wanted(&config), wanted, "{config}");
        }
    }

    #[test]
    fn findings_say_what_was_compared_and_what_was_left_out() {
        let finding = |max_increase| Finding {
            check: Check {
                metric: "latency-p95".to_owned(),
                max: Some(1.0),
                max_increase,
                min_increase: None,
            },
            judgement: Judgement::Pass,
            canary: None,
            baseline: None,
            canary_samples: 0,
            baseline_samples: 0,
            reason: "p95 is 8 ms".to_owned(),
            conditions: Vec::new(),
            queried: Vec::new(),
        };
        let node = |id: &str| -> NodeId { id.parse().unwrap() };
        let mut baseline = RestartedBaseline {
            restarted: vec![node("c"), node("d")],
            left_out: Vec::new(),
        };
        let mut findings = [finding(Some(1.0)), finding(None)];
        baseline.explain(&mut findings);
        assert_eq!(
            findings[0].reason,
            "p95 is 8 ms; compared with 2 nodes that loaded the previous version anew when the \
             soak began: c, d"
        );
        assert_eq!(findings[1].reason, "p95 is 8 ms", "it compares nothing");
        baseline.restarted.clear();
        baseline.left_out.push(NodeFailure {
            node: node("c"),
            error: NodeError::Other("no answer".to_owned()),
        });
        let mut findings = [finding(Some(1.0))];
        baseline.explain(&mut findings);
        assert_eq!(
            findings[0].reason,
            "p95 is 8 ms; compared with no node; not restarted, so left out: c (no answer)"
        );
    }
}
