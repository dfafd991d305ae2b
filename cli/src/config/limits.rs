use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// How many resources deployments may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Calls that a strategy may make in one deployment. A deployment that exceeds this is
    /// rolled back.
    pub calls: u32,
    /// Bytes that the journal of a deployment may keep because of its strategy: its calls, their
    /// answers, and the counters with which soaks start. A deployment that exceeds this is rolled
    /// back.
    pub bytes: usize,
    /// Bytes on top of `bytes` for each node of the deployment.
    pub bytes_per_node: usize,
    /// Compute of one run of a strategy, from its start to its end: one for each instruction, and
    /// one for each byte that an instruction copies or fills. A deployment that exceeds this is
    /// rolled back.
    pub total_fuel: u64,
    /// A wait longer than this suspends the deployment: it gives its instance back, and is
    /// replayed afterwards.
    pub park_after: Span,
    /// Nodes that a deployment calls at the same time, whatever the policy allows. Each is a
    /// connection.
    pub fan_out: usize,
    /// Strategies that run at the same time. Others wait for their turn.
    pub instances: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let limits = hotswap_runner::Limits::default();
        Self {
            calls: limits.calls,
            bytes: limits.bytes,
            bytes_per_node: limits.bytes_per_node,
            total_fuel: limits.total_fuel,
            park_after: Span(limits.suspend_after),
            fan_out: limits.fan_out,
            instances: limits.instances,
        }
    }
}

impl From<Limits> for hotswap_runner::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            calls: limits.calls,
            bytes: limits.bytes,
            bytes_per_node: limits.bytes_per_node,
            total_fuel: limits.total_fuel,
            suspend_after: limits.park_after.0,
            fan_out: limits.fan_out,
            instances: limits.instances,
            ..Self::default()
        }
    }
}
