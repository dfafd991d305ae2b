//! How the scripted fleet answers calls.

use std::rc::Rc;

use super::scripted::{Effect, FleetState, ScriptedNode, module};
use super::{Call, ScriptedFleet};
use crate::{
    Check, Decision, Finding, Health, Host, Judgement, Level, ModuleVersion, Node, NodeError,
    NodeResult, Operation, Probe, Span, Verdict,
};

/// The number of samples that the findings of a scripted soak report, for each version.
const SAMPLES: u64 = 1000;

impl ScriptedFleet {
    pub(super) fn host(&self) -> Rc<dyn Host> {
        Rc::new(Self {
            state: Rc::clone(&self.state),
        })
    }
}

impl Host for ScriptedFleet {
    fn nodes(&self) -> Vec<Node> {
        let state = self.record(Call::Nodes);
        state
            .nodes
            .iter()
            .map(|scripted| scripted.node.clone())
            .collect()
    }

    fn stage(&self, nodes: &[String]) -> Vec<NodeResult> {
        self.record(Call::Stage(nodes.to_vec()))
            .operate(Operation::Stage, nodes, |node| {
                node.staged = true;
                Ok(())
            })
    }

    fn shift(&self, nodes: &[String], percent: u8) -> Vec<NodeResult> {
        assert!(
            percent <= 100,
            "shift to {percent} %: the engine would end the deployment"
        );
        self.record(Call::Shift(nodes.to_vec(), percent))
            .operate(Operation::Shift, nodes, |node| node.check_staged())
    }

    fn promote(&self, nodes: &[String]) -> Vec<NodeResult> {
        self.record(Call::Promote(nodes.to_vec()))
            .operate(Operation::Promote, nodes, |node| {
                node.check_staged()?;
                node.update();
                Ok(())
            })
    }

    fn revert(&self, nodes: &[String]) -> Vec<NodeResult> {
        self.record(Call::Revert(nodes.to_vec()))
            .operate(Operation::Revert, nodes, |node| {
                node.revert();
                Ok(())
            })
    }

    fn probe(&self, nodes: &[String], probe: &Probe) -> Vec<NodeResult> {
        self.record(Call::Probe(nodes.to_vec(), probe.clone()))
            .operate(Operation::Probe, nodes, |node| node.check_staged())
    }

    fn soak(
        &self,
        window: Span,
        canary: &[String],
        baseline: &[String],
        checks: &[Check],
    ) -> Verdict {
        let mut state = self.record(Call::Soak {
            window,
            canary: canary.to_vec(),
            baseline: baseline.to_vec(),
            checks: checks.to_vec(),
        });
        for node in canary.iter().chain(baseline) {
            state.node(node);
        }
        let ran_before = |node: &String| {
            let other = |before: &ModuleVersion| *before != module("2.0.0");
            state.node(node).before.as_ref().is_some_and(other)
        };
        let has_nothing_to_compare = baseline.is_empty() && !canary.iter().any(ran_before);
        state.advance_clock(window);
        if checks.is_empty() {
            return Verdict {
                judgement: Judgement::Pass,
                findings: Vec::new(),
            };
        }
        let scripted = state.judgements.pop_front();
        let judge = |check: &Check| match scripted {
            Some(judgement) => judgement,
            None if has_nothing_to_compare && check.max.is_none() => Judgement::Inconclusive,
            None => Judgement::Pass,
        };
        let findings: Vec<_> = checks
            .iter()
            .map(|check| finding(check, judge(check)))
            .collect();
        let any = |judgement| {
            findings
                .iter()
                .any(|finding| finding.judgement == judgement)
        };
        let judgement = if any(Judgement::Fail) {
            Judgement::Fail
        } else if any(Judgement::Inconclusive) {
            Judgement::Inconclusive
        } else {
            Judgement::Pass
        };
        Verdict {
            judgement,
            findings,
        }
    }

    fn now(&self) -> u64 {
        self.record(Call::Now).clock.as_millis()
    }

    fn sleep(&self, span: Span) {
        self.record(Call::Sleep(span)).advance_clock(span);
    }

    fn approval(&self, prompt: &str, timeout: Span) -> Decision {
        let mut state = self.record(Call::Approval {
            prompt: prompt.to_owned(),
            timeout,
        });
        state.decisions.pop_front().unwrap_or_else(|| {
            state.advance_clock(timeout);
            Decision {
                approved: false,
                by: String::new(),
                comment: None,
            }
        })
    }

    fn progress(&self, stage: &str, percent: u8) {
        self.record(Call::Progress {
            stage: stage.to_owned(),
            percent,
        });
    }

    fn log(&self, level: Level, message: &str) {
        self.record(Call::Log {
            level,
            message: message.to_owned(),
        });
    }
}

impl FleetState {
    /// # Panics
    /// If the node is not in the plan: the engine would end the deployment.
    fn node(&mut self, id: &str) -> &mut ScriptedNode {
        match self
            .nodes
            .iter_mut()
            .find(|scripted| scripted.node.id == id)
        {
            Some(node) => node,
            None => panic!("node {id:?} is not in the plan: the engine would end the deployment"),
        }
    }

    fn advance_clock(&mut self, span: Span) {
        self.clock = Span::millis(self.clock.as_millis().saturating_add(span.as_millis()));
    }

    /// Carries an operation out on each node, except where the script says that it fails.
    fn operate(
        &mut self,
        operation: Operation,
        ids: &[String],
        mut apply: impl FnMut(&mut ScriptedNode) -> Result<(), NodeError>,
    ) -> Vec<NodeResult> {
        let results: Vec<_> = ids
            .iter()
            .map(|id| {
                let fault = self
                    .faults
                    .iter()
                    .find(|fault| fault.operation == operation && fault.node == *id);
                let effect = fault.map(|fault| fault.effect.clone());
                let node = self.node(id);
                let outcome = match effect {
                    Some(Effect::Fails(error)) => Err(error),
                    _ if node.dead => Err(NodeError::Unreachable("no answer".to_owned())),
                    Some(Effect::StopsReporting) => {
                        node.node.health = Health::Critical;
                        let outcome = apply(node);
                        node.dead = true;
                        outcome
                    }
                    None => apply(node),
                };
                NodeResult {
                    node: id.clone(),
                    outcome,
                }
            })
            .collect();
        self.record_failures(&results);
        results
    }
}

impl ScriptedNode {
    fn check_staged(&self) -> Result<(), NodeError> {
        // As on a node, orders for the version that is active change nothing.
        if self.staged || self.updated {
            Ok(())
        } else {
            Err(NodeError::Refused("no version is staged".to_owned()))
        }
    }
}

fn finding(check: &Check, judgement: Judgement) -> Finding {
    Finding {
        metric: check.metric.name().to_owned(),
        judgement,
        canary: None,
        baseline: None,
        canary_samples: SAMPLES,
        baseline_samples: SAMPLES,
        reason: "scripted judgement".to_owned(),
    }
}
