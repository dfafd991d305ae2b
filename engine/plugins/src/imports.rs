//! What a component may import: each function is a call, passed on as it is.

use hotswap_core::{Answer, Call, CauseKind, NodeId};

use crate::bindings::hotswap::strategy::analysis::{self, Check, Verdict};
use crate::bindings::hotswap::strategy::control::{self, Decision, Level};
use crate::bindings::hotswap::strategy::fleet::{self, HttpProbe};
use crate::bindings::hotswap::strategy::types::{self, Node, NodeResult};
use crate::convert;
use crate::end::{Ended, cut};
use crate::limits::LOG_LINE;
use crate::state::State;

impl State {
    /// A call that acts on nodes: one result for each, in the order asked.
    async fn nodewise(
        &mut self,
        nodes: Vec<String>,
        call: impl FnOnce(Vec<NodeId>) -> Call,
    ) -> wasmtime::Result<Vec<NodeResult>> {
        let call = call(ids(&nodes)?);
        let name = call.name();
        match self.ask(call).await {
            Answer::Nodewise(failures) => Ok(convert::results(nodes, failures)),
            other => Err(unfit(name, &other)),
        }
    }

    /// A call to which there is nothing to answer.
    async fn done(&mut self, call: Call) -> wasmtime::Result<()> {
        let name = call.name();
        match self.ask(call).await {
            Answer::Done => Ok(()),
            other => Err(unfit(name, &other)),
        }
    }
}

impl types::Host for State {}

impl fleet::Host for State {
    async fn nodes(&mut self) -> wasmtime::Result<Vec<Node>> {
        match self.ask(Call::Nodes).await {
            Answer::Nodes(nodes) => Ok(nodes.iter().map(convert::node).collect()),
            other => Err(unfit(Call::Nodes.name(), &other)),
        }
    }

    async fn stage(&mut self, nodes: Vec<String>) -> wasmtime::Result<Vec<NodeResult>> {
        self.nodewise(nodes, |nodes| Call::Stage { nodes }).await
    }

    async fn shift(
        &mut self,
        nodes: Vec<String>,
        percent: u8,
    ) -> wasmtime::Result<Vec<NodeResult>> {
        self.nodewise(nodes, |nodes| Call::Shift { nodes, percent })
            .await
    }

    async fn promote(&mut self, nodes: Vec<String>) -> wasmtime::Result<Vec<NodeResult>> {
        self.nodewise(nodes, |nodes| Call::Promote { nodes }).await
    }

    async fn revert(&mut self, nodes: Vec<String>) -> wasmtime::Result<Vec<NodeResult>> {
        self.nodewise(nodes, |nodes| Call::Revert { nodes }).await
    }

    async fn probe(
        &mut self,
        nodes: Vec<String>,
        request: HttpProbe,
    ) -> wasmtime::Result<Vec<NodeResult>> {
        let request = convert::probe(request);
        self.nodewise(nodes, |nodes| Call::Probe { nodes, request })
            .await
    }
}

impl analysis::Host for State {
    async fn soak(
        &mut self,
        window: u64,
        canary: Vec<String>,
        baseline: Vec<String>,
        checks: Vec<Check>,
    ) -> wasmtime::Result<Verdict> {
        for check in &checks {
            let bounds = [check.max, check.max_increase, check.min_increase];
            if bounds.into_iter().flatten().any(|bound| !bound.is_finite()) {
                let message = format!(
                    "analysis.soak has a limit of '{}' that is not a finite number",
                    cut(&check.metric)
                );
                return Err(Ended::new(CauseKind::Violation, message).into());
            }
        }
        let call = Call::Soak {
            window,
            canary: ids(&canary)?,
            baseline: ids(&baseline)?,
            checks: checks.into_iter().map(convert::check).collect(),
        };
        let name = call.name();
        match self.ask(call).await {
            Answer::Verdict(verdict) => Ok(convert::verdict(verdict)),
            other => Err(unfit(name, &other)),
        }
    }
}

impl control::Host for State {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        match self.ask(Call::Now).await {
            Answer::Time(millis) => Ok(millis),
            other => Err(unfit(Call::Now.name(), &other)),
        }
    }

    async fn sleep(&mut self, span: u64) -> wasmtime::Result<()> {
        self.done(Call::Sleep { span }).await
    }

    async fn approval(&mut self, prompt: String, timeout: u64) -> wasmtime::Result<Decision> {
        let call = Call::Approval { prompt, timeout };
        let name = call.name();
        match self.ask(call).await {
            Answer::Decision(decision) => Ok(convert::decision(decision)),
            other => Err(unfit(name, &other)),
        }
    }

    async fn progress(&mut self, stage: String, percent: u8) -> wasmtime::Result<()> {
        self.done(Call::Progress { stage, percent }).await
    }

    async fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        if message.len() > LOG_LINE {
            let message = format!(
                "the strategy logs a line of {} bytes: {LOG_LINE} are allowed",
                message.len()
            );
            return Err(Ended::new(CauseKind::Limit, message).into());
        }
        let level = convert::level(level);
        self.done(Call::Log { level, message }).await
    }
}

/// What is no node's name can be in no plan: the run ends as with any other node that is
/// not in its own.
fn ids(nodes: &[String]) -> wasmtime::Result<Vec<NodeId>> {
    nodes
        .iter()
        .map(|node| {
            node.parse().map_err(|error| {
                let message = format!("the strategy names a node that no plan has: {error}");
                Ended::new(CauseKind::Violation, message).into()
            })
        })
        .collect()
}

/// A fault of the engine, not of the strategy; it is told all the same.
fn unfit(call: &str, answer: &Answer) -> wasmtime::Error {
    let answer = match answer {
        Answer::Done => "nothing",
        Answer::Nodes(_) => "nodes",
        Answer::Nodewise(_) => "failures of nodes",
        Answer::Verdict(_) => "a verdict",
        Answer::Time(_) => "a time",
        Answer::Decision(_) => "a decision",
    };
    let message = format!(
        "a fault of the engine, please report it: {call} was answered with {answer}, which does not fit it"
    );
    Ended::new(CauseKind::Unavailable, message).into()
}
