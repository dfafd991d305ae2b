use std::collections::{BTreeSet, VecDeque};

use hotswap_core::{
    Answer, Call, Cause, DeploymentId, Event, EventBody, Header, Node, NodeId, NodeReading,
    Timestamp,
};
use hotswap_store::{Journal, ReadError};

use crate::tape::Tape;

/// Events read from the store at once: enough that most journals take one read.
const PAGE: usize = 4096;

/// What a journal holds, in the form in which a driver needs it.
pub(crate) struct History {
    pub(crate) header: Header,
    /// The plan, and when it was made.
    pub(crate) plan: Option<(Vec<Node>, Timestamp)>,
    /// When the gate closes.
    pub(crate) gate: Option<Timestamp>,
    /// The calls of the strategy, in order.
    pub(crate) calls: VecDeque<Recorded>,
    /// Nodes that some call has changed, or may have.
    pub(crate) touched: BTreeSet<NodeId>,
    /// Why it is being reverted, and since when.
    pub(crate) reverting: Option<(Cause, Timestamp)>,
}

/// A call that the journal holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recorded {
    pub(crate) request: Call,
    /// When it was made.
    pub(crate) at: Timestamp,
    pub(crate) due: Option<Timestamp>,
    pub(crate) readings: Vec<NodeReading>,
    pub(crate) answer: Option<Answer>,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the journal could not be read")]
    Read(#[source] ReadError),
    #[error("the journal of {0} does not begin with its request")]
    Headless(DeploymentId),
}

impl History {
    /// Reads a journal whole, and lets the tape hear what people have asked for.
    pub(crate) async fn read(
        journal: &dyn Journal,
        deployment: DeploymentId,
        tape: &mut Tape,
    ) -> Result<Self, Error> {
        let first = journal
            .events(deployment, 0, PAGE)
            .await
            .map_err(Error::Read)?;
        let Some(EventBody::Requested(header)) = first.first().map(|event| event.body.clone())
        else {
            return Err(Error::Headless(deployment));
        };
        let mut history = Self {
            header: *header,
            plan: None,
            gate: None,
            calls: VecDeque::new(),
            touched: BTreeSet::new(),
            reverting: None,
        };
        let mut page = first;
        loop {
            let (read, last) = (page.len(), page.last().map(|event| event.seq));
            for event in page {
                tape.heard(&event);
                history.take(event);
            }
            let Some(last) = last.filter(|_| read == PAGE) else {
                return Ok(history);
            };
            page = journal
                .events(deployment, last + 1, PAGE)
                .await
                .map_err(Error::Read)?;
        }
    }

    fn take(&mut self, event: Event) {
        match event.body {
            EventBody::Planned { nodes } => self.plan = Some((nodes, event.at)),
            EventBody::Gated { due, .. } => self.gate = Some(due),
            EventBody::Called {
                request,
                due,
                readings,
                answer,
                ..
            } => {
                self.touched.extend(request.changed_nodes().iter().cloned());
                let at = event.at;
                self.calls.push_back(Recorded {
                    request,
                    at,
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
            EventBody::Reverting { cause } => self.reverting = Some((cause, event.at)),
            _ => {}
        }
    }

    /// The wait that was under way at the journal's end, with the number of its call: it
    /// can be taken up again without running the strategy.
    pub(crate) fn open_wait(&self) -> Option<(u32, &Recorded)> {
        let last = self
            .calls
            .back()
            .filter(|last| last.answer.is_none() && last.due.is_some())?;
        Some((self.calls.len() as u32 - 1, last))
    }
}
