//! Operations on the nodes of a deployment.

use std::fmt;
use std::rc::Rc;

use crate::{Check, Error, Health, Host, Node, NodeResult, Probe, Result, Results, Span, Verdict};

/// The nodes of this deployment, and the operations on them.
///
/// Each call acts on the listed nodes concurrently, within the limits of the environment's
/// policy. A list may hold nodes, references to nodes or ids. An empty list makes no call. A
/// node that is not in the plan ends the deployment.
///
/// ```
/// use hotswap_sdk::testing::ScriptedFleet;
/// use hotswap_sdk::{Check, Probe, Span};
///
/// let script = ScriptedFleet::new(3);
/// let (fleet, nodes) = (script.fleet(), script.nodes());
///
/// fleet.stage(&nodes).all()?;
/// fleet.probe(&nodes, &Probe::get("/health")).all()?;
/// fleet.shift(&nodes, 10).all()?;
/// let checks = [Check::error_rate().max_increase(0.5)];
/// // Both versions answer on all nodes, so the same nodes are canary and baseline.
/// fleet.soak(Span::mins(5), &nodes, &nodes, &checks).passed()?;
/// fleet.promote(&nodes).all()?;
///
/// assert_eq!(script.updated(), ["node-1", "node-2", "node-3"]);
/// # Ok::<(), hotswap_sdk::Error>(())
/// ```
#[derive(Clone)]
pub struct Fleet {
    host: Rc<dyn Host>,
}

/// An operation on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Load the new version beside the active one.
    Stage,
    /// Send a share of the requests to the staged version.
    Shift,
    /// Make the staged version the active one.
    Promote,
    /// Return to the version that was active when the deployment began.
    Revert,
    /// Send a request to the staged version until it answers as expected.
    Probe,
}

impl Fleet {
    /// A fleet whose calls `host` answers. [`Strategy::run`](crate::Strategy::run) gets its
    /// fleet as a parameter.
    #[must_use]
    pub fn new(host: Rc<dyn Host>) -> Self {
        Self { host }
    }

    /// The current state of the nodes, in the order of the plan.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        self.host.nodes()
    }

    /// Stages and promotes: afterwards the new version answers all requests on these nodes.
    ///
    /// # Errors
    /// [`Error::Nodes`] if any node fails. If a node fails to stage, no node is promoted.
    pub fn deploy<N: AsRef<str>>(&self, nodes: &[N]) -> Result {
        self.stage(nodes).all()?;
        self.promote(nodes).all()
    }

    /// Stages and promotes, and goes on over nodes that fail. Returns the nodes that run the
    /// new version now, in the order of `nodes`.
    ///
    /// The engine ends the deployment as soon as more nodes fail than the environment's policy
    /// tolerates, so a strategy need not count them.
    pub fn update<N: AsRef<str>>(&self, nodes: &[N]) -> Vec<String> {
        let staged: Vec<String> = self.stage(nodes).into_succeeded();
        self.promote(&staged).into_succeeded()
    }

    /// Loads the new version beside the active one. It answers no requests yet.
    pub fn stage<N: AsRef<str>>(&self, nodes: &[N]) -> Results {
        self.call(Operation::Stage, nodes, |host, ids| host.stage(ids))
    }

    /// Sends `percent` of the requests of each node to the staged version. More than 100 ends
    /// the deployment.
    pub fn shift<N: AsRef<str>>(&self, nodes: &[N], percent: u8) -> Results {
        self.call(Operation::Shift, nodes, |host, ids| {
            host.shift(ids, percent)
        })
    }

    /// Makes the staged version the active one. A request in flight ends on the version where
    /// it began. The previous version stays loaded until the deployment ends.
    pub fn promote<N: AsRef<str>>(&self, nodes: &[N]) -> Results {
        self.call(Operation::Promote, nodes, |host, ids| host.promote(ids))
    }

    /// Returns to the version that was active when the deployment began. Only a strategy that
    /// continues afterwards needs this: when [`Strategy::run`](crate::Strategy::run) returns an
    /// error, the engine reverts every touched node.
    pub fn revert<N: AsRef<str>>(&self, nodes: &[N]) -> Results {
        self.call(Operation::Revert, nodes, |host, ids| host.revert(ids))
    }

    /// Sends a request directly to the staged version on each node, bypassing the routing,
    /// until it answers as expected or the timeout of the probe has passed.
    pub fn probe<N: AsRef<str>>(&self, nodes: &[N], probe: &Probe) -> Results {
        self.call(Operation::Probe, nodes, |host, ids| host.probe(ids, probe))
    }

    /// Measures the new version on the nodes `canary` for `window`, compares it with the
    /// previous version on the nodes `baseline`, and judges `checks`. A node may be in both
    /// lists: its requests are then attributed to the version that answered them.
    ///
    /// Ends early when a check has certainly failed. Without checks it only waits.
    #[must_use = "a failed verdict has no effect unless it is inspected: `.unless_failed()?`"]
    pub fn soak<N: AsRef<str>>(
        &self,
        window: Span,
        canary: &[N],
        baseline: &[N],
        checks: &[Check],
    ) -> Verdict {
        self.host.soak(window, &ids(canary), &ids(baseline), checks)
    }

    /// Checks that all these nodes still report in.
    ///
    /// # Errors
    /// [`Error::Gone`] with the nodes whose health is critical.
    pub fn ensure_alive<N: AsRef<str>>(&self, nodes: &[N]) -> Result {
        let gone: Vec<String> = self
            .nodes()
            .into_iter()
            .filter(|node| node.health == Health::Critical)
            .filter(|node| nodes.iter().any(|listed| listed.as_ref() == node.id))
            .map(|node| node.id)
            .collect();
        if gone.is_empty() {
            Ok(())
        } else {
            Err(Error::Gone(gone))
        }
    }

    /// The nodes that still report in, in the order of `nodes`. To those that do not, `repeat`
    /// gives their last order again, which changes nothing on a node that has carried it out: a
    /// node that answers counts as alive, and one that does not has failed.
    ///
    /// The engine ends the deployment as soon as more nodes fail than the environment's policy
    /// tolerates, so a strategy need not count them.
    pub fn still_alive<N: AsRef<str>>(
        &self,
        nodes: &[N],
        repeat: impl FnOnce(&[String]) -> Results,
    ) -> Vec<String> {
        let Err(Error::Gone(gone)) = self.ensure_alive(nodes) else {
            return ids(nodes);
        };
        let back = repeat(&gone).into_succeeded();
        let is_alive = |id: &String| !gone.contains(id) || back.contains(id);
        ids(nodes).into_iter().filter(is_alive).collect()
    }

    fn call<N: AsRef<str>>(
        &self,
        operation: Operation,
        nodes: &[N],
        request: impl FnOnce(&dyn Host, &[String]) -> Vec<NodeResult>,
    ) -> Results {
        let results = if nodes.is_empty() {
            Vec::new()
        } else {
            request(&*self.host, &ids(nodes))
        };
        Results::new(operation, results)
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

impl Operation {
    /// Completes the sentence "node-1 …" if the operation failed.
    pub(crate) const fn failure(self) -> &'static str {
        match self {
            Self::Stage => "could not stage the new version",
            Self::Shift => "could not shift requests to the new version",
            Self::Promote => "could not promote the new version",
            Self::Revert => "could not revert to the previous version",
            Self::Probe => "did not answer the probe as expected",
        }
    }
}

/// `stage`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stage => "stage",
            Self::Shift => "shift",
            Self::Promote => "promote",
            Self::Revert => "revert",
            Self::Probe => "probe",
        })
    }
}

fn ids<N: AsRef<str>>(nodes: &[N]) -> Vec<String> {
    nodes.iter().map(|node| node.as_ref().to_owned()).collect()
}
