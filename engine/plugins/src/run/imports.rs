//! The functions that a component may import. Each passes its call on unchanged.

use hotswap_core::{Answer, Call, CauseKind, NodeId};

use super::cause::{RunTermination, truncate};
use super::convert;
use super::state::InstanceState;
use crate::bindings::hotswap::strategy::analysis::{self, Check, Verdict};
use crate::bindings::hotswap::strategy::control::{self, Decision, Level};
use crate::bindings::hotswap::strategy::fleet::{self, HttpProbe};
use crate::bindings::hotswap::strategy::types::{self, Node, NodeResult};
use crate::limits::LOG_LINE_BYTES;

impl InstanceState {
    /// Makes a call that acts on nodes. Returns one result for each, in their order.
    async fn call_on_nodes(
        &mut self,
        nodes: Vec<String>,
        call: impl FnOnce(Vec<NodeId>) -> Call,
    ) -> wasmtime::Result<Vec<NodeResult>> {
        let call = call(parse_node_ids(&nodes)?);
        let name = call.name();
        match self.call(call).await {
            Answer::Nodewise(failures) => Ok(convert::results_to_wit(nodes, failures)),
            other => Err(unexpected_answer(name, &other)),
        }
    }

    /// Makes a call that has no answer.
    async fn call_without_answer(&mut self, call: Call) -> wasmtime::Result<()> {
        let name = call.name();
        match self.call(call).await {
            Answer::Done => Ok(()),
            other => Err(unexpected_answer(name, &other)),
        }
    }
}

impl types::Host for InstanceState {}

impl fleet::Host for InstanceState {
    async fn nodes(&mut self) -> wasmtime::Result<Vec<Node>> {
        match self.call(Call::Nodes).await {
            Answer::Nodes(nodes) => Ok(nodes.iter().map(convert::node_to_wit).collect()),
            other => Err(unexpected_answer(Call::Nodes.name(), &other)),
        }
    }

    async fn stage(&mut self, nodes: Vec<String>) -> wasmtime::Result<Vec<NodeResult>> {
        self.call_on_nodes(nodes, |nodes| Call::Stage { nodes })
            .await
    }

    async fn shift(
        &mut self,
        nodes: Vec<String>,
        percent: u8,
    ) -> wasmtime::Result<Vec<NodeResult>> {
        self.call_on_nodes(nodes, |nodes| Call::Shift { nodes, percent })
            .await
    }

    async fn promote(&mut self, nodes: Vec<String>) -> wasmtime::Result<Vec<NodeResult>> {
        self.call_on_nodes(nodes, |nodes| Call::Promote { nodes })
            .await
    }

    async fn revert(&mut self, nodes: Vec<String>) -> wasmtime::Result<Vec<NodeResult>> {
        self.call_on_nodes(nodes, |nodes| Call::Revert { nodes })
            .await
    }

    async fn probe(
        &mut self,
        nodes: Vec<String>,
        request: HttpProbe,
    ) -> wasmtime::Result<Vec<NodeResult>> {
        let request = convert::probe_from_wit(request);
        self.call_on_nodes(nodes, |nodes| Call::Probe { nodes, request })
            .await
    }
}

impl analysis::Host for InstanceState {
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
                    "the strategy passes analysis.soak a check of '{}' with a limit that is not a \
                     finite number",
                    truncate(&check.metric)
                );
                return Err(RunTermination::new(CauseKind::Violation, message).into());
            }
        }
        let call = Call::Soak {
            window,
            canary: parse_node_ids(&canary)?,
            baseline: parse_node_ids(&baseline)?,
            checks: checks.into_iter().map(convert::check_from_wit).collect(),
        };
        let name = call.name();
        match self.call(call).await {
            Answer::Verdict(verdict) => Ok(convert::verdict_to_wit(verdict)),
            other => Err(unexpected_answer(name, &other)),
        }
    }
}

impl control::Host for InstanceState {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        match self.call(Call::Now).await {
            Answer::Time(millis) => Ok(millis),
            other => Err(unexpected_answer(Call::Now.name(), &other)),
        }
    }

    async fn sleep(&mut self, span: u64) -> wasmtime::Result<()> {
        self.call_without_answer(Call::Sleep { span }).await
    }

    async fn approval(&mut self, prompt: String, timeout: u64) -> wasmtime::Result<Decision> {
        let call = Call::Approval { prompt, timeout };
        let name = call.name();
        match self.call(call).await {
            Answer::Decision(decision) => Ok(convert::decision_to_wit(decision)),
            other => Err(unexpected_answer(name, &other)),
        }
    }

    async fn progress(&mut self, stage: String, percent: u8) -> wasmtime::Result<()> {
        self.call_without_answer(Call::Progress { stage, percent })
            .await
    }

    async fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        if message.len() > LOG_LINE_BYTES {
            let message = format!(
                "the strategy logs a line of {} bytes; at most {LOG_LINE_BYTES} are allowed",
                message.len()
            );
            return Err(RunTermination::new(CauseKind::Limit, message).into());
        }
        let level = convert::level_from_wit(level);
        self.call_without_answer(Call::Log { level, message }).await
    }
}

/// Parses node ids. A text that is not a valid id is in no plan, so it ends the run as any
/// other node outside the plan does.
fn parse_node_ids(nodes: &[String]) -> wasmtime::Result<Vec<NodeId>> {
    nodes
        .iter()
        .map(|node| {
            node.parse().map_err(|error| {
                let message = format!("the strategy names a node that is not in its plan: {error}");
                RunTermination::new(CauseKind::Violation, message).into()
            })
        })
        .collect()
}

/// Ends the run because the handler answered with the wrong variant. That is a bug in the
/// engine, not in the strategy.
fn unexpected_answer(call: &str, answer: &Answer) -> wasmtime::Error {
    let answer = match answer {
        Answer::Done => "nothing",
        Answer::Nodes(_) => "nodes",
        Answer::Nodewise(_) => "node failures",
        Answer::Verdict(_) => "a verdict",
        Answer::Time(_) => "a time",
        Answer::Decision(_) => "a decision",
    };
    let message = format!(
        "engine bug, please report it: {call} was answered with {answer}, which is the wrong type"
    );
    RunTermination::new(CauseKind::Unavailable, message).into()
}
