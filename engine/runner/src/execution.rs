use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{
    Answer, Call, CallKind, Cause, CauseKind, Check, Decision, EventBody, Header, Health,
    ModuleVersion, Node, NodeId,
};
use hotswap_plugins::{CallHandler, Stop};

use crate::acts::{Acts, side_by_side};
use crate::history::Recorded;
use crate::soak::{self, Soak};
use crate::supervisor::Shared;
use crate::tape::{self, Tape};
use crate::wait::{Cut, Guard};

/// Notes that are collected before they are written without a write call: a strategy that
/// only logs must not fill the memory, and watchers want to see what it says.
const NOTES: usize = 64;
/// What is told of a call in a message: the start of it tells which one it is.
const SHOWN: usize = 200;

/// Answers the calls of one run of a strategy: those that the journal holds from there,
/// the others by doing what they ask.
pub(crate) struct Execution<'a> {
    shared: &'a Shared,
    guard: &'a Guard,
    header: &'a Header,
    plan: &'a [Node],
    known: HashSet<&'a NodeId>,
    tape: &'a mut Tape,
    recorded: VecDeque<Recorded>,
    next_call: u32,
    bytes: usize,
    /// Nodes that did not do as asked, ever.
    failed: BTreeSet<NodeId>,
    parked: Option<Parked>,
    broken: Option<tape::Error>,
}

/// What a deployment waits for without an instance.
pub(crate) enum Parked {
    /// Somebody resumes it.
    Held,
    /// A call that waits is over.
    Call(u32, Box<Recorded>),
}

impl<'a> Execution<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        guard: &'a Guard,
        header: &'a Header,
        plan: &'a [Node],
        tape: &'a mut Tape,
        recorded: VecDeque<Recorded>,
    ) -> Self {
        Self {
            shared,
            guard,
            header,
            plan,
            known: plan.iter().map(|node| &node.id).collect(),
            tape,
            recorded,
            next_call: 0,
            bytes: 0,
            failed: BTreeSet::new(),
            parked: None,
            broken: None,
        }
    }

    /// Why the run was suspended, if it was.
    pub(crate) fn suspended(&mut self) -> Result<Option<Parked>, tape::Error> {
        match self.broken.take() {
            Some(error) => Err(error),
            None => Ok(self.parked.take()),
        }
    }

    /// Whether a strategy that says it has succeeded may have.
    pub(crate) fn conclude(&self) -> Result<(), Cause> {
        if let Some(recorded) = self.recorded.front() {
            let message = format!(
                "on replay the strategy ended before call {}, which the journal holds as {}: \
                 it is not deterministic",
                self.next_call,
                show(&recorded.request),
            );
            return Err(Cause::new(CauseKind::Mismatch, message));
        }
        self.tolerate()
    }

    async fn replay(
        &mut self,
        number: u32,
        request: Call,
        recorded: Recorded,
    ) -> Result<Answer, Stop> {
        if recorded.request != request {
            let message = format!(
                "on replay the strategy asked something else: call {number} is {} in the journal, \
                 and was now {}: it is not deterministic",
                show(&recorded.request),
                show(&request),
            );
            return Err(Stop::Fail(Cause::new(CauseKind::Mismatch, message)));
        }
        match recorded.answer {
            Some(answer) => {
                self.note_failures(&answer);
                Ok(answer)
            }
            None if request.kind() == CallKind::Note => Ok(Answer::Done),
            None => self.finish(number, recorded).await,
        }
    }

    async fn live(&mut self, number: u32, request: Call) -> Result<Answer, Stop> {
        self.admit(&request).map_err(Stop::Fail)?;
        self.hold().await?;
        match request.kind() {
            CallKind::Note => {
                self.tape.push(called(number, request));
                if self.tape.pending() >= NOTES {
                    self.flush().await?;
                }
                Ok(Answer::Done)
            }
            CallKind::Read => {
                let answer = self.read(&request).await?;
                self.tape.push(EventBody::Called {
                    call: number,
                    request,
                    due: None,
                    readings: Vec::new(),
                    answer: Some(answer.clone()),
                });
                Ok(answer)
            }
            CallKind::Write => {
                self.tolerate().map_err(Stop::Fail)?;
                let recorded = self.intend(number, request).await?;
                self.finish(number, recorded).await
            }
        }
    }

    /// Refuses what no plan allows.
    fn admit(&self, request: &Call) -> Result<(), Cause> {
        let name = request.name();
        let violation = |what: String| Err(Cause::new(CauseKind::Violation, what));
        if let Some(foreign) = request
            .named_nodes()
            .find(|node| !self.known.contains(node))
        {
            return violation(format!(
                "the strategy called {name} on node '{foreign}', which is not in its plan"
            ));
        }
        match request {
            Call::Soak { checks, .. } if !checks.iter().all(Check::is_finite) => violation(
                format!("the strategy called {name} with a limit that is not a number"),
            ),
            Call::Shift { percent, .. } | Call::Progress { percent, .. } if *percent > 100 => {
                violation(format!(
                    "the strategy called {name} with {percent} %: a percentage is at most 100"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Counts a call against what a deployment may use, replayed or not.
    fn count(&mut self, request: &Call) -> Result<(), Cause> {
        let limits = &self.shared.limits;
        self.bytes = self.bytes.saturating_add(weight(request));
        let exceeded = if self.next_call > limits.calls {
            format!("made more than {} calls", limits.calls)
        } else if self.bytes > limits.bytes {
            format!("made calls of more than {} bytes together", limits.bytes)
        } else {
            return Ok(());
        };
        let message = format!("the strategy {exceeded}, the limit for one deployment");
        Err(Cause::new(CauseKind::Limit, message))
    }

    /// Ends the deployment once more nodes have failed than the policy tolerates.
    fn tolerate(&self) -> Result<(), Cause> {
        let policy = &self.header.policy;
        let tolerated = policy.tolerated_failures.of(self.plan.len());
        if self.failed.len() <= tolerated {
            return Ok(());
        }
        let names: Vec<_> = self.failed.iter().take(5).map(NodeId::as_str).collect();
        let more = self.failed.len() - names.len();
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let message = format!(
            "{} of {} nodes failed ({}{more}), and the policy of {} tolerates {tolerated}",
            self.failed.len(),
            self.plan.len(),
            names.join(", "),
            self.header.environment,
        );
        Err(Cause::new(CauseKind::Policy, message))
    }

    /// Waits while the deployment is paused, and hears what people asked for.
    async fn hold(&mut self) -> Result<(), Stop> {
        let checked = self.guard.check(self.tape);
        self.uncut(checked)?;
        if !self.tape.is_paused() {
            return Ok(());
        }
        self.flush().await?;
        let due = self.shared.clock.now() + self.shared.limits.park_after;
        let resumed = |tape: &mut Tape| (!tape.is_paused()).then_some(());
        let heard = self.guard.hear(self.tape, due, resumed).await;
        match self.uncut(heard)? {
            Some(()) => Ok(()),
            None => {
                self.parked = Some(Parked::Held);
                Err(Stop::Suspend)
            }
        }
    }

    async fn read(&mut self, request: &Call) -> Result<Answer, Stop> {
        if *request == Call::Now {
            return Ok(Answer::Time(self.shared.clock.now().millis()));
        }
        let (environment, module) = (&self.header.environment, &self.header.module.name);
        let asked = self.shared.fleet.nodes(environment, module);
        let asked = self.guard.wait(self.tape, asked).await;
        let mut found = self.uncut(asked)?.unwrap_or_default();
        let now = self.plan.iter().map(|planned| {
            let at = found.iter().position(|node| node.id == planned.id);
            at.map_or_else(
                || Node {
                    health: Health::Critical,
                    active: None,
                    ..planned.clone()
                },
                |at| found.swap_remove(at),
            )
        });
        Ok(Answer::Nodes(now.collect()))
    }

    /// Journals what is about to be done.
    async fn intend(&mut self, number: u32, request: Call) -> Result<Recorded, Stop> {
        let begun = soak::begin(
            self.shared.fleet.as_ref(),
            &self.header.module.name,
            &request,
        );
        let begun = self.guard.wait(self.tape, begun).await;
        let readings = self.uncut(begun)?;
        let at = self.shared.clock.now();
        let due = match &request {
            Call::Sleep { span } => Some(*span),
            Call::Soak { window, .. } => Some(*window),
            Call::Approval { timeout, .. } => Some(*timeout),
            _ => None,
        };
        let due = due.map(|span| at + Duration::from_millis(span));
        self.tape.push(EventBody::Called {
            call: number,
            request: request.clone(),
            due,
            readings: readings.clone(),
            answer: None,
        });
        self.flush().await?;
        Ok(Recorded {
            request,
            at,
            due,
            readings,
            answer: None,
        })
    }

    /// Does what a journaled intent says, or goes on with it after a crash.
    async fn finish(&mut self, number: u32, recorded: Recorded) -> Result<Answer, Stop> {
        if let Some(due) = recorded.due
            && due.since(self.shared.clock.now()) > self.shared.limits.park_after
        {
            self.parked = Some(Parked::Call(number, Box::new(recorded)));
            return Err(Stop::Suspend);
        }
        let done = if recorded.due.is_some() {
            wait_out(
                self.shared,
                self.guard,
                &self.header.module,
                recorded,
                self.tape,
            )
            .await
        } else {
            let policy = &self.header.policy;
            let acts = Acts {
                fleet: self.shared.fleet.as_ref(),
                deployment: self.header.id,
                module: &self.header.module,
                plan: self.plan,
                side_by_side: side_by_side(policy, self.plan.len(), self.shared.limits.fan_out),
                fence: self.tape.fence(),
            };
            let operation = format!("{}.{number}", self.header.id);
            self.guard
                .wait(self.tape, acts.carry_out(&recorded.request, &operation))
                .await
        };
        let answer = self.uncut(done)?;
        self.note_failures(&answer);
        self.tape.push(EventBody::Answered {
            call: number,
            answer: answer.clone(),
        });
        Ok(answer)
    }

    fn note_failures(&mut self, answer: &Answer) {
        if let Answer::Nodewise(failures) = answer {
            self.failed
                .extend(failures.iter().map(|failure| failure.node.clone()));
        }
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        let flushed = self.tape.flush().await.map_err(Cut::Tape);
        self.uncut(flushed)
    }

    fn uncut<T>(&mut self, result: Result<T, Cut>) -> Result<T, Stop> {
        result.map_err(|cut| match cut {
            Cut::Fail(cause) => Stop::Fail(cause),
            Cut::Tape(error) => {
                self.broken = Some(error);
                Stop::Suspend
            }
        })
    }
}

#[async_trait]
impl CallHandler for Execution<'_> {
    async fn call(&mut self, request: Call) -> Result<Answer, Stop> {
        let number = self.next_call;
        self.next_call += 1;
        self.count(&request).map_err(Stop::Fail)?;
        match self.recorded.pop_front() {
            Some(recorded) => self.replay(number, request, recorded).await,
            None => self.live(number, request).await,
        }
    }
}

/// Waits for the end of a call that waits, and answers it.
pub(crate) async fn wait_out(
    shared: &Shared,
    guard: &Guard,
    module: &ModuleVersion,
    recorded: Recorded,
    tape: &mut Tape,
) -> Result<Answer, Cut> {
    let Recorded {
        request,
        at,
        due,
        readings,
        ..
    } = recorded;
    let due = due.unwrap_or(at);
    match request {
        Call::Approval { .. } => {
            let decided = guard.hear(tape, due, Tape::take_decision).await?;
            Ok(Answer::Decision(decided.unwrap_or(Decision {
                approved: false,
                by: String::new(),
                comment: Some("nobody decided in time".to_owned()),
            })))
        }
        soak @ Call::Soak { .. } => {
            let Some(mut soak) = Soak::resume(soak, module, (at, due), readings) else {
                return Ok(Answer::Done);
            };
            let run = soak.run(shared.fleet.as_ref(), shared.clock.as_ref());
            Ok(Answer::Verdict(guard.wait(tape, run).await?))
        }
        _ => {
            guard.wait(tape, guard.sleep_until(due)).await?;
            Ok(Answer::Done)
        }
    }
}

fn called(call: u32, request: Call) -> EventBody {
    EventBody::Called {
        call,
        request,
        due: None,
        readings: Vec::new(),
        answer: None,
    }
}

fn show(call: &Call) -> String {
    let arguments = serde_json::to_value(call).ok();
    let arguments = arguments.and_then(|mut value| Some(value.get_mut("arguments")?.take()));
    let text = arguments
        .map(|value| format!(" {value}"))
        .unwrap_or_default();
    let cut = text
        .char_indices()
        .nth(SHOWN)
        .map_or(text.len(), |(at, _)| at);
    let more = if cut < text.len() { "…" } else { "" };
    format!("{}{}{more}", call.name(), &text[..cut])
}

/// About what a call takes in the journal, in bytes.
fn weight(call: &Call) -> usize {
    let names: usize = call.named_nodes().map(|node| node.as_str().len() + 3).sum();
    let text = match call {
        Call::Log { message, .. } => message.len(),
        Call::Progress { stage, .. } => stage.len(),
        Call::Approval { prompt, .. } => prompt.len(),
        Call::Probe { request, .. } => {
            request.path.len() + request.expect_body.as_ref().map_or(0, String::len)
        }
        Call::Soak { checks, .. } => checks.iter().map(|check| check.metric.len() + 60).sum(),
        _ => 0,
    };
    64 + names + text
}
