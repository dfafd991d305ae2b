use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use hotswap_core::{HttpProbe, ModuleVersion, NodeError, NodeId};
use hotswap_protocol::{ProbeAnswer, ProbeRequest};
use reqwest::Method;
use tokio::time::Instant;

use super::HttpFleet;
use crate::answer;
use crate::client::{Request, json};

/// The time that the node's own answer has beyond that of the version it asks.
const SLACK: Duration = Duration::from_secs(1);

/// Asks the staged version until it answers as expected, at least once.
pub(super) async fn until_good(
    fleet: &HttpFleet,
    node: &NodeId,
    version: &ModuleVersion,
    probe: &HttpProbe,
) -> Result<(), NodeError> {
    let begun = Instant::now();
    let timeout = Duration::from_millis(probe.timeout);
    let mut pauses = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(1))
        .with_jitter()
        .without_max_times()
        .build();
    // Whether the node was reached counts more than what it was like at the end.
    let mut heard = None;
    loop {
        let left = timeout.saturating_sub(begun.elapsed());
        let last = match once(fleet, node, version, probe, left).await {
            Ok(answer) => match mismatch(&answer, probe) {
                None => return Ok(()),
                Some(mismatch) => {
                    heard = Some(mismatch);
                    None
                }
            },
            Err(NodeError::Other(reason)) => {
                heard = Some(reason);
                None
            }
            Err(NodeError::Unreachable(reason)) => Some(reason),
            Err(refused) => return Err(refused),
        };
        let pause = pauses.next().unwrap_or_default();
        if begun.elapsed() + pause >= timeout {
            let asked = format!("for {:.1} s {}", timeout.as_secs_f64(), probe.path);
            return Err(match (heard, last) {
                (Some(heard), _) => NodeError::Unhealthy(format!("{asked} was asked, {heard}")),
                (None, last) => NodeError::Unreachable(last.unwrap_or_default()),
            });
        }
        tokio::time::sleep(pause).await;
    }
}

async fn once(
    fleet: &HttpFleet,
    node: &NodeId,
    version: &ModuleVersion,
    probe: &HttpProbe,
    left: Duration,
) -> Result<ProbeAnswer, NodeError> {
    let wait = left
        .min(fleet.options.request)
        .max(Duration::from_millis(100));
    let body = ProbeRequest {
        version: answer::wire(version),
        path: probe.path.clone(),
        timeout_millis: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
    };
    let request = Request {
        method: Method::POST,
        path: &["v1", "modules", version.name.as_str(), "probe"],
        body: Some(json(&body)?),
        timeout: wait + SLACK,
        patience: Duration::ZERO,
    };
    let reply = fleet.client.send(&fleet.registry, node, request).await?;
    reply.parse()
}

/// In words that follow "was asked,"; none where the answer is as expected.
fn mismatch(answer: &ProbeAnswer, probe: &HttpProbe) -> Option<String> {
    if answer.status != probe.expect_status {
        let (got, wanted) = (answer.status, probe.expect_status);
        return Some(format!("the last answer had status {got} and not {wanted}"));
    }
    let wanted = probe.expect_body.as_deref()?;
    if answer.body.contains(wanted) {
        return None;
    }
    let begins: String = answer.body.chars().take(100).collect();
    let wanted: String = wanted.chars().take(100).collect();
    Some(format!(
        "the last answer did not contain {wanted:?}, but began with {begins:?}"
    ))
}
