use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Answer, Call, Cause, Event, EventBody, Finding, Header, IllegalTransition, Level, Lifecycle,
    ModuleVersion, Node, NodeError, NodeFailure, NodeId, Outcome, Status, Timestamp, Verdict,
};

/// The last lines of a log that are kept in the state; all of them are in the journal.
const LOG_LINES: usize = 200;

/// What the events of one journal add up to: the state of a deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// What was asked.
    pub header: Header,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// When it was requested.
    pub created_at: Timestamp,
    /// When the last event was appended.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// 0 to 100, as the strategy told it; 100 once it has succeeded.
    pub progress: u8,
    /// The stages that the strategy told, oldest first.
    pub stages: Vec<Stage>,
    /// The nodes of the plan, by name.
    pub nodes: BTreeMap<NodeId, NodeState>,
    /// What the last soak found.
    pub findings: Vec<Finding>,
    /// The last lines that the strategy logged, oldest first.
    pub log: Vec<LogLine>,
    /// What a person is asked, while nobody has decided.
    pub question: Option<String>,
    /// When the wait that is under way is over, where something waits.
    pub waiting_until: Option<Timestamp>,
    /// Why it did not succeed.
    pub cause: Option<Cause>,
    /// Nodes that could not be put back, or did not drop the version before.
    pub failures: Vec<NodeFailure>,
    /// The sequence number of the next event.
    pub next_seq: u64,
    /// The write that has no answer yet, with its number.
    open: Option<(u32, Call)>,
}

/// A stage that the strategy told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// The name it gave.
    pub name: String,
    /// When it told of it first.
    pub started_at: Timestamp,
    /// When the next one began, or the strategy ended.
    pub ended_at: Option<Timestamp>,
}

/// A node of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeState {
    /// Where it stands, if it says so.
    pub zone: Option<String>,
    /// The version it ran when the deployment was planned.
    pub before: Option<ModuleVersion>,
    /// What became of it.
    pub phase: NodePhase,
    /// What it last failed to do.
    pub error: Option<NodeError>,
    /// When one of these changed.
    pub changed_at: Timestamp,
    /// The sequence number of the event that last changed one of these.
    #[serde(default)]
    pub changed_in: u64,
}

impl NodeState {
    fn changed(&mut self, event: &Event) {
        self.changed_at = event.at;
        self.changed_in = event.seq;
    }
}

/// What became of a node so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "phase")]
pub enum NodePhase {
    /// Not touched.
    Pending,
    /// The new version is loaded beside the active one.
    Staged,
    /// The new version gets a share of the requests.
    Shifted {
        /// How many of a hundred.
        percent: u8,
    },
    /// The new version is the active one.
    Active,
    /// The version before is the active one again.
    Reverted,
    /// It did not do what it was last asked; the state's error says why.
    Failed,
}

/// A line that the strategy logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub message: String,
}

impl Deployment {
    /// The state after the first event of a journal.
    ///
    /// # Errors
    /// Where that is not [`EventBody::Requested`] with sequence number 0.
    pub fn begin(event: &Event) -> Result<Self, IllegalTransition> {
        let EventBody::Requested(header) = &event.body else {
            return Err(IllegalTransition::new("a journal begins with the request"));
        };
        Ok(Self {
            header: (**header).clone(),
            lifecycle: Lifecycle::BEGINNING,
            created_at: event.at,
            updated_at: event.at,
            ended_at: None,
            progress: 0,
            stages: Vec::new(),
            nodes: BTreeMap::new(),
            findings: Vec::new(),
            log: Vec::new(),
            question: None,
            waiting_until: None,
            cause: None,
            failures: Vec::new(),
            next_seq: 1,
            open: None,
        })
    }

    /// The state that a whole journal adds up to.
    ///
    /// # Errors
    /// Where an event cannot follow those before it, or there is none.
    pub fn fold<'a>(
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Result<Self, IllegalTransition> {
        let mut events = events.into_iter();
        let first = events
            .next()
            .ok_or_else(|| IllegalTransition::new("the journal is empty"))?;
        let mut state = Self::begin(first)?;
        events.try_for_each(|event| state.apply(event))?;
        Ok(state)
    }

    /// The one word for where it is.
    pub fn status(&self) -> Status {
        self.lifecycle.status()
    }

    /// Takes one more event in.
    ///
    /// # Errors
    /// Where it is not the next one, or cannot follow; the state is then unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalTransition> {
        if event.seq != self.next_seq {
            let (next, seq) = (self.next_seq, event.seq);
            return Err(IllegalTransition::new(format!(
                "event {next} comes next, and this is {seq}"
            )));
        }
        self.lifecycle = self.lifecycle.next(&event.body)?;
        self.next_seq += 1;
        self.updated_at = event.at;
        match &event.body {
            EventBody::Requested(_) | EventBody::Paused { .. } | EventBody::Resumed { .. } => {}
            EventBody::AbortRequested { .. } => {}
            EventBody::Gated { prompt, due } => {
                self.question = Some(prompt.clone());
                self.waiting_until = Some(*due);
            }
            EventBody::Decided { .. } => {
                self.question = None;
                self.waiting_until = None;
            }
            EventBody::Planned { nodes } => self.plan(nodes, event),
            EventBody::Called {
                call, request, due, ..
            } => self.called(*call, request, *due, event.at),
            EventBody::Answered { answer, .. } => self.answered(answer, event),
            EventBody::Settling => self.close_stage(event.at),
            EventBody::Reverting { cause } => {
                self.cause = Some(cause.clone());
                self.question = None;
                self.waiting_until = None;
                self.open = None;
                self.close_stage(event.at);
            }
            EventBody::Ended { outcome, failures } => self.ended(*outcome, failures, event),
        }
        Ok(())
    }

    fn plan(&mut self, nodes: &[Node], event: &Event) {
        let state = |node: &Node| NodeState {
            zone: node.zone.clone(),
            before: node.active.clone(),
            phase: NodePhase::Pending,
            error: None,
            changed_at: event.at,
            changed_in: event.seq,
        };
        self.nodes = nodes
            .iter()
            .map(|node| (node.id.clone(), state(node)))
            .collect();
    }

    fn called(&mut self, call: u32, request: &Call, due: Option<Timestamp>, at: Timestamp) {
        match request {
            Call::Progress { stage, percent } => {
                self.progress = *percent;
                if self.stages.last().is_none_or(|last| last.name != *stage) {
                    self.close_stage(at);
                    let name = stage.clone();
                    self.stages.push(Stage {
                        name,
                        started_at: at,
                        ended_at: None,
                    });
                }
            }
            Call::Log { level, message } => {
                if self.log.len() == LOG_LINES {
                    self.log.remove(0);
                }
                self.log.push(LogLine {
                    at,
                    level: *level,
                    message: message.clone(),
                });
            }
            Call::Nodes | Call::Now => {}
            write => {
                if let Call::Approval { prompt, .. } = write {
                    self.question = Some(prompt.clone());
                }
                self.waiting_until = due;
                self.open = Some((call, write.clone()));
            }
        }
    }

    fn answered(&mut self, answer: &Answer, event: &Event) {
        self.waiting_until = None;
        self.question = None;
        if let Answer::Verdict(Verdict { findings, .. }) = answer {
            self.findings.clone_from(findings);
        }
        let Some((_, call)) = self.open.take() else {
            return;
        };
        let Answer::Nodewise(failures) = answer else {
            return;
        };
        let done = match call {
            Call::Stage { .. } => Some(NodePhase::Staged),
            Call::Shift { percent, .. } => Some(NodePhase::Shifted { percent }),
            Call::Promote { .. } => Some(NodePhase::Active),
            Call::Revert { .. } => Some(NodePhase::Reverted),
            _ => None,
        };
        for id in call.named() {
            let Some(node) = self.nodes.get_mut(id) else {
                continue;
            };
            let error = failures.iter().find(|failure| failure.node == *id);
            match (error, done) {
                (Some(failure), _) => {
                    node.phase = NodePhase::Failed;
                    node.error = Some(failure.error.clone());
                }
                (None, Some(phase)) => {
                    node.phase = phase;
                    node.error = None;
                }
                (None, None) => continue,
            }
            node.changed(event);
        }
    }

    fn ended(&mut self, outcome: Outcome, failures: &[NodeFailure], event: &Event) {
        self.ended_at = Some(event.at);
        self.failures = failures.to_vec();
        match outcome {
            Outcome::Succeeded => self.progress = 100,
            Outcome::RolledBack | Outcome::Failed => {
                for (id, node) in &mut self.nodes {
                    if let Some(failure) = failures.iter().find(|failure| failure.node == *id) {
                        node.phase = NodePhase::Failed;
                        node.error = Some(failure.error.clone());
                    } else if node.phase != NodePhase::Pending {
                        node.phase = NodePhase::Reverted;
                    } else {
                        continue;
                    }
                    node.changed(event);
                }
            }
        }
    }

    fn close_stage(&mut self, at: Timestamp) {
        if let Some(last) = self.stages.last_mut() {
            last.ended_at.get_or_insert(at);
        }
    }
}

#[cfg(test)]
mod tests;
