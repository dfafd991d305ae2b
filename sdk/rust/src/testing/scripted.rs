//! A fleet that follows a script.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use super::Call;
use crate::{
    Control, Decision, Fleet, Health, Judgement, Level, ModuleVersion, Node, NodeError, NodeResult,
    Operation, Plan, Result, Span, Strategy,
};

/// A fleet in memory. Every operation succeeds unless the script says otherwise, and every
/// call is recorded.
///
/// The nodes are named `node-1`, `node-2` and so on, padded with zeros (`node-01`) so that they
/// sort by number. They run `checkout 1.0.0`, and the deployment brings 2.0.0. The clock starts
/// at 0, and only sleeps, soaks and waits for people advance it.
///
/// ```
/// use hotswap_sdk::testing::{Operation, ScriptedFleet};
/// use hotswap_sdk::{Judgement, Span};
///
/// let script = ScriptedFleet::new(12)
///     .with_node("node-03", |node| node.zone = Some("b".to_owned()))
///     .refuse(Operation::Stage, "node-02", "no memory") // each time
///     .dies_after(Operation::Promote, "node-07")
///     .judgement(Judgement::Pass) // of the first soak
///     .judgement(Judgement::Fail) // of the second soak
///     .decision(true, "ann");
///
/// let results = script.fleet().stage(&["node-01", "node-02"]);
/// let failed: Vec<_> = results.failed().map(|(node, _)| node).collect();
/// assert_eq!(failed, ["node-02"]);
/// assert_eq!(script.elapsed(), Span::ZERO);
/// ```
#[derive(Debug)]
pub struct ScriptedFleet {
    pub(super) state: Rc<RefCell<FleetState>>,
}

#[derive(Debug)]
pub(super) struct FleetState {
    pub nodes: Vec<ScriptedNode>,
    pub faults: Vec<Fault>,
    pub judgements: VecDeque<Judgement>,
    pub decisions: VecDeque<Decision>,
    pub clock: Span,
    pub calls: Vec<Call>,
    /// How many nodes the policy allows to fail.
    pub tolerated: usize,
    /// The nodes that failed while a strategy ran. `None` while none runs.
    pub failed: Option<BTreeMap<String, NodeError>>,
}

/// What unwinds a strategy that the engine would stop: the reason.
struct Stopped(String);

#[derive(Debug)]
pub(super) struct ScriptedNode {
    pub node: Node,
    pub staged: bool,
    /// Whether the new version is active.
    pub updated: bool,
    /// What was active before the new version was.
    pub before: Option<ModuleVersion>,
    /// Whether it stopped reporting in: it then answers no order.
    pub dead: bool,
}

/// What goes wrong each time that one operation is requested on one node.
#[derive(Debug)]
pub(super) struct Fault {
    pub operation: Operation,
    pub node: String,
    pub effect: Effect,
}

#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// The operation fails.
    Fails(NodeError),
    /// The operation succeeds, and the node stops reporting in.
    StopsReporting,
}

impl ScriptedFleet {
    /// A fleet of healthy nodes.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        let width = nodes.to_string().len();
        let nodes = (1..=nodes)
            .map(|number| ScriptedNode {
                node: Node {
                    id: format!("node-{number:0width$}"),
                    zone: None,
                    labels: Vec::new(),
                    health: Health::Passing,
                    active: Some(module("1.0.0")),
                },
                staged: false,
                updated: false,
                before: None,
                dead: false,
            })
            .collect();
        let state = FleetState {
            nodes,
            faults: Vec::new(),
            judgements: VecDeque::new(),
            decisions: VecDeque::new(),
            clock: Span::ZERO,
            calls: Vec::new(),
            tolerated: 0,
            failed: None,
        };
        Self {
            state: Rc::new(RefCell::new(state)),
        }
    }

    /// Makes an operation fail on a node with this error, each time.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn fail(self, operation: Operation, node: &str, error: NodeError) -> Self {
        self.add_fault(operation, node, Effect::Fails(error))
    }

    /// Makes an operation fail on a node as if the node did not answer, each time.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn unreachable(self, operation: Operation, node: &str, reason: &str) -> Self {
        self.fail(operation, node, NodeError::Unreachable(reason.to_owned()))
    }

    /// Makes a node refuse an operation, each time.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn refuse(self, operation: Operation, node: &str, reason: &str) -> Self {
        self.fail(operation, node, NodeError::Refused(reason.to_owned()))
    }

    /// Makes an operation fail on a node because the new version fails its health check, each
    /// time.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn unhealthy(self, operation: Operation, node: &str, reason: &str) -> Self {
        self.fail(operation, node, NodeError::Unhealthy(reason.to_owned()))
    }

    /// Makes a node stop reporting in after this operation: its health becomes critical, and it
    /// answers no order any more.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn dies_after(self, operation: Operation, node: &str) -> Self {
        self.add_fault(operation, node, Effect::StopsReporting)
    }

    /// Sets how many nodes the environment's policy allows to fail: none, unless this is called.
    #[must_use]
    pub fn tolerate(self, failures: usize) -> Self {
        self.state.borrow_mut().tolerated = failures;
        self
    }

    /// Changes a node before the run, for example its health, zone or labels.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn with_node(self, node: &str, change: impl FnOnce(&mut Node)) -> Self {
        let mut state = self.state.borrow_mut();
        let found = state
            .nodes
            .iter_mut()
            .find(|scripted| scripted.node.id == node);
        match found {
            Some(scripted) => change(&mut scripted.node),
            None => panic!("the scripted fleet has no node {node:?}"),
        }
        drop(state);
        self
    }

    /// Sets the judgement of the next soak. Call this again for the soak after it.
    ///
    /// A soak without a scripted judgement passes, except that a check without `max` is
    /// inconclusive if there is nothing to compare with: no baseline, and no previous version that
    /// the canary ran before. As in the engine, a soak without checks always
    /// passes; it does not use a scripted judgement up.
    #[must_use]
    pub fn judgement(self, judgement: Judgement) -> Self {
        self.state.borrow_mut().judgements.push_back(judgement);
        self
    }

    /// Sets the decision on the next approval. Call this again for the approval after it. An
    /// approval without a scripted decision times out.
    #[must_use]
    pub fn decision(self, approved: bool, by: &str) -> Self {
        let decision = Decision {
            approved,
            by: by.to_owned(),
            comment: None,
        };
        self.state.borrow_mut().decisions.push_back(decision);
        self
    }

    /// Runs a strategy to its end. As the engine does, stops it at the call by which more nodes
    /// fail than the policy tolerates, and reverts all nodes after an error.
    ///
    /// # Errors
    /// The error that the strategy returns, or why it was stopped. Also if it returns no error,
    /// and more nodes than the policy tolerates do not run the new version.
    ///
    /// # Panics
    /// If the strategy panics, or does what makes the engine end a deployment: it names a node
    /// outside the plan, or a percentage over 100.
    pub fn run<S: Strategy>(&self, config: S::Config) -> Result {
        let plan = Plan {
            deployment: "deployment-1".to_owned(),
            environment: "production".to_owned(),
            module: module("2.0.0"),
            nodes: self.nodes(),
            config,
        };
        self.state.borrow_mut().failed = Some(BTreeMap::new());
        let run = || S::run(&plan, &self.fleet(), &self.control());
        let outcome = match panic::catch_unwind(AssertUnwindSafe(run)) {
            Ok(outcome) => outcome.and_then(|()| self.state.borrow().verify()),
            Err(unwound) => match unwound.downcast::<Stopped>() {
                Ok(stopped) => Err(stopped.0.into()),
                Err(panicked) => panic::resume_unwind(panicked),
            },
        };
        self.state.borrow_mut().failed = None;
        if outcome.is_err() {
            for node in &mut self.state.borrow_mut().nodes {
                node.revert();
            }
        }
        outcome
    }

    /// A handle to the nodes, to test a part of a strategy.
    #[must_use]
    pub fn fleet(&self) -> Fleet {
        Fleet::new(self.host())
    }

    /// A [`Control`], to test a part of a strategy.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(self.host())
    }

    /// The current state of the nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        self.state
            .borrow()
            .nodes
            .iter()
            .map(|scripted| scripted.node.clone())
            .collect()
    }

    /// The ids of the nodes on which the new version is active.
    #[must_use]
    pub fn updated(&self) -> Vec<String> {
        let state = self.state.borrow();
        let updated = state.nodes.iter().filter(|scripted| scripted.updated);
        updated.map(|scripted| scripted.node.id.clone()).collect()
    }

    /// How much time has passed in the fleet.
    #[must_use]
    pub fn elapsed(&self) -> Span {
        self.state.borrow().clock
    }

    /// All calls, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state.borrow().calls.clone()
    }

    /// The calls that change nodes or wait, in order, one line for each.
    #[must_use]
    pub fn transcript(&self) -> Vec<String> {
        let state = self.state.borrow();
        state
            .calls
            .iter()
            .filter(|call| call.acts_or_waits())
            .map(ToString::to_string)
            .collect()
    }

    /// The reported progress, in order: the name of each stage and its percentage.
    #[must_use]
    pub fn stages(&self) -> Vec<(String, u8)> {
        let stage = |call| match call {
            Call::Progress { stage, percent } => Some((stage, percent)),
            _ => None,
        };
        self.calls().into_iter().filter_map(stage).collect()
    }

    /// The logged lines, in order.
    #[must_use]
    pub fn logs(&self) -> Vec<(Level, String)> {
        let log = |call| match call {
            Call::Log { level, message } => Some((level, message)),
            _ => None,
        };
        self.calls().into_iter().filter_map(log).collect()
    }

    fn add_fault(self, operation: Operation, node: &str, effect: Effect) -> Self {
        // Panics on a misspelt node: a test with such a script could not fail.
        let this = self.with_node(node, |_| {});
        let fault = Fault {
            operation,
            node: node.to_owned(),
            effect,
        };
        this.state.borrow_mut().faults.push(fault);
        this
    }

    /// Records a call, and returns the state from which to answer it.
    pub(super) fn record(&self, call: Call) -> RefMut<'_, FleetState> {
        let mut state = self.state.borrow_mut();
        state.calls.push(call);
        state
    }
}

impl FleetState {
    /// Notes which nodes failed. Unwinds the strategy where they are more than the policy
    /// tolerates.
    pub(super) fn record_failures(&mut self, results: &[NodeResult]) {
        let Some(failed) = &mut self.failed else {
            return;
        };
        for result in results {
            if let Err(error) = &result.outcome {
                failed.insert(result.node.clone(), error.clone());
            }
        }
        if failed.len() <= self.tolerated {
            return;
        }
        let names: Vec<_> = failed
            .iter()
            .map(|(node, error)| format!("{node} ({error})"))
            .collect();
        let reason = format!(
            "{} of {} nodes failed: {}; the policy tolerates {}",
            names.len(),
            self.nodes.len(),
            names.join(", "),
            self.tolerated
        );
        // Not a panic: nothing is wrong, so nothing is printed.
        panic::resume_unwind(Box::new(Stopped(reason)));
    }

    /// Checks that the nodes run the new version, except for those that the policy tolerates.
    fn verify(&self) -> Result {
        let not_updated = self.nodes.iter().filter(|node| !node.updated || node.dead);
        let names: Vec<_> = not_updated.map(|node| node.node.id.as_str()).collect();
        if names.len() <= self.tolerated {
            return Ok(());
        }
        let reason = format!(
            "the strategy ended without an error, but {} of {} nodes do not run the new version: \
             {}; the policy tolerates {}",
            names.len(),
            self.nodes.len(),
            names.join(", "),
            self.tolerated
        );
        Err(reason.into())
    }
}

impl ScriptedNode {
    pub(super) fn update(&mut self) {
        self.staged = false;
        let before = self.node.active.replace(module("2.0.0"));
        if !std::mem::replace(&mut self.updated, true) {
            self.before = before;
        }
    }

    pub(super) fn revert(&mut self) {
        self.staged = false;
        if std::mem::take(&mut self.updated) {
            self.node.active = self.before.take();
        }
    }
}

pub(super) fn module(version: &str) -> ModuleVersion {
    let digit = &version[..1];
    ModuleVersion {
        name: "checkout".to_owned(),
        version: version.to_owned(),
        digest: format!("sha256:{}", digit.repeat(64)),
    }
}
