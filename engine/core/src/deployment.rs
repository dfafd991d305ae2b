use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Call, Cause, CordonedNode, Damage, Deadline, Event, EventBody, Finding, Header, HttpProbe,
    IllegalTransition, Level, Lifecycle, NodeFailure, NodeId, Status, Step, Timestamp,
};

mod damaged;
mod end;
mod node_state;
mod nodes;
mod repairs;
mod summary;
mod wait_id;

use end::terminated;
pub use node_state::{KnownVersion, NodePhase, NodeState};
pub use summary::DeploymentSummary;
pub use wait_id::WaitId;

/// The state holds only the last lines of the log. All of them are in the journal.
const LOG_LINES: usize = 200;

/// The state of a deployment: a fold over the events of its journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// The request.
    pub header: Header,
    /// The state machine that decides which events may follow.
    pub lifecycle: Lifecycle,
    /// When the deployment was requested.
    pub created_at: Timestamp,
    /// When the last event was appended.
    pub updated_at: Timestamp,
    /// When the deployment ended.
    pub ended_at: Option<Timestamp>,
    /// 0 to 100, as reported by the strategy; 100 after success.
    pub progress: u8,
    /// The stages that the strategy reported, oldest first.
    pub stages: Vec<Stage>,
    /// The nodes of the plan, by name.
    pub nodes: BTreeMap<NodeId, NodeState>,
    /// The findings of the last soak.
    pub findings: Vec<Finding>,
    /// The last log lines of the strategy, and what the engine says of losses and of nodes that it
    /// brought back, oldest first.
    pub log: Vec<LogLine>,
    /// The last probe of the strategy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe: Option<Box<HttpProbe>>,
    /// The question to a person, until it is decided.
    pub question: Option<String>,
    /// When the policy ends the deployment.
    pub deadline: Deadline,
    /// Why the engine paused the deployment, and what to do. `None` if it is not paused, or
    /// a person paused it.
    #[serde(default)]
    pub pause_reason: Option<String>,
    /// Why the deployment did not succeed.
    pub cause: Option<Cause>,
    /// Nodes that could not be reverted, or did not drop the previous version.
    pub failures: Vec<NodeFailure>,
    /// Nodes that the deployment is for and that were left out of the plan, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<NodeFailure>,
    /// Nodes of the environment that were left out of the plan because a person has cordoned or
    /// drained them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cordoned: Vec<CordonedNode>,
    /// Nodes of the plan that do not run the new version although the deployment succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_updated: Vec<NodeFailure>,
    /// The sequence number of the next event.
    pub next_seq: u64,
    /// Where the journal cannot be read. The state then comes from the events before, and from
    /// later events about the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<Damage>,
    /// The call that has no answer yet, with its number. Only writes wait for an answer.
    open: Option<(u32, Call)>,
    /// When the current wait is over, unless the deadline falls before.
    due: Option<Timestamp>,
}

/// A stage that the strategy reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// The name that the strategy gave it.
    pub name: String,
    /// When the strategy first reported it.
    pub started_at: Timestamp,
    /// When the next stage began, or the strategy ended.
    pub ended_at: Option<Timestamp>,
}

/// A log line of the strategy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// When it was logged.
    pub at: Timestamp,
    /// Its severity.
    pub level: Level,
    /// The message.
    pub message: String,
}

impl Deployment {
    /// The format of stored states. Raise it with every change of this type, of
    /// [`DeploymentSummary`], or of what an event does to them: a stored state of another format
    /// is folded again.
    pub const FORMAT: u32 = 4;

    /// The state after the first event of a journal.
    ///
    /// # Errors
    /// If that is not [`EventBody::Requested`].
    pub fn begin(event: &Event) -> Result<Self, IllegalTransition> {
        let EventBody::Requested(header) = &event.body else {
            return Err(IllegalTransition::new(
                "the first event of a journal must be `requested`",
            ));
        };
        Ok(Self::requested((**header).clone(), event.at))
    }

    fn requested(header: Header, at: Timestamp) -> Self {
        Self {
            deadline: Deadline::new(&header.policy),
            header,
            lifecycle: Lifecycle::INITIAL,
            created_at: at,
            updated_at: at,
            ended_at: None,
            progress: 0,
            stages: Vec::new(),
            nodes: BTreeMap::new(),
            findings: Vec::new(),
            log: Vec::new(),
            last_probe: None,
            question: None,
            cause: None,
            pause_reason: None,
            failures: Vec::new(),
            missing: Vec::new(),
            cordoned: Vec::new(),
            not_updated: Vec::new(),
            next_seq: 1,
            damage: None,
            open: None,
            due: None,
        }
    }

    /// The state after a whole journal.
    ///
    /// # Errors
    /// If there is no event, or one is illegal after those before it.
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

    /// The status that users see.
    pub fn status(&self) -> Status {
        self.lifecycle.status()
    }

    /// When the current wait ends: when it is due, or when the deadline falls, if that is
    /// earlier. `None` if nothing is waited for, or the end of a wait is not known.
    pub fn waiting_until(&self) -> Option<Timestamp> {
        let due = self.due?;
        Some(self.deadline.falls_at().map_or(due, |falls| falls.min(due)))
    }

    /// The nodes that the current call changes for the new version. As many of them at the same
    /// time as the policy allows are unavailable.
    pub fn changing(&self) -> &[NodeId] {
        match &self.open {
            Some((
                _,
                Call::Stage { nodes } | Call::Shift { nodes, .. } | Call::Promote { nodes },
            )) => nodes,
            _ => &[],
        }
    }

    /// Whether the deployment waits: no call changes or probes nodes, and none is about to.
    pub fn is_waiting(&self) -> bool {
        let is_asking = self.lifecycle.step == Step::Asking;
        let is_running = self.lifecycle.step == Step::Running;
        let waits = self.lifecycle.waiting || self.lifecycle.paused;
        (is_asking || is_running && waits) && !self.is_operating()
    }

    /// Whether a call on nodes has no answer yet: it is not known what they run.
    pub fn is_operating(&self) -> bool {
        matches!(&self.open, Some((_, call)) if call.wait().is_none())
    }

    /// Whether a soak is under way.
    pub fn is_soaking(&self) -> bool {
        matches!(self.open, Some((_, Call::Soak { .. })))
    }

    /// Applies one more event.
    ///
    /// # Errors
    /// If the event is not the next one, or is illegal in this state. The state is then
    /// unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalTransition> {
        if event.seq != self.next_seq {
            let (next, seq) = (self.next_seq, event.seq);
            return Err(IllegalTransition::new(format!(
                "expected event {next}, got event {seq}"
            )));
        }
        self.lifecycle = self.lifecycle.next(&event.body)?;
        self.next_seq += 1;
        self.updated_at = event.at;
        self.deadline.apply(event.at, &event.body);
        match &event.body {
            EventBody::Requested(_)
            | EventBody::AbortRequested { .. }
            | EventBody::PromoteRequested { .. } => {}
            EventBody::Paused { reason, .. } => self.pause_reason.clone_from(reason),
            EventBody::Resumed { .. } => self.pause_reason = None,
            EventBody::Gated { prompt, due } => {
                self.question = Some(prompt.clone());
                self.due = Some(*due);
            }
            EventBody::Decided { .. } => {
                self.question = None;
                self.due = None;
            }
            EventBody::Planned {
                nodes,
                missing,
                cordoned,
            } => {
                self.missing.clone_from(missing);
                self.cordoned.clone_from(cordoned);
                self.apply_planned(nodes, event);
            }
            EventBody::WritesLost { message } => {
                self.push_log(event.at, Level::Warn, message.clone());
            }
            EventBody::Repairing(_) => {}
            EventBody::Repaired(repair) => {
                self.push_log(event.at, Level::Warn, repairs::repaired(repair));
            }
            EventBody::RepairFailed {
                repair,
                error,
                attempts,
            } => {
                // Only the first, so that the log has room for others.
                if *attempts == 1 {
                    self.push_log(event.at, Level::Warn, repairs::failed(repair, error));
                }
            }
            EventBody::Called {
                call, request, due, ..
            } => self.apply_called(*call, request, *due, event.at),
            EventBody::Answered { answer, .. } => self.apply_answered(answer, event),
            EventBody::Settling(_) => self.end_stage(event.at),
            EventBody::Reverting { cause } => self.apply_reverting(cause.clone(), event),
            EventBody::TerminationRequested { by, reason } => {
                if self.lifecycle.step == Step::Reverting {
                    self.apply_reverting(terminated(by, reason.as_deref()), event);
                }
            }
            EventBody::Ended {
                outcome,
                failures,
                not_updated,
            } => self.apply_ended(*outcome, failures, not_updated, event),
        }
        Ok(())
    }

    fn apply_called(&mut self, call: u32, request: &Call, due: Option<Timestamp>, at: Timestamp) {
        match request {
            Call::Progress { stage, percent } => {
                self.progress = *percent;
                if self.stages.last().is_none_or(|last| last.name != *stage) {
                    self.end_stage(at);
                    let name = stage.clone();
                    self.stages.push(Stage {
                        name,
                        started_at: at,
                        ended_at: None,
                    });
                }
            }
            Call::Log { level, message } => {
                self.push_log(at, *level, message.clone());
            }
            Call::Nodes | Call::Now => {}
            write => {
                match write {
                    Call::Approval { prompt, .. } => self.question = Some(prompt.clone()),
                    Call::Probe { request, .. } => self.last_probe = Some(request.clone().into()),
                    _ => {}
                }
                self.due = due;
                self.open = Some((call, write.clone()));
            }
        }
    }

    fn push_log(&mut self, at: Timestamp, level: Level, message: String) {
        if self.log.len() == LOG_LINES {
            self.log.remove(0);
        }
        self.log.push(LogLine { at, level, message });
    }

    fn end_stage(&mut self, at: Timestamp) {
        if let Some(last) = self.stages.last_mut() {
            last.ended_at.get_or_insert(at);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
