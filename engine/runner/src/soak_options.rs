//! What a deployment asks of the judge.

use hotswap_core::{Judge, SoakOptions};
use serde_json::Value;

/// The settings of a strategy that are for the judge: the contract has no place for them, and they
/// are pinned with the request. A strategy that offers them lists them in its schema.
pub(crate) fn of_config(config: &Value) -> SoakOptions {
    SoakOptions {
        pass_early: config["passEarly"].as_bool().unwrap_or(false),
        min_samples: config["minSamples"].as_u64().unwrap_or(0),
        false_alarms: config["falseAlarms"].as_f64().unwrap_or(Judge::LEVEL),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_for_the_judge_are_read_where_a_strategy_has_them() {
        let config = json!({ "passEarly": true, "minSamples": 500, "falseAlarms": 0.05 });
        let expected = SoakOptions {
            pass_early: true,
            min_samples: 500,
            false_alarms: 0.05,
        };
        assert_eq!(of_config(&config), expected);
        for other in [
            json!({}),
            json!(null),
            json!({ "passEarly": 1, "minSamples": -1, "falseAlarms": "5 %" }),
        ] {
            assert_eq!(of_config(&other), SoakOptions::default());
        }
    }
}
