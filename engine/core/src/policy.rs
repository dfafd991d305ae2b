use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Amount, StrategyName};

/// What no strategy may exceed in an environment. It is copied into the journal when
/// a deployment is requested, and holds for it from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// The strategy of a deployment that names none.
    pub default_strategy: StrategyName,
    /// At most that many nodes are being changed at any moment.
    pub max_unavailable: Amount,
    /// More failed nodes than this end the deployment, whatever the strategy makes of them.
    pub tolerated_failures: Amount,
    /// A deployment that takes longer, in milliseconds, is ended and reverted.
    #[serde(with = "millis")]
    pub deadline: Duration,
    /// How long to try to put a node back that does not answer, in milliseconds.
    #[serde(with = "millis")]
    pub revert_patience: Duration,
}

impl Policy {
    /// What holds for an environment of this name when nothing else is configured:
    /// development direct, qa rolling, staging blue-green, anything else canary.
    pub fn default_for(environment: &crate::Environment) -> Self {
        let (strategy, max_unavailable, hours) = match environment.as_str() {
            "development" => ("direct", Amount::Percent(100), 1),
            "qa" => ("rolling", Amount::Percent(50), 2),
            "staging" => ("blue-green", Amount::Percent(100), 4),
            _ => ("canary", Amount::Percent(50), 24),
        };
        Self {
            default_strategy: strategy.parse().expect("a built-in name is a name"),
            max_unavailable,
            tolerated_failures: Amount::Count(0),
            deadline: Duration::from_secs(hours * 3600),
            revert_patience: Duration::from_secs(60),
        }
    }
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        u64::try_from(span.as_millis())
            .unwrap_or(u64::MAX)
            .serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
