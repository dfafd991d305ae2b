//! The state that a driver needs to continue a deployment: a pure fold over the events of its
//! journal.
//!
//! [`ReplayState`] is the whole state. [`JournalTail`] is the part that people change while
//! the deployment runs. [`CallReplay`] answers the calls of a strategy that runs again.

mod signals;

use std::collections::{BTreeSet, VecDeque};

use crate::{
    Answer, Call, CallKind, Cause, CauseKind, CordonedNode, Deadline, Event, EventBody, Header,
    IllegalTransition, Lifecycle, Node, NodeFailure, NodeId, NodeReading, Step, Timestamp,
    Verification,
};

pub use self::signals::{Promotion, Signals};

/// Characters of a call's arguments in a message: the start identifies the call.
const SHOWN_CHARACTERS: usize = 200;

/// The state of a deployment for the engine that drives it, from all events of its journal.
///
/// Events and calls are moved in, not cloned: a journal holds up to ten thousand calls.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayState {
    /// The request.
    pub header: Box<Header>,
    /// The end of the journal, and the signals that are pending there.
    pub tail: JournalTail,
    /// When the engine stops waiting for the approval to start, where it asked for one.
    pub gate_due: Option<Timestamp>,
    /// The nodes of the plan. Empty before it is made.
    pub nodes: Vec<Node>,
    /// The other nodes of the environment when the plan was made, each with the reason why it
    /// was left out.
    pub missing: Vec<NodeFailure>,
    /// The nodes that were left out of the plan because they are cordoned.
    pub cordoned: Vec<CordonedNode>,
    /// When the revert of the nodes began, where it has.
    pub reverting_since: Option<Timestamp>,
    /// The calls of the strategy, in order.
    pub calls: VecDeque<RecordedCall>,
    /// Nodes that some call changed, or may have: an intent counts even without an answer. After
    /// a loss, all of the plan.
    pub touched: BTreeSet<NodeId>,
    /// What the nodes answered before the success was decided. `None` where none was, or the
    /// journal does not tell.
    pub verification: Option<Verification>,
    /// The positions of the request, and of the last event that says that writes were lost.
    pub(crate) positions: (u64, u64),
}

/// A call in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedCall {
    /// The call.
    pub request: Call,
    /// When it was made.
    pub at: Timestamp,
    /// When its wait ends, for a call that waits.
    pub due: Option<Timestamp>,
    /// The counters of the nodes when it was made, for a soak.
    pub readings: Vec<NodeReading>,
    /// The answer. `None` if the engine stopped before it was journaled.
    pub answer: Option<Answer>,
}

/// The end of a journal.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalTail {
    /// The sequence number of the next event.
    pub next_seq: u64,
    /// The deployment's lifecycle after the last event.
    pub lifecycle: Lifecycle,
    /// When the policy ends the deployment.
    pub deadline: Deadline,
    /// What people requested and the driver has not acted on yet.
    pub signals: Signals,
    /// How often the journal says that writes were lost.
    pub losses: u32,
    /// The nodes that the engine has brought back to what was decided for them, or has tried to.
    pub repaired: BTreeSet<NodeId>,
}

/// Answers the calls of a strategy from the journal, as far as it goes.
#[derive(Debug)]
pub struct CallReplay {
    recorded: VecDeque<RecordedCall>,
    next_number: u32,
}

/// What a driver has to do for a call.
#[derive(Debug, PartialEq)]
pub enum ReplayedCall {
    /// Nothing: the journal holds the answer, or the call is a note and has none.
    Answered(RecordedCall),
    /// Execute it, maybe for the second time: the journal holds the intent alone.
    Unanswered {
        /// The number of the call.
        number: u32,
        /// The intent.
        call: RecordedCall,
    },
    /// Journal and execute it: the journal ends before it.
    New {
        /// The number of the call.
        number: u32,
        /// The call.
        request: Call,
    },
}

impl ReplayState {
    /// Folds the events of a journal, or its first ones; see [`Self::apply`] for the rest.
    ///
    /// # Errors
    /// Where there is none, the first is not the request, or one cannot follow those
    /// before it.
    pub fn fold(events: impl IntoIterator<Item = Event>) -> Result<Self, IllegalTransition> {
        let mut events = events.into_iter();
        let first = events
            .next()
            .ok_or_else(|| IllegalTransition::new("the journal is empty"))?;
        let EventBody::Requested(header) = first.body else {
            return Err(IllegalTransition::new("a journal begins with the request"));
        };
        let mut state = Self {
            tail: JournalTail {
                next_seq: first.seq + 1,
                lifecycle: Lifecycle::INITIAL,
                deadline: Deadline::new(&header.policy),
                signals: Signals::default(),
                losses: 0,
                repaired: BTreeSet::new(),
            },
            header,
            gate_due: None,
            nodes: Vec::new(),
            missing: Vec::new(),
            cordoned: Vec::new(),
            reverting_since: None,
            calls: VecDeque::new(),
            touched: BTreeSet::new(),
            verification: None,
            positions: (first.position, 0),
        };
        events.try_for_each(|event| state.apply(event))?;
        Ok(state)
    }

    /// Applies the next event.
    ///
    /// # Errors
    /// Where it is not the next one, or cannot follow. The state is then unchanged.
    pub fn apply(&mut self, event: Event) -> Result<(), IllegalTransition> {
        self.tail.apply(&event)?;
        if self.tail.lifecycle.step == Step::Reverting {
            self.reverting_since.get_or_insert(event.at);
        }
        match event.body {
            EventBody::Gated { due, .. } => self.gate_due = Some(due),
            EventBody::Planned {
                nodes,
                missing,
                cordoned,
            } => {
                self.nodes = nodes;
                self.missing = missing;
                self.cordoned = cordoned;
            }
            EventBody::Called {
                request,
                due,
                readings,
                answer,
                ..
            } => {
                self.touched.extend(request.changed_nodes().iter().cloned());
                self.calls.push_back(RecordedCall {
                    request,
                    at: event.at,
                    due,
                    readings,
                    answer,
                });
            }
            EventBody::Answered { call, answer } => {
                if let Some(recorded) = self.calls.get_mut(call as usize) {
                    recorded.answer = Some(answer);
                }
            }
            EventBody::WritesLost { .. } => {
                self.touched
                    .extend(self.nodes.iter().map(|node| node.id.clone()));
                self.positions.1 = event.position;
            }
            EventBody::Settling(verification) => self.verification = verification,
            EventBody::Requested(_)
            | EventBody::Repairing(_)
            | EventBody::Repaired(_)
            | EventBody::RepairFailed { .. }
            | EventBody::Reverting { .. }
            | EventBody::Decided { .. }
            | EventBody::Paused { .. }
            | EventBody::Resumed { .. }
            | EventBody::AbortRequested { .. }
            | EventBody::PromoteRequested { .. }
            | EventBody::TerminationRequested { .. }
            | EventBody::Ended { .. } => {}
        }
        Ok(())
    }

    /// The nodes that must be reverted if the deployment does not succeed: those that some call
    /// changed, and those that were repaired.
    pub fn changed(&self) -> BTreeSet<NodeId> {
        self.touched.union(&self.tail.repaired).cloned().collect()
    }

    /// Whether the journal may lack events, and does not say so yet, where the store has lost writes
    /// up to position `lost_at`.
    pub fn may_lack_events(&self, lost_at: u64) -> bool {
        let (requested_at, noted_at) = self.positions;
        lost_at > 0 && requested_at <= lost_at && noted_at <= lost_at
    }

    /// Removes and returns the last call, with its number, where it still waits and `is_long`.
    /// Such a wait continues without running the strategy again.
    pub fn take_wait(
        &mut self,
        is_long: impl FnOnce(u32, &RecordedCall) -> bool,
    ) -> Option<(u32, RecordedCall)> {
        let number = u32::try_from(self.calls.len().checked_sub(1)?).ok()?;
        let call = self.calls.pop_back_if(|call| {
            call.answer.is_none() && call.due.is_some() && is_long(number, call)
        })?;
        Some((number, call))
    }
}

impl RecordedCall {
    /// The answer, as the strategy gets it. A note has none in the journal.
    pub fn answer(&self) -> Answer {
        self.answer.clone().unwrap_or(Answer::Done)
    }
}

impl JournalTail {
    /// Applies the next event.
    ///
    /// # Errors
    /// Where it is not the next one, or cannot follow. The tail is then unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), IllegalTransition> {
        if event.seq != self.next_seq {
            let (next, seq) = (self.next_seq, event.seq);
            return Err(IllegalTransition::new(format!(
                "event {next} comes next, and this is {seq}"
            )));
        }
        self.lifecycle = self.lifecycle.next(&event.body)?;
        self.next_seq += 1;
        self.deadline.apply(event.at, &event.body);
        self.signals.apply(&event.body);
        self.apply_repair(&event.body);
        self.losses += u32::from(matches!(event.body, EventBody::WritesLost { .. }));
        Ok(())
    }

    /// Notes which nodes are repaired: an intent counts even without its end.
    pub fn apply_repair(&mut self, body: &EventBody) {
        if let EventBody::Repairing(repair) = body {
            self.repaired.insert(repair.node.clone());
        }
    }

    /// Whether requests that were appended first make the events that a driver was about to append
    /// wrong: as [`Signals::supersede`] says, a success while the deployment is paused, which holds
    /// back all that comes next, or a repair while the nodes are being reverted.
    pub fn supersedes(&self, bodies: &[EventBody]) -> bool {
        let succeeds = |body: &EventBody| matches!(body, EventBody::Settling(_));
        let repairs = |body: &EventBody| {
            matches!(
                body,
                EventBody::Repairing(_) | EventBody::Repaired(_) | EventBody::RepairFailed { .. }
            )
        };
        (self.lifecycle.paused && bodies.iter().any(succeeds))
            || (!self.lifecycle.is_strategy_active() && bodies.iter().any(repairs))
            || self.signals.supersede(bodies)
    }
}

impl CallReplay {
    /// Replays `recorded`, all the calls of a journal.
    pub fn new(recorded: VecDeque<RecordedCall>) -> Self {
        Self {
            recorded,
            next_number: 0,
        }
    }

    /// Compares the next call of the strategy with the journal.
    ///
    /// # Errors
    /// [`CauseKind::Mismatch`] if the journal holds another call at this place.
    pub fn next(&mut self, request: Call) -> Result<ReplayedCall, Cause> {
        let number = self.next_number;
        self.next_number += 1;
        let Some(call) = self.recorded.pop_front() else {
            return Ok(ReplayedCall::New { number, request });
        };
        if call.request != request {
            return Err(mismatch(format!(
                "on replay the strategy made a different call: call {number} is {} in the \
                 journal and was {} now",
                describe(&call.request),
                describe(&request),
            )));
        }
        if call.answer.is_none() && request.kind() != CallKind::Note {
            return Ok(ReplayedCall::Unanswered { number, call });
        }
        Ok(ReplayedCall::Answered(call))
    }

    /// The next call with its answer, where the journal holds both and `request` is that call.
    /// Otherwise nothing has changed: see [`Self::next`].
    pub fn next_answered(&mut self, request: &Call) -> Option<RecordedCall> {
        let answered = self.recorded.pop_front_if(|call| {
            let is_answered = call.answer.is_some() || call.request.kind() == CallKind::Note;
            is_answered && call.request == *request
        })?;
        self.next_number += 1;
        Some(answered)
    }

    /// Whether the journal holds calls that the strategy has not made again yet.
    pub fn is_replaying(&self) -> bool {
        !self.recorded.is_empty()
    }

    /// Checks that a strategy that has returned made every call in the journal.
    ///
    /// # Errors
    /// [`CauseKind::Mismatch`] if it did not.
    pub fn check_finished(&self) -> Result<(), Cause> {
        let Some(call) = self.recorded.front() else {
            return Ok(());
        };
        Err(mismatch(format!(
            "on replay the strategy ended before call {}, which is {} in the journal",
            self.next_number,
            describe(&call.request),
        )))
    }
}

fn mismatch(what: String) -> Cause {
    let message = format!("{what}; the strategy is not deterministic");
    Cause::new(CauseKind::Mismatch, message)
}

/// The call with the start of its arguments, for a message.
fn describe(call: &Call) -> String {
    let arguments = serde_json::to_value(call).ok();
    let arguments = arguments.and_then(|mut value| Some(value.get_mut("arguments")?.take()));
    let text = arguments
        .map(|value| format!(" {value}"))
        .unwrap_or_default();
    let end = text
        .char_indices()
        .nth(SHOWN_CHARACTERS)
        .map_or(text.len(), |(index, _)| index);
    let ellipsis = if end < text.len() { "…" } else { "" };
    format!("{}{}{ellipsis}", call.name(), &text[..end])
}

#[cfg(test)]
mod tests;
