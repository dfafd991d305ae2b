//! The fleet that follows a script.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;

use super::Call;
use crate::{
    Act, Control, Decision, Fleet, Health, Judgement, Level, ModuleVersion, Node, NodeError, Plan,
    Result, Span, Strategy,
};

/// A fleet in memory that does what it is asked, except where the script says
/// otherwise, and remembers every call.
///
/// Its nodes are `node-1`, `node-2` and so on, with as many digits as the last one
/// needs, so that they sort as they count; they run `checkout 1.0.0` and get 2.0.0.
/// Its clock begins at 0 and moves only by sleeping, soaking and waiting for people.
#[derive(Debug)]
pub struct ScriptedFleet {
    pub(super) state: Rc<RefCell<State>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub members: Vec<Member>,
    pub faults: Vec<Fault>,
    pub judgements: VecDeque<Judgement>,
    pub decisions: VecDeque<Decision>,
    pub clock: Span,
    pub calls: Vec<Call>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub node: Node,
    pub staged: bool,
    pub updated: bool,
}

/// What goes wrong on one node whenever it is asked one thing.
#[derive(Debug)]
pub(super) struct Fault {
    pub act: Act,
    pub node: String,
    pub effect: Effect,
}

#[derive(Debug)]
pub(super) enum Effect {
    /// It does not do it.
    Fails(NodeError),
    /// It does it, and falls silent.
    Dies,
}

impl ScriptedFleet {
    /// So many nodes, all of them well.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        let width = nodes.to_string().len();
        let members = (1..=nodes)
            .map(|number| Member {
                node: Node {
                    id: format!("node-{number:0width$}"),
                    zone: None,
                    labels: Vec::new(),
                    health: Health::Passing,
                    active: Some(module("1.0.0")),
                },
                staged: false,
                updated: false,
            })
            .collect();
        let state = State {
            members,
            faults: Vec::new(),
            judgements: VecDeque::new(),
            decisions: VecDeque::new(),
            clock: Span::ZERO,
            calls: Vec::new(),
        };
        Self {
            state: Rc::new(RefCell::new(state)),
        }
    }

    /// Whenever this node is asked to do this, it fails so.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn fail(self, act: Act, node: &str, error: NodeError) -> Self {
        self.fault(act, node, Effect::Fails(error))
    }

    /// Whenever this node is asked to do this, it does not answer.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn unreachable(self, act: Act, node: &str, reason: &str) -> Self {
        self.fail(act, node, NodeError::Unreachable(reason.to_owned()))
    }

    /// Whenever this node is asked to do this, it will not.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn refuse(self, act: Act, node: &str, reason: &str) -> Self {
        self.fail(act, node, NodeError::Refused(reason.to_owned()))
    }

    /// Whenever this node is asked to do this, the new version then fails its health
    /// check.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn unhealthy(self, act: Act, node: &str, reason: &str) -> Self {
        self.fail(act, node, NodeError::Unhealthy(reason.to_owned()))
    }

    /// When this node has done this, it falls silent: its health is critical.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn dies_after(self, act: Act, node: &str) -> Self {
        self.fault(act, node, Effect::Dies)
    }

    /// The node's health, its zone, its labels: change what you like before the run.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    pub fn with_node(self, node: &str, change: impl FnOnce(&mut Node)) -> Self {
        let mut state = self.state.borrow_mut();
        let member = state
            .members
            .iter_mut()
            .find(|member| member.node.id == node);
        match member {
            Some(member) => change(&mut member.node),
            None => panic!("the scripted fleet has no node {node:?}"),
        }
        drop(state);
        self
    }

    /// What the next soak comes to; call it again for the one after. Without a script
    /// soaks pass, and checks that have nothing to compare with are inconclusive.
    /// A soak without checks passes whatever the script says, as in the engine.
    #[must_use]
    pub fn judgement(self, judgement: Judgement) -> Self {
        self.state.borrow_mut().judgements.push_back(judgement);
        self
    }

    /// Who approves or refuses when next asked; call it again for the time after.
    /// Without a script nobody decides, and the timeout passes.
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

    /// Run a strategy to its end. If it gives up, every node goes back to the version
    /// before, as the engine would see to.
    ///
    /// # Errors
    /// The strategy's own.
    ///
    /// # Panics
    /// Where the engine would end the deployment: a node that is not in the plan, or
    /// more than 100 %. And where the strategy does.
    pub fn run<S: Strategy>(&self, config: S::Config) -> Result {
        let plan = Plan {
            deployment: "deployment-1".to_owned(),
            environment: "production".to_owned(),
            module: module("2.0.0"),
            nodes: self.nodes(),
            config,
        };
        let outcome = S::run(&plan, &self.fleet(), &self.control());
        if outcome.is_err() {
            for member in &mut self.state.borrow_mut().members {
                member.go_back();
            }
        }
        outcome
    }

    /// A handle to the nodes, for tests of parts of a strategy.
    #[must_use]
    pub fn fleet(&self) -> Fleet {
        Fleet::new(self.host())
    }

    /// A handle to time, people and progress, for tests of parts of a strategy.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(self.host())
    }

    /// The nodes as they are now.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        self.state
            .borrow()
            .members
            .iter()
            .map(|member| member.node.clone())
            .collect()
    }

    /// The ids of the nodes on which the new version is active.
    #[must_use]
    pub fn updated(&self) -> Vec<String> {
        let state = self.state.borrow();
        let updated = state.members.iter().filter(|member| member.updated);
        updated.map(|member| member.node.id.clone()).collect()
    }

    /// How much time has passed.
    #[must_use]
    pub fn elapsed(&self) -> Span {
        self.state.borrow().clock
    }

    /// Every call, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state.borrow().calls.clone()
    }

    /// The calls that act or wait, in order, one line each.
    #[must_use]
    pub fn transcript(&self) -> Vec<String> {
        let state = self.state.borrow();
        state
            .calls
            .iter()
            .filter(|call| call.is_act())
            .map(ToString::to_string)
            .collect()
    }

    /// What progress was reported, in order: the stage's name and the percentage.
    #[must_use]
    pub fn stages(&self) -> Vec<(String, u8)> {
        let stage = |call| match call {
            Call::Progress { stage, percent } => Some((stage, percent)),
            _ => None,
        };
        self.calls().into_iter().filter_map(stage).collect()
    }

    /// What was logged, in order.
    #[must_use]
    pub fn logs(&self) -> Vec<(Level, String)> {
        let log = |call| match call {
            Call::Log { level, message } => Some((level, message)),
            _ => None,
        };
        self.calls().into_iter().filter_map(log).collect()
    }

    fn fault(self, act: Act, node: &str, effect: Effect) -> Self {
        // A misspelt node would make a test that cannot fail.
        let this = self.with_node(node, |_| {});
        let fault = Fault {
            act,
            node: node.to_owned(),
            effect,
        };
        this.state.borrow_mut().faults.push(fault);
        this
    }

    pub(super) fn begin(&self, call: Call) -> RefMut<'_, State> {
        let mut state = self.state.borrow_mut();
        state.calls.push(call);
        state
    }
}

impl Member {
    pub(super) fn update(&mut self) {
        self.staged = false;
        self.updated = true;
        self.node.active = Some(module("2.0.0"));
    }

    pub(super) fn go_back(&mut self) {
        self.staged = false;
        if std::mem::take(&mut self.updated) {
            self.node.active = Some(module("1.0.0"));
        }
    }
}

fn module(version: &str) -> ModuleVersion {
    let digit = &version[..1];
    ModuleVersion {
        name: "checkout".to_owned(),
        version: version.to_owned(),
        digest: format!("sha256:{}", digit.repeat(64)),
    }
}
