use hotswap_fleet::Options;
use hotswap_runner::ExpiryLimits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// How long the engine waits for its nodes, and when it removes those that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Nodes {
    /// How long to wait for a connection to a node; from 100 ms to 5 minutes.
    pub connect_timeout: Span,
    /// How long to wait for the answer to one request, from 100 ms to 5 minutes. An order that
    /// takes longer is answered with how far it is, so this need not cover it.
    pub request_timeout: Span,
    /// How long an order is sent again while the node does not answer, cannot be reached or is
    /// being restarted; from 1 s to 1 day, and longer than `requestTimeout`.
    pub patience: Span,
    /// How long a node may fetch an artifact while no byte of it arrives; from 1 s to 1 day. As
    /// long as bytes arrive it may take any time up to the deadline of the environment.
    pub stall_timeout: Span,
    /// How long a node may take to compile and start an artifact that it has fetched; from 1 s
    /// to 1 day.
    pub compile_timeout: Span,
    /// How long a node may be silent before it is removed from the list; from 1 s to 10 years.
    /// It registers again if it comes back. Counts only the time that this engine has listened,
    /// so a restart of the engine begins it anew.
    pub expire_after: Span,
    /// As `expireAfter`, for a node that has said that it stops, as it does on SIGTERM; from 1 s
    /// to 10 years.
    pub expire_stopped_after: Span,
}

impl Default for Nodes {
    fn default() -> Self {
        let (options, expiry) = (Options::default(), ExpiryLimits::default());
        Self {
            connect_timeout: Span(options.connect_timeout),
            request_timeout: Span(options.request_timeout),
            patience: Span(options.patience),
            stall_timeout: Span(options.stall_timeout),
            compile_timeout: Span(options.compile_timeout),
            expire_after: Span(expiry.silent),
            expire_stopped_after: Span(expiry.stopped),
        }
    }
}

impl From<Nodes> for ExpiryLimits {
    fn from(nodes: Nodes) -> Self {
        Self {
            silent: nodes.expire_after.0,
            stopped: nodes.expire_stopped_after.0,
        }
    }
}

impl From<Nodes> for Options {
    fn from(nodes: Nodes) -> Self {
        Self {
            connect_timeout: nodes.connect_timeout.0,
            request_timeout: nodes.request_timeout.0,
            patience: nodes.patience.0,
            stall_timeout: nodes.stall_timeout.0,
            compile_timeout: nodes.compile_timeout.0,
            ..Self::default()
        }
    }
}
