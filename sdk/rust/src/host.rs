//! What stands behind the handles.

use crate::{Check, Decision, Level, Node, NodeResult, Probe, Span, Verdict};

/// What answers a strategy's calls: the engine, or a script in a test.
///
/// It says what the contract says, call by call; strategies use [`crate::Fleet`] and
/// [`crate::Control`] instead.
pub trait Host {
    /// The nodes as they are now, in the order of the plan.
    fn nodes(&self) -> Vec<Node>;
    /// Load the new version beside the active one.
    fn stage(&self, nodes: &[String]) -> Vec<NodeResult>;
    /// Send so many hundredths of the requests to the staged version.
    fn shift(&self, nodes: &[String], percent: u8) -> Vec<NodeResult>;
    /// Make the staged version the active one.
    fn promote(&self, nodes: &[String]) -> Vec<NodeResult>;
    /// Go back to the version from before the deployment.
    fn revert(&self, nodes: &[String]) -> Vec<NodeResult>;
    /// Ask the staged version directly until it answers as expected.
    fn probe(&self, nodes: &[String], probe: &Probe) -> Vec<NodeResult>;
    /// Watch the new version next to the one before.
    fn soak(
        &self,
        window: Span,
        canary: &[String],
        baseline: &[String],
        checks: &[Check],
    ) -> Verdict;
    /// Milliseconds since the Unix epoch, by the journaled clock.
    fn now(&self) -> u64;
    /// Wait, durably.
    fn sleep(&self, span: Span);
    /// Wait for a person.
    fn approval(&self, prompt: &str, timeout: Span) -> Decision;
    /// Tell watchers where the deployment is.
    fn progress(&self, stage: &str, percent: u8);
    /// Add a line to the deployment's log.
    fn log(&self, level: Level, message: &str);
}
