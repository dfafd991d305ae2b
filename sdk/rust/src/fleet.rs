//! What can be done to the nodes.

use std::fmt;
use std::rc::Rc;

use crate::{Check, Error, Health, Host, Node, NodeResult, Probe, Result, Results, Span, Verdict};

/// The nodes of this deployment, and what can be done to them.
///
/// Every call acts on the listed nodes side by side, within the limits of the
/// environment's policy. A list may hold nodes, references to nodes or ids; with an
/// empty one nothing is asked of the engine. A node that is not in the plan ends the
/// deployment.
#[derive(Clone)]
pub struct Fleet {
    host: Rc<dyn Host>,
}

/// What nodes can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// Load the new version beside the active one.
    Stage,
    /// Send a share of the requests to the staged version.
    Shift,
    /// Make the staged version the active one.
    Promote,
    /// Go back to the version from before the deployment.
    Revert,
    /// Have the staged version answer a request.
    Probe,
}

impl Fleet {
    /// A fleet that `host` answers for. Strategies are given theirs.
    #[must_use]
    pub fn new(host: Rc<dyn Host>) -> Self {
        Self { host }
    }

    /// The nodes as they are now, in the order of the plan.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        self.host.nodes()
    }

    /// Stage and promote: the new version answers on these nodes.
    ///
    /// # Errors
    /// [`Error::Nodes`], if any node did not stage, whereupon none is promoted, or if
    /// any did not promote.
    pub fn deploy<N: AsRef<str>>(&self, nodes: &[N]) -> Result {
        self.stage(nodes).all()?;
        self.promote(nodes).all()
    }

    /// Load the new version beside the active one. It answers no request yet.
    pub fn stage<N: AsRef<str>>(&self, nodes: &[N]) -> Results {
        self.ask(Act::Stage, nodes, |host, ids| host.stage(ids))
    }

    /// Send `percent` of each node's requests to the staged version. Over 100 ends the
    /// deployment.
    pub fn shift<N: AsRef<str>>(&self, nodes: &[N], percent: u8) -> Results {
        self.ask(Act::Shift, nodes, |host, ids| host.shift(ids, percent))
    }

    /// Make the staged version the active one. Requests in flight end where they began;
    /// the version before stays loaded until the deployment ends.
    pub fn promote<N: AsRef<str>>(&self, nodes: &[N]) -> Results {
        self.ask(Act::Promote, nodes, |host, ids| host.promote(ids))
    }

    /// Go back to the version that was active when the deployment began. Needed only
    /// by a strategy that goes on afterwards: returning an error reverts every node.
    pub fn revert<N: AsRef<str>>(&self, nodes: &[N]) -> Results {
        self.ask(Act::Revert, nodes, |host, ids| host.revert(ids))
    }

    /// Ask the staged version of each node directly, past all routing, until it answers
    /// as expected or the probe's timeout has passed.
    pub fn probe<N: AsRef<str>>(&self, nodes: &[N], probe: &Probe) -> Results {
        self.ask(Act::Probe, nodes, |host, ids| host.probe(ids, probe))
    }

    /// Watch the new version on the nodes `canary` for `window`, next to what the
    /// version before does on the nodes `baseline`. Where both name a node, its
    /// requests are told apart by the version that answered. Ends early when a check
    /// has certainly failed. Without checks it only waits.
    #[must_use = "a failed verdict is only noticed by looking: `.unless_failed()?`"]
    pub fn soak<N: AsRef<str>>(
        &self,
        window: Span,
        canary: &[N],
        baseline: &[N],
        checks: &[Check],
    ) -> Verdict {
        self.host.soak(window, &ids(canary), &ids(baseline), checks)
    }

    /// Fine if none of these nodes has fallen silent.
    ///
    /// # Errors
    /// [`Error::Gone`], with the nodes whose health is critical.
    pub fn ensure_alive<N: AsRef<str>>(&self, nodes: &[N]) -> Result {
        let gone: Vec<String> = self
            .nodes()
            .into_iter()
            .filter(|node| node.health == Health::Critical)
            .filter(|node| nodes.iter().any(|asked| asked.as_ref() == node.id))
            .map(|node| node.id)
            .collect();
        if gone.is_empty() {
            Ok(())
        } else {
            Err(Error::Gone(gone))
        }
    }

    fn ask<N: AsRef<str>>(
        &self,
        act: Act,
        nodes: &[N],
        call: impl FnOnce(&dyn Host, &[String]) -> Vec<NodeResult>,
    ) -> Results {
        let answers = if nodes.is_empty() {
            Vec::new()
        } else {
            call(&*self.host, &ids(nodes))
        };
        Results::new(act, answers)
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").finish_non_exhaustive()
    }
}

impl Act {
    /// How a sentence about a node that did not do it goes on.
    pub(crate) const fn failure(self) -> &'static str {
        match self {
            Self::Stage => "could not stage the new version",
            Self::Shift => "could not shift requests to the new version",
            Self::Promote => "could not promote the new version",
            Self::Revert => "could not go back to the version before",
            Self::Probe => "did not answer the probe as expected",
        }
    }
}

/// `stage`.
impl fmt::Display for Act {
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
