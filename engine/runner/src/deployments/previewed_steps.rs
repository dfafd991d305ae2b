//! What the policy makes of each step of a rehearsed strategy.

use std::collections::{BTreeSet, HashSet};

use hotswap_core::{Call, Header, NodeId};

use super::rehearsal::RehearsedStep;
use crate::driver::{Members, validate};

/// A step of a strategy, as the engine would carry it out.
#[derive(Debug, Clone, PartialEq)]
pub struct PreviewedStep {
    /// The step.
    pub step: RehearsedStep,
    /// How many nodes are changed at the same time at most. `None` where none is changed.
    pub at_once: Option<usize>,
    /// Why the engine would not carry it out, and end the deployment instead.
    pub refused: Option<String>,
}

/// Checks each step as a driver does before it journals the call. `unavailable` nodes do not
/// serve, and `fan_out` nodes get orders at the same time at most.
pub(super) fn check_steps(
    header: &Header,
    members: Members<'_>,
    unavailable: &BTreeSet<NodeId>,
    fan_out: usize,
    steps: Vec<RehearsedStep>,
) -> Vec<PreviewedStep> {
    let planned: HashSet<_> = members.nodes.iter().map(|node| &node.id).collect();
    let check = |call: &Call| {
        validate(call, &planned)?;
        members.check_call(header, call, unavailable)
    };
    let previewed = steps.into_iter().map(|step| PreviewedStep {
        at_once: members.at_once(&header.policy, &step.call, unavailable, fan_out),
        refused: check(&step.call).err().map(|cause| cause.message),
        step,
    });
    previewed.collect()
}
