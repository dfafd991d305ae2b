use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Amount, OutOfRange, StrategyName};

/// The limits that no strategy may exceed in an environment. Shares and counts are of all nodes
/// that a deployment is for: those of the environment, or those that its selector matches.
///
/// Copied into the journal when a deployment is requested: later changes do not affect it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// The strategy of deployments that name none.
    pub default_strategy: StrategyName,
    /// At most this many nodes are unavailable at the same time: they are being changed, or do
    /// not serve, for whatever reason. A share is of all nodes, dead ones included.
    pub max_unavailable: Amount,
    /// If more nodes than this fail, the deployment ends, whatever the strategy does about
    /// them. A share is of all nodes.
    pub tolerated_failures: Amount,
    /// At most this many nodes may be left out of the plan because they do not answer. A share is of all nodes. Deployments from before this setting were promised
    /// that any number may.
    #[serde(default = "any_number")]
    pub max_missing: Amount,
    /// A deployment that takes longer is ended and rolled back. Milliseconds in JSON.
    #[serde(with = "millis")]
    pub deadline: Duration,
    /// Whether the time of the deadline stops while a deployment is paused. Deployments from
    /// before this setting were promised that it does not.
    #[serde(default)]
    pub pause_stops_deadline: bool,
    /// How long to retry reverting a node that does not answer. Milliseconds in JSON.
    #[serde(with = "millis")]
    pub revert_patience: Duration,
}

fn any_number() -> Amount {
    Amount::Percent(100)
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Policy {
    /// Deadlines that make sense. A longer one would mean that nobody watches.
    pub const DEADLINE: RangeInclusive<Duration> = Duration::from_secs(1)..=DAY.saturating_mul(30);
    /// Patience that makes sense. While it lasts, no other deployment of the module can start.
    pub const REVERT_PATIENCE: RangeInclusive<Duration> = Duration::ZERO..=DAY.saturating_mul(7);
    /// With no node at a time, no deployment could do anything.
    pub const MAX_UNAVAILABLE: RangeInclusive<Amount> = Amount::Count(1)..=Amount::Percent(100);

    /// Checks that every value is in its range.
    ///
    /// # Errors
    /// [`OutOfRange`] names the first one that is not, by its key in the configuration.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let duration = |duration: &Duration| humantime::format_duration(*duration).to_string();
        OutOfRange::check("deadline", self.deadline, &Self::DEADLINE, duration)?;
        OutOfRange::check(
            "revertPatience",
            self.revert_patience,
            &Self::REVERT_PATIENCE,
            duration,
        )?;
        if self.max_unavailable.is_none() {
            let (key, range) = ("maxUnavailable", &Self::MAX_UNAVAILABLE);
            return Err(OutOfRange::new(key, &self.max_unavailable, range));
        }
        Ok(())
    }

    /// The policy of an environment without a configured one. Its default strategy is direct
    /// for development, rolling for qa, blue-green for staging and canary for any other.
    pub fn default_for(environment: &crate::Environment) -> Self {
        let (strategy, max_unavailable, hours) = match environment.as_str() {
            "development" => ("direct", Amount::Percent(100), 1),
            "qa" => ("rolling", Amount::Percent(50), 2),
            "staging" => ("blue-green", Amount::Percent(100), 4),
            _ => ("canary", Amount::Percent(50), 24),
        };
        #[expect(clippy::expect_used, reason = "of three constants")]
        let default_strategy = strategy
            .parse()
            .expect("the names of built-in strategies are valid");
        Self {
            default_strategy,
            max_unavailable,
            tolerated_failures: Amount::Count(0),
            // Nodes that do not answer use `max_unavailable` up as well. A stricter default
            // would let one broken machine stop all deployments to a large environment.
            max_missing: any_number(),
            deadline: Duration::from_secs(hours * 3600),
            pause_stops_deadline: true,
            revert_patience: Duration::from_secs(60),
        }
    }
}

/// Durations as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        u64::try_from(duration.as_millis())
            .unwrap_or(u64::MAX)
            .serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deployments that were requested before the setting existed keep what they were promised.
    #[test]
    fn in_a_policy_without_the_setting_a_pause_does_not_stop_the_deadline() {
        let policy: Policy = serde_json::from_value(serde_json::json!({
            "defaultStrategy": "canary",
            "maxUnavailable": "50%",
            "toleratedFailures": 0,
            "deadline": 1000,
            "revertPatience": 1000,
        }))
        .unwrap();
        assert!(!policy.pause_stops_deadline);
        assert_eq!(policy.max_missing, Amount::Percent(100));
        let environment = "production".parse().unwrap();
        assert!(Policy::default_for(&environment).pause_stops_deadline);
    }
}
