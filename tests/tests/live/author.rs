use anyhow::Result;
use hotswap_core::{
    Answer, Append, Call, Cause, CauseKind, Clock, Decision, DeploymentId, EventBody, Health,
    Level, Lifecycle, Node, NodeError, NodeFailure, NodeId, Outcome, SystemClock,
};
use hotswap_store::{Journal, Sqlite};
use hotswap_tests::{EMAIL, header};

use crate::story::Turn;

/// Words without end: more than a few of them fill what lies between two processes.
const WORDS: usize = 96 << 10;

/// Writes the journal of one deployment.
pub struct Author {
    pub id: DeploymentId,
    /// Events that have been written.
    pub written: u64,
    lifecycle: Lifecycle,
    calls: u32,
}

impl Author {
    /// Begins a deployment of this module.
    pub async fn begin(store: &Sqlite, module: &str) -> Result<Self> {
        let header = header(module)?;
        let id = header.id;
        store.create(header, SystemClock.now()).await?;
        Ok(Self {
            id,
            written: 1,
            lifecycle: Lifecycle::INITIAL,
            calls: 0,
        })
    }

    /// Writes those turns that can follow, all at once.
    pub async fn write(&mut self, store: &Sqlite, turns: &[Turn], wordy: bool) -> Result<()> {
        let mut bodies = Vec::new();
        for turn in turns {
            let body = self.body(*turn, wordy)?;
            if let Ok(next) = self.lifecycle.next(&body) {
                self.lifecycle = next;
                bodies.push(body);
            }
        }
        self.append(store, bodies).await
    }

    /// Ends it, in one of the ways that there are.
    pub async fn end(&mut self, store: &Sqlite) -> Result<()> {
        let succeeded = EventBody::Ended {
            outcome: Outcome::Succeeded,
            failures: Vec::new(),
        };
        let failures = vec![failure(2)?];
        let failed = EventBody::Ended {
            outcome: Outcome::Failed,
            failures,
        };
        let cause = Cause::new(CauseKind::Abort, "enough");
        let mut bodies = vec![EventBody::Settling, succeeded];
        if self.lifecycle.next(&bodies[0]).is_err() {
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

    fn body(&mut self, turn: Turn, wordy: bool) -> Result<EventBody> {
        self.calls += 1;
        let number = self.calls;
        let mut by = format!("{EMAIL} {number}");
        if wordy {
            by.extend(std::iter::repeat_n('a', WORDS));
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
        Ok(match turn {
            Turn::Gate => EventBody::Gated { prompt: by, due },
            Turn::Plan => EventBody::Planned { nodes: nodes()? },
            Turn::Progress => called(Call::Progress {
                stage: format!("stage {}", number / 7),
                percent: u8::try_from(number % 101)?,
            }),
            Turn::Log => called(Call::Log {
                level: Level::Info,
                message: by,
            }),
            Turn::Stage => called(Call::Stage {
                nodes: vec![node(1)?, node(2)?],
            }),
            Turn::Answer => answered(Vec::new()),
            Turn::Fail => answered(vec![failure(1)?]),
            Turn::Ask => called(Call::Approval {
                prompt: by,
                timeout: 1000,
            }),
            Turn::Decide => {
                let (approved, comment) = (number.is_multiple_of(2), None);
                let decision = Decision {
                    approved,
                    by,
                    comment,
                };
                EventBody::Decided { decision }
            }
            Turn::Pause => EventBody::Paused { by },
            Turn::Resume => EventBody::Resumed { by },
            Turn::Abort => EventBody::AbortRequested { by, reason: None },
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
        })
    };
    (1..=3).map(node).collect()
}

fn failure(number: usize) -> Result<NodeFailure> {
    let error = NodeError::Refused("it is broken".to_owned());
    let node = node(number)?;
    Ok(NodeFailure { node, error })
}
