//! Probes: requests to a new version, repeated until it answers as expected.

use std::time::Duration;

use hotswap_common::Backoff;
use hotswap_core::{Environment, HttpProbe, ModuleVersion, NodeError, NodeId};
use hotswap_protocol::{ProbeAnswer, ProbeRequest};
use reqwest::Method;
use tokio::time::Instant;

use super::client::{NodeClient, Request, to_json};
use crate::wire::to_wire_version;

/// Time for the node's own answer, on top of the time that it gives the staged version.
const NODE_OVERHEAD: Duration = Duration::from_secs(1);

/// Minimum time for the staged version to answer, even if less is left of the probe's timeout.
const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// Delays between attempts.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(50);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);

/// A probe of the version that is staged on a node.
pub(super) struct Probe<'a> {
    pub(super) client: &'a NodeClient,
    pub(super) environment: &'a Environment,
    pub(super) node: &'a NodeId,
    pub(super) version: &'a ModuleVersion,
    pub(super) expected: &'a HttpProbe,
    /// Maximum time for the staged version to answer one request.
    pub(super) request_timeout: Duration,
}

impl Probe<'_> {
    /// Sends requests until one is answered as expected, at least one.
    pub(super) async fn run(&self) -> Result<(), NodeError> {
        let start = Instant::now();
        let timeout = Duration::from_millis(self.expected.timeout);
        let mut backoff = Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY);
        // The last failure while the node was reachable. It takes precedence over the node
        // being unreachable at the end.
        let mut unhealthy = None;
        loop {
            let remaining = timeout.saturating_sub(start.elapsed());
            let unreachable = match self.send(remaining).await {
                Ok(answer) => match find_mismatch(&answer, self.expected) {
                    None => return Ok(()),
                    Some(mismatch) => {
                        unhealthy = Some(mismatch);
                        None
                    }
                },
                Err(NodeError::Other(reason)) => {
                    unhealthy = Some(reason);
                    None
                }
                Err(NodeError::Unreachable(reason)) => Some(reason),
                Err(error) => return Err(error),
            };
            let delay = backoff.next_delay();
            if start.elapsed() + delay >= timeout {
                return Err(match (unhealthy, unreachable) {
                    (Some(reason), _) => NodeError::Unhealthy(format!(
                        "the probe of {} failed for {:.1} s: {reason}",
                        self.expected.path,
                        timeout.as_secs_f64()
                    ))
                    .truncated(),
                    (None, reason) => NodeError::Unreachable(reason.unwrap_or_default()),
                });
            }
            tokio::time::sleep(delay).await;
        }
    }

    async fn send(&self, remaining: Duration) -> Result<ProbeAnswer, NodeError> {
        let timeout = remaining.min(self.request_timeout).max(MIN_TIMEOUT);
        let body = ProbeRequest {
            version: to_wire_version(self.version),
            path: self.expected.path.clone(),
            timeout_millis: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        };
        let request = Request {
            method: Method::POST,
            path: &["v1", "modules", self.version.name.as_str(), "probe"],
            environment: Some(self.environment),
            body: Some(to_json(&body)?),
            timeout: timeout + NODE_OVERHEAD,
            retry_for: Duration::ZERO,
        };
        self.client.send(self.node, request).await?.parse()
    }
}

/// Explains how an answer differs from the expected one. `None` if it does not.
fn find_mismatch(answer: &ProbeAnswer, expected: &HttpProbe) -> Option<String> {
    if answer.status != expected.expect_status {
        let (found, expected) = (answer.status, expected.expect_status);
        return Some(format!(
            "the last answer had status {found}, not {expected}"
        ));
    }
    let text = expected.expect_body.as_deref()?;
    if answer.body.contains(text) {
        return None;
    }
    let start: String = answer.body.chars().take(100).collect();
    let text: String = text.chars().take(100).collect();
    Some(format!(
        "the last answer did not contain {text:?}; it began with {start:?}"
    ))
}
