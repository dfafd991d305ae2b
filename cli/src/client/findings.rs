//! Findings as the engine shows them.

use hotswap_core::Finding;
use serde_json::Value;

/// The findings in a list. Those of a newer engine that cannot be read are left out.
pub fn read_findings(list: &Value) -> Vec<Finding> {
    let findings = list.as_array().into_iter().flatten();
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
        let list = json!([
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
        ]);
        let findings = read_findings(&list);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].judgement, Judgement::Inconclusive);
        assert_eq!(findings[0].conditions[0].missing_requests, Some(69));
        assert!(read_findings(&Value::Null).is_empty());
    }
}
