use anyhow::Result;
use hotswap_core::{
    Answer, Append, Call, Cause, CauseKind, Clock, Decision, DeploymentId, EventBody, Health,
    Level, Lifecycle, Node, NodeError, NodeFailure, NodeId, Outcome, SystemClock,
};
use hotswap_store::{Journal, Sqlite};
use hotswap_tests::{EMAIL, sample_header};

use crate::scenario::EventKind;

/// A few texts of this length fill the socket buffers between two processes.
const LONG_TEXT_BYTES: usize = 96 << 10;

/// Writes the journal of one deployment, in place of an engine.
pub struct JournalAuthor {
    pub id: DeploymentId,
    /// Number of events in the journal.
    pub written: u64,
    lifecycle: Lifecycle,
    calls: u32,
}

impl JournalAuthor {
    /// Creates a deployment of this module.
    pub async fn create(store: &Sqlite, module: &str) -> Result<Self> {
        let header = sample_header(module)?;
        let id = header.id;
        store.create(header, SystemClock.now()).await?;
        Ok(Self {
            id,
            written: 1,
            lifecycle: Lifecycle::INITIAL,
            calls: 0,
        })
    }

    /// Appends events of these kinds, all at once. Skips those that are illegal in the state.
    pub async fn write(
        &mut self,
        store: &Sqlite,
        kinds: &[EventKind],
        long_text: bool,
    ) -> Result<()> {
        let mut bodies = Vec::new();
        for kind in kinds {
            let body = self.body(*kind, long_text)?;
            if let Ok(next) = self.lifecycle.append(&body) {
                self.lifecycle = next;
                bodies.push(body);
            }
        }
        self.append(store, bodies).await
    }

    /// Ends the deployment: as succeeded if it can still settle, else as failed.
    pub async fn end(&mut self, store: &Sqlite) -> Result<()> {
        let succeeded = EventBody::Ended {
            outcome: Outcome::Succeeded,
            failures: Vec::new(),
            not_updated: Vec::new(),
        };
        let failures = vec![failure(2)?];
        let failed = EventBody::Ended {
            outcome: Outcome::Failed,
            failures,
            not_updated: Vec::new(),
        };
        let cause = Cause::new(CauseKind::Abort, "no longer wanted");
        let mut bodies = vec![EventBody::Settling(None), succeeded];
        if self.lifecycle.append(&bodies[0]).is_err() {
            bodies = vec![EventBody::Reverting { cause }, failed];
        }
        self.append(store, bodies).await
    }

    async fn append(&mut self, store: &Sqlite, bodies: Vec<EventBody>) -> Result<()> {
        let append = Append {
            deployment: self.id,
            expected: self.written,
            fence: None,
            at: SystemClock.now(),
            bodies,
        };
        self.written = store.append(append).await?.next_seq;
        Ok(())
    }

    fn body(&mut self, kind: EventKind, long_text: bool) -> Result<EventBody> {
        self.calls += 1;
        let number = self.calls;
        let mut by = format!("{EMAIL} {number}");
        if long_text {
            by.extend(std::iter::repeat_n('a', LONG_TEXT_BYTES));
        }
        let due = SystemClock.now();
        let called = |request| EventBody::Called {
            call: number,
            request,
            due: None,
            readings: Vec::new(),
            answer: None,
        };
        let answered = |failures| EventBody::Answered {
            call: number,
            answer: Answer::Nodewise(failures),
        };
        Ok(match kind {
            EventKind::Gate => EventBody::Gated { prompt: by, due },
            EventKind::Plan => EventBody::Planned {
                nodes: nodes()?,
                missing: Vec::new(),
                cordoned: Vec::new(),
            },
            EventKind::Progress => called(Call::Progress {
                stage: format!("stage {}", number / 7),
                percent: u8::try_from(number % 101)?,
            }),
            EventKind::Log => called(Call::Log {
                level: Level::Info,
                message: by,
            }),
            EventKind::Stage => called(Call::Stage {
                nodes: vec![node(1)?, node(2)?],
            }),
            EventKind::Answer => answered(Vec::new()),
            EventKind::Fail => answered(vec![failure(1)?]),
            EventKind::RequestApproval => called(Call::Approval {
                prompt: by,
                timeout: 1000,
            }),
            EventKind::Decide => {
                let (approved, comment) = (number.is_multiple_of(2), None);
                let decision = Decision {
                    approved,
                    by,
                    comment,
                };
                EventBody::Decided { decision }
            }
            EventKind::Sleep => called(Call::Sleep { span: 3_600_000 }),
            EventKind::Promote => {
                let (reason, full) = (None, number.is_multiple_of(2));
                EventBody::PromoteRequested { by, reason, full }
            }
            EventKind::Pause => EventBody::Paused { by, reason: None },
            EventKind::Resume => EventBody::Resumed { by },
            EventKind::Abort => EventBody::AbortRequested { by, reason: None },
        })
    }
}

fn node(number: usize) -> Result<NodeId> {
    Ok(format!("node-{number}").parse()?)
}

fn nodes() -> Result<Vec<Node>> {
    let node = |number| {
        Ok(Node {
            id: node(number)?,
            zone: None,
            labels: Default::default(),
            health: Health::Passing,
            active: None,
            fault: None,
        })
    };
    (1..=3).map(node).collect()
}

fn failure(number: usize) -> Result<NodeFailure> {
    let error = NodeError::Refused("the disk is full".to_owned());
    let node = node(number)?;
    Ok(NodeFailure { node, error })
}
