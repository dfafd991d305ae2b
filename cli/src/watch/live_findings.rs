//! What the judge thinks of the soak that is under way: not in the events, so it is asked for.

use std::time::Duration;

use hotswap_core::{DeploymentId, Finding};
use serde_json::Value;

use crate::client::Client;

/// How often the engine is asked. A soak is read each quarter of a second at most.
const INTERVAL: Duration = Duration::from_secs(2);

/// The findings a moment from now. Empty where the engine does not tell any.
pub(super) async fn next(client: &Client, id: DeploymentId) -> Vec<Finding> {
    tokio::time::sleep(INTERVAL).await;
    let deployment = client.deployment(id).await;
    deployment.map_or_else(|_| Vec::new(), |deployment| parse(&deployment))
}

/// The findings in the state of a deployment. Those of a newer engine that cannot be read are
/// left out.
fn parse(deployment: &Value) -> Vec<Finding> {
    let findings = deployment["liveFindings"].as_array();
    let findings = findings.into_iter().flatten();
    findings
        .filter_map(|finding| serde_json::from_value(finding.clone()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use hotswap_core::Judgement;
    use serde_json::json;

    use super::*;

    #[test]
    fn findings_are_read_as_the_engine_tells_them() {
        let deployment = json!({ "liveFindings": [
            {
                "check": { "metric": "error-rate", "maxIncrease": 0.5 },
                "judgement": "inconclusive",
                "canarySamples": 20,
                "baselineSamples": 60,
                "reason": "too few",
                "conditions": [{
                    "kind": "increase", "limit": 1.5, "evidence": 0.0, "earlier": -0.7,
                    "threshold": 6.0, "missingRequests": 69
                }]
            },
            { "check": "of the future" }
        ] });
        let findings = parse(&deployment);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].judgement, Judgement::Inconclusive);
        assert_eq!(findings[0].conditions[0].missing_requests, Some(69));
        assert!(parse(&json!({})).is_empty());
    }
}
