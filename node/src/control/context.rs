use std::sync::Arc;

use hotswap_common::{CurrentSecret, RecentLog};
use hotswap_core::NodeId;
use hotswap_protocol::{Problem, Starts};
use http::StatusCode;

use super::synthetic_traffic::SyntheticTraffic;
use super::{Modules, Reporter};
use crate::addresses::Addresses;
use crate::current_engine::CurrentEngine;
use crate::problem::problem;

/// What the operations of the control API use.
#[derive(Debug, Clone)]
pub(crate) struct ControlContext {
    pub(crate) id: NodeId,
    /// Random id of this start of the node.
    pub(crate) boot: String,
    /// How often the node has started.
    pub(crate) starts: Starts,
    /// The token that requests must carry.
    pub(crate) token: CurrentSecret,
    /// Whether requests with the token must also come with a client certificate.
    pub(crate) wants_certificate: bool,
    pub(crate) modules: Modules,
    /// What the node says to an engine that asks.
    pub(crate) reporter: Reporter,
    /// How others reach the node.
    pub(crate) addresses: Addresses,
    /// Learns the URL of an engine that asks.
    pub(crate) engine: CurrentEngine,
    /// What the node sends to its own modules.
    pub(crate) synthetic: Arc<SyntheticTraffic>,
    /// The end of the log.
    pub(crate) log: RecentLog,
}

impl ControlContext {
    /// Checks that a request is for this node. A request that names no node is for whoever
    /// gets it.
    ///
    /// # Errors
    /// `urn:hotswap:problem:wrong-node` if it names another node.
    pub(super) fn check_node(&self, node: Option<&str>) -> Result<(), Problem> {
        match node {
            Some(node) if node != self.id.as_str() => Err(wrong_node(format!(
                "this is node '{}', not '{node}', whose address it has now; send the request to \
                 the address that node '{node}' registers",
                self.id
            ))),
            _ => Ok(()),
        }
    }

    /// Checks that an order is for this node, and for this start of it: before the node has
    /// registered, the engine may not know which disk it has and which environment it is in.
    ///
    /// # Errors
    /// As [`Self::check_node`].
    pub(super) fn check_start(
        &self,
        node: Option<&str>,
        boot: Option<&str>,
    ) -> Result<(), Problem> {
        self.check_node(node)?;
        match boot {
            Some(boot) if boot != self.boot => Err(wrong_node(format!(
                "node '{}' was restarted, or another node has its id; send the order again once \
                 the node has registered",
                self.id
            ))),
            _ => Ok(()),
        }
    }
}

fn wrong_node(detail: String) -> Problem {
    problem(
        StatusCode::MISDIRECTED_REQUEST,
        "wrong-node",
        "The request is for another node",
        detail,
    )
}
