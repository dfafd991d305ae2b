use hotswap_protocol::Problem;
use http::StatusCode;
use wasmtime::Trap;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use crate::problem::problem;

/// Why a module did not respond to a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum ModuleFailure {
    #[error("too many requests at the same time")]
    Overloaded,
    #[error("too little memory is left of the node's")]
    NodeOutOfMemory,
    #[error("exceeded the time limit")]
    TimedOut,
    #[error("got its request too slowly, or the client read its response too slowly")]
    SlowClient,
    #[error("exceeded the memory limit")]
    OutOfMemory,
    #[error("trapped: {0}")]
    Trapped(String),
    #[error("returned without a response")]
    NoResponse,
    #[error("responded with an error: {0}")]
    ErrorCode(ErrorCode),
}

impl ModuleFailure {
    /// Converts the error that ended an instance.
    pub(super) fn from_wasm(error: &wasmtime::Error) -> Self {
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Self::TimedOut,
            _ => Self::Trapped(format!("{error:#}")),
        }
    }

    /// The kind of the failure, for traces.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::NodeOutOfMemory => "node_out_of_memory",
            Self::TimedOut => "timeout",
            Self::SlowClient => "slow_client",
            Self::OutOfMemory => "out_of_memory",
            Self::Trapped(_) => "trap",
            Self::NoResponse => "no_response",
            Self::ErrorCode(_) => "error_code",
        }
    }

    /// The problem for the client. `version` names the module and version, such as
    /// `checkout 1.2.3`. Details of the failure are only in the node's log: they are for
    /// its operator, not for its clients.
    pub(super) fn problem(&self, version: &str) -> Problem {
        let (status, name, title) = match self {
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "module-busy",
                "The module has too many requests",
            ),
            Self::NodeOutOfMemory => (
                StatusCode::SERVICE_UNAVAILABLE,
                "node-busy",
                "The node has too many requests",
            ),
            Self::TimedOut => (
                StatusCode::GATEWAY_TIMEOUT,
                "module-time",
                "The module took too long",
            ),
            Self::SlowClient => (
                StatusCode::REQUEST_TIMEOUT,
                "slow-client",
                "The request came too slowly",
            ),
            Self::OutOfMemory | Self::Trapped(_) | Self::NoResponse | Self::ErrorCode(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "module-failed",
                "The module failed",
            ),
        };
        let detail = match self {
            Self::Overloaded => format!("{version} has too many requests; retry later"),
            Self::NodeOutOfMemory => {
                format!("the node has too little memory left for {version}; retry later")
            }
            Self::TimedOut => format!("{version} exceeded its time limit"),
            Self::SlowClient => {
                format!(
                    "the request came too slowly for the time limit of {version}; send it again"
                )
            }
            Self::OutOfMemory => format!("{version} needs more memory than its limit allows"),
            Self::Trapped(_) => format!("{version} trapped; see the node's log for the place"),
            Self::NoResponse => format!("{version} returned without a response"),
            Self::ErrorCode(_) => {
                format!("{version} responded with an error; see the node's log for the reason")
            }
        };
        problem(status, name, title, detail)
    }
}
