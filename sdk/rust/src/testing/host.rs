//! How the scripted fleet answers.

use std::rc::Rc;

use super::scripted::{Effect, Member, State};
use super::{Call, ScriptedFleet};
use crate::{
    Act, Check, Decision, Finding, Health, Host, Judgement, Level, Node, NodeError, NodeResult,
    Probe, Span, Verdict,
};

/// How many requests each side is said to have seen in a scripted soak.
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
        let state = self.begin(Call::Nodes);
        state
            .members
            .iter()
            .map(|member| member.node.clone())
            .collect()
    }

    fn stage(&self, nodes: &[String]) -> Vec<NodeResult> {
        self.begin(Call::Stage(nodes.to_vec()))
            .act(Act::Stage, nodes, |member| {
                member.staged = true;
                Ok(())
            })
    }

    fn shift(&self, nodes: &[String], percent: u8) -> Vec<NodeResult> {
        assert!(
            percent <= 100,
            "shift was asked for {percent} %, and the engine ends that"
        );
        self.begin(Call::Shift(nodes.to_vec(), percent))
            .act(Act::Shift, nodes, |member| member.needs_staged())
    }

    fn promote(&self, nodes: &[String]) -> Vec<NodeResult> {
        self.begin(Call::Promote(nodes.to_vec()))
            .act(Act::Promote, nodes, |member| {
                member.needs_staged()?;
                member.update();
                Ok(())
            })
    }

    fn revert(&self, nodes: &[String]) -> Vec<NodeResult> {
        self.begin(Call::Revert(nodes.to_vec()))
            .act(Act::Revert, nodes, |member| {
                member.go_back();
                Ok(())
            })
    }

    fn probe(&self, nodes: &[String], probe: &Probe) -> Vec<NodeResult> {
        self.begin(Call::Probe(nodes.to_vec(), probe.clone()))
            .act(Act::Probe, nodes, |member| member.needs_staged())
    }

    fn soak(
        &self,
        window: Span,
        canary: &[String],
        baseline: &[String],
        checks: &[Check],
    ) -> Verdict {
        let mut state = self.begin(Call::Soak {
            window,
            canary: canary.to_vec(),
            baseline: baseline.to_vec(),
            checks: checks.to_vec(),
        });
        for node in canary.iter().chain(baseline) {
            state.member(node);
        }
        state.pass_time(window);
        if checks.is_empty() {
            return Verdict {
                judgement: Judgement::Pass,
                findings: Vec::new(),
            };
        }
        let scripted = state.judgements.pop_front();
        let judge = |check: &Check| match scripted {
            Some(judgement) => judgement,
            None if baseline.is_empty() && check.max.is_none() => Judgement::Inconclusive,
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
        self.begin(Call::Now).clock.as_millis()
    }

    fn sleep(&self, span: Span) {
        self.begin(Call::Sleep(span)).pass_time(span);
    }

    fn approval(&self, prompt: &str, timeout: Span) -> Decision {
        let mut state = self.begin(Call::Approval {
            prompt: prompt.to_owned(),
            timeout,
        });
        state.decisions.pop_front().unwrap_or_else(|| {
            state.pass_time(timeout);
            Decision {
                approved: false,
                by: String::new(),
                comment: None,
            }
        })
    }

    fn progress(&self, stage: &str, percent: u8) {
        self.begin(Call::Progress {
            stage: stage.to_owned(),
            percent,
        });
    }

    fn log(&self, level: Level, message: &str) {
        self.begin(Call::Log {
            level,
            message: message.to_owned(),
        });
    }
}

impl State {
    fn member(&mut self, id: &str) -> &mut Member {
        match self.members.iter_mut().find(|member| member.node.id == id) {
            Some(member) => member,
            None => panic!("{id:?} is not in the plan, and the engine ends that"),
        }
    }

    fn pass_time(&mut self, span: Span) {
        self.clock = Span::millis(self.clock.as_millis().saturating_add(span.as_millis()));
    }

    fn act(
        &mut self,
        act: Act,
        nodes: &[String],
        mut apply: impl FnMut(&mut Member) -> Result<(), NodeError>,
    ) -> Vec<NodeResult> {
        nodes
            .iter()
            .map(|id| {
                let member = self.members.iter_mut().find(|member| member.node.id == *id);
                let Some(member) = member else {
                    panic!("{id:?} is not in the plan, and the engine ends that")
                };
                let fault = self
                    .faults
                    .iter()
                    .find(|fault| fault.act == act && fault.node == *id);
                let outcome = match fault.map(|fault| &fault.effect) {
                    Some(Effect::Fails(error)) => Err(error.clone()),
                    Some(Effect::Dies) => {
                        member.node.health = Health::Critical;
                        apply(member)
                    }
                    None => apply(member),
                };
                NodeResult {
                    node: id.clone(),
                    outcome,
                }
            })
            .collect()
    }
}

impl Member {
    fn needs_staged(&self) -> Result<(), NodeError> {
        if self.staged {
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
        reason: "as the script says".to_owned(),
    }
}
