//! The meaning of a node's HTTP response, or of a missing one.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use hotswap_common::tls::{self, SettingNames};
use hotswap_core::{Fence, NodeError};
use hotswap_protocol::Problem;
use reqwest::StatusCode;
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Maximum number of characters of a node's own error message that are passed on.
const MAX_DETAIL_CHARS: usize = 500;

/// A node's response.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// Parses the body of a successful response.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, NodeError> {
        self.check_status()?;
        serde_json::from_slice(&self.body).map_err(|error| {
            // The error repeats what it did not expect, which may be the whole answer.
            NodeError::Other(format!(
                "its answer cannot be parsed ({error}); is it a node of this version?"
            ))
            .truncated()
        })
    }

    /// Fails unless the status is a success. [`NodeError::Refused`] if the request is at fault.
    pub(super) fn check_status(&self) -> Result<(), NodeError> {
        if self.status.is_success() {
            return Ok(());
        }
        match self.highest_fence() {
            // It would be the end of all fences of the store.
            Some(highest) if Fence(highest) > Fence::MAX => {
                return Err(NodeError::Other(format!(
                    "it has seen the fence {highest}, which no engine has handed out"
                )));
            }
            Some(highest) => return Err(NodeError::Fenced(highest)),
            None => {}
        }
        let detail = self.problem_detail();
        Err(match self.status {
            _ if self.wants_certificate() => NodeError::Refused(
                "it takes orders only from clients that show a certificate: set tls.clientCert \
                 and tls.clientKey of this engine to one of its --tls-client-ca"
                    .to_owned(),
            ),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => NodeError::Refused(
                "it does not accept this engine's node token; start both with the same token"
                    .to_owned(),
            ),
            status if status.is_client_error() => {
                NodeError::Refused(detail.unwrap_or_else(|| format!("it answered {status}")))
            }
            status => NodeError::Other(match detail {
                Some(detail) => format!("it answered {status}: {detail}"),
                None => format!("it answered {status}"),
            }),
        })
    }

    /// The fence in the problem of a node that has seen a higher one than the order's.
    fn highest_fence(&self) -> Option<u64> {
        let problem: Value = serde_json::from_slice(&self.body).ok()?;
        let is_fenced = problem.get("type")? == "urn:hotswap:problem:fenced";
        is_fenced.then(|| problem.get("highestFence")?.as_u64())?
    }

    /// Whether the request came without a client certificate, and needs one.
    fn wants_certificate(&self) -> bool {
        let problem = serde_json::from_slice::<Value>(&self.body).unwrap_or_default();
        let kind = problem["type"].as_str().unwrap_or_default();
        kind.ends_with(Problem::CLIENT_CERTIFICATE)
    }

    /// The detail of an RFC 9457 problem, or else its title. Lenient, unlike parsing a
    /// [`hotswap_protocol::Problem`]: a proxy on the way may leave members out.
    fn problem_detail(&self) -> Option<String> {
        let problem: Value = serde_json::from_slice(&self.body).ok()?;
        let member = |name| problem.get(name).and_then(Value::as_str);
        let printable = member("detail")
            .or_else(|| member("title"))?
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter });
        let detail: String = printable.take(MAX_DETAIL_CHARS).collect();
        (!detail.trim().is_empty()).then_some(detail)
    }
}

/// Whether this machine, not the node, is at fault: it has no file, memory or port left.
pub(super) fn is_local_fault(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    let codes = causes
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .filter_map(io::Error::raw_os_error);
    codes.map(Errno::from_raw_os_error).any(|code| {
        matches!(
            code,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::ADDRNOTAVAIL
        )
    })
}

/// Explains a request to `host` without a response. Leaves the URL out: it adds nothing.
pub(super) fn unreachable(error: reqwest::Error, host: &str, timeout: Duration) -> NodeError {
    if let Some(reason) = tls::explain(&error, host, &SettingNames::ENGINE) {
        return NodeError::Unreachable(reason);
    }
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    NodeError::Unreachable(if error.is_connect() && error.is_timeout() {
        "no connection in time".to_owned()
    } else if error.is_connect() {
        format!("no connection: {cause}")
    } else if error.is_timeout() {
        format!("no answer within {:.1} s", timeout.as_secs_f64())
    } else if error.source().is_some() {
        format!("the connection broke: {cause}")
    } else {
        "the connection broke".to_owned()
    })
}
