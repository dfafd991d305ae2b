//! The interface behind [`Fleet`](crate::Fleet) and [`Control`](crate::Control).

use crate::{Check, Decision, Level, Node, NodeResult, Probe, Span, Verdict};

/// Answers the calls of a strategy: the engine, or a
/// [`ScriptedFleet`](crate::testing::ScriptedFleet) in a test.
///
/// Each method is one call of the contract. Strategies use [`Fleet`](crate::Fleet) and
/// [`Control`](crate::Control) instead.
pub trait Host {
    /// Returns the current state of the nodes, in the order of the plan.
    fn nodes(&self) -> Vec<Node>;
    /// Loads the new version beside the active one.
    fn stage(&self, nodes: &[String]) -> Vec<NodeResult>;
    /// Sends this percentage of the requests to the staged version.
    fn shift(&self, nodes: &[String], percent: u8) -> Vec<NodeResult>;
    /// Makes the staged version the active one.
    fn promote(&self, nodes: &[String]) -> Vec<NodeResult>;
    /// Returns to the version that was active when the deployment began.
    fn revert(&self, nodes: &[String]) -> Vec<NodeResult>;
    /// Sends a request to the staged version until it answers as expected.
    fn probe(&self, nodes: &[String], probe: &Probe) -> Vec<NodeResult>;
    /// Measures the new version beside the previous one, and judges the checks.
    fn soak(
        &self,
        window: Span,
        canary: &[String],
        baseline: &[String],
        checks: &[Check],
    ) -> Verdict;
    /// Returns milliseconds since the Unix epoch, from the journaled clock.
    fn now(&self) -> u64;
    /// Waits durably.
    fn sleep(&self, span: Span);
    /// Waits until a person decides, or the timeout passes.
    fn approval(&self, prompt: &str, timeout: Span) -> Decision;
    /// Reports progress to clients that watch.
    fn progress(&self, stage: &str, percent: u8);
    /// Adds a line to the deployment's log.
    fn log(&self, level: Level, message: &str);
}
