use std::error::Error as _;

use hotswap_common::tls::{self, SettingNames};

use super::problem_response::ProblemResponse;
use super::response::Damage;
use crate::exit::Exit;

/// Why a request to the engine failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection could be opened.
    #[error("no engine answers at {server}")]
    Unreachable {
        /// The engine's address.
        server: String,
        /// The network's error.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke, or no response came in time. The engine may have done what was
    /// requested.
    #[error("the engine at {server} did not answer completely")]
    ConnectionLost {
        /// The engine's address.
        server: String,
        /// The network's error.
        #[source]
        source: reqwest::Error,
    },
    /// A stream of events stopped before its end.
    #[error("the engine at {server} {interruption}")]
    StreamInterrupted {
        /// The engine's address.
        server: String,
        /// How the stream stopped.
        interruption: Interruption,
    },
    /// The journal of the deployment cannot be read, so nothing drives it.
    #[error("{0}")]
    Damaged(Damage),
    /// The engine rejected the request.
    #[error("{0}")]
    Rejected(ProblemResponse),
    /// The server is not an engine.
    #[error("what answers at {server} is not a HotSwap engine: {found}")]
    WrongServer {
        /// The server's address.
        server: String,
        /// How it answers.
        found: String,
    },
    /// There is no secure connection to the server.
    #[error("no secure connection to {server}: {reason}")]
    Tls {
        /// The server's address.
        server: String,
        /// What went wrong, and what to do.
        reason: String,
    },
    /// The engine's response is not what this program expects.
    #[error("the response from {path} is not understood; is the server an engine of this version?")]
    UnexpectedResponse {
        /// The path of the request.
        path: String,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// The engine's response is not a stream of events.
    #[error(
        "the response from {path} is {content}, not events; is the server an engine of this \
         version?"
    )]
    NotAnEventStream {
        /// The path of the request.
        path: String,
        /// What came instead.
        content: String,
    },
}

/// How a stream of events stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Interruption {
    /// The connection was closed.
    #[error("closed the event stream")]
    Closed,
    /// Not even a keep-alive came for too long.
    #[error("has been silent for too long")]
    Silent,
    /// The event with this number is missing.
    #[error("left out event {0}")]
    Gap(u64),
}

impl Error {
    /// Wraps an error of the network, without the URL: the message names the server already.
    pub(super) fn from_network(server: &str, source: reqwest::Error) -> Self {
        let (server, source) = (server.to_owned(), source.without_url());
        if let Some(reason) = tls::explain(&source, &server, &SettingNames::FLAGS) {
            return Self::Tls { server, reason };
        }
        if is_not_http(&source) {
            let found = "it does not speak HTTP; if it speaks HTTPS, write https://".to_owned();
            return Self::WrongServer { server, found };
        }
        if source.is_connect() {
            Self::Unreachable { server, source }
        } else {
            Self::ConnectionLost { server, source }
        }
    }

    /// Whether a retry may succeed: the engine is starting, stopping or busy.
    pub fn is_transient(&self) -> bool {
        self.exit() == Exit::Unreachable
    }

    /// Whether a retry may succeed once an engine has answered: while it restarts, a proxy
    /// before it may answer in its place.
    pub fn is_transient_of_engine(&self) -> bool {
        let is_of_proxy = matches!(
            self,
            Self::WrongServer { .. } | Self::NotAnEventStream { .. }
        );
        self.is_transient() || is_of_proxy
    }

    /// How a command ends that gives up after this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. }
            | Self::ConnectionLost { .. }
            | Self::StreamInterrupted { .. } => Exit::Unreachable,
            Self::Rejected(problem) => match problem.status {
                401 | 403 => Exit::NotAuthorized,
                429 | 502 | 503 | 504 => Exit::Unreachable,
                _ => Exit::Failure,
            },
            Self::Damaged(_) => Exit::Failure,
            Self::Tls { .. }
            | Self::WrongServer { .. }
            | Self::UnexpectedResponse { .. }
            | Self::NotAnEventStream { .. } => Exit::WrongServer,
        }
    }

    /// What to do next, where that is known.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } => {
                Some("start one with `hotswap dev`, or name one with --server")
            }
            Self::Rejected(problem) => match problem.status {
                401 => Some(
                    "give a token with --token-file or HOTSWAP_TOKEN, or run this in the folder \
                     where `hotswap dev` was started",
                ),
                403 => Some("this token may not do that; use one with another role"),
                429 | 503 => Some("try again in a moment"),
                _ => None,
            },
            Self::Damaged(damage) if damage.needs_upgrade => Some(
                "start the newer engine that wrote it; to give the deployment up instead: hotswap \
                 deployment terminate",
            ),
            Self::Damaged(_) => {
                Some("to give the deployment up and revert its nodes: hotswap deployment terminate")
            }
            Self::ConnectionLost { .. } => Some("check whether the engine did it, then try again"),
            Self::WrongServer { .. }
            | Self::UnexpectedResponse { .. }
            | Self::NotAnEventStream { .. } => Some("name the engine with --server"),
            Self::Tls { .. } | Self::StreamInterrupted { .. } => None,
        }
    }
}

/// Whether the server's answer is not HTTP.
fn is_not_http(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if error.downcast_ref().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_token_leads_to_advice() {
        let error = Error::Rejected(ProblemResponse::read(401, b"{}"));
        assert!(error.advice().unwrap().contains("HOTSWAP_TOKEN"));
        assert!(!error.is_transient());
    }

    #[test]
    fn a_proxy_without_its_engine_is_transient() {
        let error = Error::Rejected(ProblemResponse::read(502, b"<html>"));
        assert!(error.is_transient());
    }
}
