use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema::check_envelope;
use crate::{
    DecodeError, Environment, ModuleName, ModuleVersion, NodeError, NodeId, Policy, Selector,
    Timestamp,
};

/// One entry of an environment's journal: what happened there outside of deployments.
///
/// The journal is append-only. Together with the deployments it says what should run, and what
/// the engine did so that it does.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentEvent {
    /// Its position in the store, which orders it among the events of all deployments and of
    /// all environments.
    pub position: u64,
    /// When it was appended, by the appender's clock.
    pub at: Timestamp,
    /// What happened.
    pub body: EnvironmentEventBody,
}

/// The content of an [`EnvironmentEvent`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "type",
    content = "data"
)]
pub enum EnvironmentEventBody {
    /// A person retired a module: no version of it should run any more.
    Retired {
        /// The module.
        module: ModuleName,
        /// The person.
        by: String,
        /// The person's reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The engine begins to change a node that does not run what it should.
    Repairing(Repair),
    /// The node runs what it should.
    Repaired(Repair),
    /// The engine could not change the node, and will try again.
    RepairFailed {
        /// What it tried.
        repair: Repair,
        /// Why it failed.
        error: NodeError,
        /// How many attempts have failed since the last success.
        attempts: u32,
    },
    /// A person took a node out of deployments and repairs. It keeps serving what it runs.
    Cordoned {
        /// The node.
        node: NodeId,
        /// The person.
        by: String,
        /// The person's reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A person cordoned a node and took its traffic away: it reports that it is not ready.
    Drained {
        /// The node.
        node: NodeId,
        /// The person.
        by: String,
        /// The person's reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A person ended a cordon or a drain.
    Uncordoned {
        /// The node.
        node: NodeId,
        /// The person.
        by: String,
        /// The person's reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The engine removed a node that was not heard of for long.
    Expired {
        /// The node.
        node: NodeId,
        /// Whether it had said that it stops.
        stopped: bool,
        /// For how long the engine had listened without hearing of it, in milliseconds.
        silent_millis: u64,
    },
    /// A person removed a node.
    Forgotten {
        /// The node.
        node: NodeId,
        /// The person.
        by: String,
        /// The person's reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A node that belonged to another environment has registered for this one.
    Moved {
        /// The node.
        node: NodeId,
        /// The environment that it belonged to.
        from: Environment,
        /// The modules that ran on it.
        modules: Vec<ModuleName>,
    },
    /// A person changed the policy. It counts before those in the configurations of engines.
    PolicyChanged {
        /// The policy from now on. `None`: the policy of each engine's configuration.
        policy: Option<Box<Policy>>,
        /// The nodes that belong to the environment by their labels. `None`: those that the selector
        /// in each engine's configuration matches. An engine that does not know the field goes by
        /// its configuration too, so it needs no new schema version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        selector: Option<Selector>,
        /// The position of the event whose policy it replaces; `None` where there is none.
        replaces: Option<u64>,
        /// The person.
        by: String,
        /// The person's reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// A change of one node, so that it runs what it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repair {
    /// The node.
    pub node: NodeId,
    /// The module.
    pub module: ModuleName,
    /// The version that the node ran; `None` if it ran none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ModuleVersion>,
    /// The version that it should run; `None` if it should run none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ModuleVersion>,
}

/// The schema version of the environment events that this release writes. It reads this version
/// and all before.
///
/// - 1: the first.
/// - 2: nodes are cordoned, drained, uncordoned and forgotten, and expire.
/// - 3: nodes move from one environment to another.
/// - 4: people change policies.
const SCHEMA_VERSION: u32 = 4;

impl EnvironmentEventBody {
    /// The names of all types of events.
    pub const NAMES: [&str; 11] = [
        "retired",
        "repairing",
        "repaired",
        "repairFailed",
        "cordoned",
        "drained",
        "uncordoned",
        "expired",
        "forgotten",
        "moved",
        "policyChanged",
    ];

    /// The event's name in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Retired { .. } => "retired",
            Self::Repairing(_) => "repairing",
            Self::Repaired(_) => "repaired",
            Self::RepairFailed { .. } => "repairFailed",
            Self::Cordoned { .. } => "cordoned",
            Self::Drained { .. } => "drained",
            Self::Uncordoned { .. } => "uncordoned",
            Self::Expired { .. } => "expired",
            Self::Forgotten { .. } => "forgotten",
            Self::Moved { .. } => "moved",
            Self::PolicyChanged { .. } => "policyChanged",
        }
    }

    /// Whether it decides something: what should run, which nodes there are, what may be done to
    /// them. The steps of repairs only say what the engine does.
    pub fn decides(&self) -> bool {
        match self {
            Self::Repairing(_) | Self::Repaired(_) | Self::RepairFailed { .. } => false,
            Self::Retired { .. }
            | Self::Cordoned { .. }
            | Self::Drained { .. }
            | Self::Uncordoned { .. }
            | Self::Expired { .. }
            | Self::Forgotten { .. }
            | Self::Moved { .. }
            | Self::PolicyChanged { .. } => true,
        }
    }

    /// The module that it is about, where it is about one.
    pub fn module(&self) -> Option<&ModuleName> {
        match self {
            Self::Retired { module, .. } => Some(module),
            Self::Repairing(repair)
            | Self::Repaired(repair)
            | Self::RepairFailed { repair, .. } => Some(&repair.module),
            Self::Cordoned { .. }
            | Self::Drained { .. }
            | Self::Uncordoned { .. }
            | Self::Expired { .. }
            | Self::Forgotten { .. }
            | Self::Moved { .. }
            | Self::PolicyChanged { .. } => None,
        }
    }

    /// The node that it is about, where it is about one.
    pub fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Retired { .. } | Self::PolicyChanged { .. } => None,
            Self::Repairing(repair)
            | Self::Repaired(repair)
            | Self::RepairFailed { repair, .. } => Some(&repair.node),
            Self::Cordoned { node, .. }
            | Self::Drained { node, .. }
            | Self::Uncordoned { node, .. }
            | Self::Expired { node, .. }
            | Self::Forgotten { node, .. }
            | Self::Moved { node, .. } => Some(node),
        }
    }

    /// The stored form of the event, which says its schema version.
    ///
    /// # Errors
    /// Where JSON cannot hold it.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut event = serde_json::to_value(self)?;
        event["schema"] = SCHEMA_VERSION.into();
        serde_json::to_vec(&event)
    }

    /// Reads an event from its stored form. Unknown fields are ignored. Pure.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        check_envelope(bytes, SCHEMA_VERSION, &Self::NAMES)?;
        let event: Value = serde_json::from_slice(bytes).map_err(DecodeError::invalid)?;
        serde_json::from_value(event).map_err(DecodeError::invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn node() -> NodeId {
        "production-04".parse().unwrap()
    }

    fn bodies() -> Vec<EnvironmentEventBody> {
        let version = |version: &str| ModuleVersion {
            name: "hello".parse().unwrap(),
            version: version.parse().unwrap(),
            digest: Digest::of(version.as_bytes()),
        };
        let repair = Repair {
            node: node(),
            module: "hello".parse().unwrap(),
            from: Some(version("1.0.0")),
            to: Some(version("2.0.0")),
        };
        vec![
            EnvironmentEventBody::Retired {
                module: "hello".parse().unwrap(),
                by: "ada".into(),
                reason: None,
            },
            EnvironmentEventBody::Repairing(repair.clone()),
            EnvironmentEventBody::Repaired(repair.clone()),
            EnvironmentEventBody::RepairFailed {
                repair,
                error: NodeError::Unreachable("no answer".into()),
                attempts: 3,
            },
            EnvironmentEventBody::Cordoned {
                node: node(),
                by: "ada".into(),
                reason: None,
            },
            EnvironmentEventBody::Drained {
                node: node(),
                by: "ada".into(),
                reason: Some("its disk is replaced".into()),
            },
            EnvironmentEventBody::Uncordoned {
                node: node(),
                by: "ada".into(),
                reason: None,
            },
            EnvironmentEventBody::Expired {
                node: node(),
                stopped: false,
                silent_millis: 86_400_000,
            },
            EnvironmentEventBody::Forgotten {
                node: node(),
                by: "ada".into(),
                reason: None,
            },
            EnvironmentEventBody::Moved {
                node: node(),
                from: "qa".parse().unwrap(),
                modules: vec!["hello".parse().unwrap()],
            },
            EnvironmentEventBody::PolicyChanged {
                policy: Some(Box::new(Policy::default_for(&"qa".parse().unwrap()))),
                selector: Some("zone=eu".parse().unwrap()),
                replaces: Some(17),
                by: "ada".into(),
                reason: None,
            },
        ]
    }

    #[test]
    fn a_stored_event_is_read_back_and_every_type_has_its_name() {
        let names = bodies()
            .iter()
            .map(EnvironmentEventBody::name)
            .collect::<Vec<_>>();
        assert_eq!(names, EnvironmentEventBody::NAMES);
        for body in bodies() {
            let bytes = body.encode().unwrap();
            let json: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(
                (&json["schema"], &json["type"]),
                (&SCHEMA_VERSION.into(), &body.name().into())
            );
            assert_eq!(EnvironmentEventBody::decode(&bytes), Ok(body));
        }
    }

    #[test]
    fn events_of_the_first_version_are_read() {
        let first = br#"{"schema":1,"type":"retired","data":{"module":"hello","by":"ada"}}"#;
        let retired = EnvironmentEventBody::Retired {
            module: "hello".parse().unwrap(),
            by: "ada".into(),
            reason: None,
        };
        assert_eq!(EnvironmentEventBody::decode(first), Ok(retired));
    }

    #[test]
    fn a_policy_that_was_set_before_selectors_were_stored_has_none() {
        let before = br#"{"schema":4,"type":"policyChanged",
            "data":{"policy":null,"replaces":7,"by":"ada"}}"#;
        let reset = EnvironmentEventBody::PolicyChanged {
            policy: None,
            selector: None,
            replaces: Some(7),
            by: "ada".into(),
            reason: None,
        };
        assert_eq!(EnvironmentEventBody::decode(before), Ok(reset));
    }

    #[test]
    fn an_event_of_a_newer_engine_is_not_guessed_at() {
        let newer = br#"{"schema":5,"type":"retired","data":{"module":"hello","by":"ada"}}"#;
        assert!(
            EnvironmentEventBody::decode(newer)
                .unwrap_err()
                .needs_upgrade()
        );
        let unknown = br#"{"schema":1,"type":"renamed","data":{}}"#;
        assert!(
            EnvironmentEventBody::decode(unknown)
                .unwrap_err()
                .needs_upgrade()
        );
        assert!(
            !EnvironmentEventBody::decode(b"{")
                .unwrap_err()
                .needs_upgrade()
        );
        let more = br#"{"schema":1,"type":"retired","data":{"module":"hello","by":"ada","x":1}}"#;
        assert!(EnvironmentEventBody::decode(more).is_ok());
    }
}
