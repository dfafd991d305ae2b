use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DecodeError, EnvironmentEvent, EnvironmentEventBody, NodeId, Timestamp};

/// A person's decision that the engine must not change a node.
///
/// A cordoned node keeps serving what it runs. It is left out of new plans, and is not brought
/// to what it should run. A *drained* node is cordoned, and also reports that it is not ready,
/// so that load balancers send its requests elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cordon {
    /// Whether the node is also drained.
    pub drained: bool,
    /// The person.
    pub by: String,
    /// The person's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

/// A node that was left out of a plan because a person has cordoned it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CordonedNode {
    /// The node.
    pub node: NodeId,
    /// Who did it, and why.
    #[serde(flatten)]
    pub cordon: Cordon,
}

/// The cordoned nodes of an environment: a pure fold over its journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cordons(BTreeMap<NodeId, Cordon>);

impl fmt::Display for Cordon {
    /// `cordoned by ada: its disk is replaced`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.drained { "drained" } else { "cordoned" };
        write!(f, "{verb} by {}", self.by)?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl Cordons {
    /// Applies the next event.
    ///
    /// A node that has expired stays cordoned, should it come back: its operator has not said
    /// that it is fit again.
    pub fn apply(&mut self, event: &EnvironmentEvent) {
        use EnvironmentEventBody as Body;
        match &event.body {
            Body::Cordoned { node, by, reason } | Body::Drained { node, by, reason } => {
                let cordon = Cordon {
                    drained: matches!(event.body, Body::Drained { .. }),
                    by: by.clone(),
                    reason: reason.clone(),
                    since: event.at,
                };
                self.0.insert(node.clone(), cordon);
            }
            Body::Uncordoned { node, .. } | Body::Forgotten { node, .. } => {
                self.0.remove(node);
            }
            Body::Retired { .. }
            | Body::Repairing(_)
            | Body::Repaired(_)
            | Body::RepairFailed { .. }
            | Body::Expired { .. }
            | Body::Moved { .. }
            | Body::PolicyChanged { .. } => {}
        }
    }

    /// Applies an unreadable event that cordons a node. The store still knows its node, position
    /// and time. The node is drained: a person has taken it out, and whether
    /// it may serve is not known. It ends like any other cordon.
    pub fn apply_unreadable(
        &mut self,
        node: NodeId,
        position: u64,
        at: Timestamp,
        error: &DecodeError,
    ) {
        let cordon = Cordon {
            drained: true,
            by: "unknown".to_owned(),
            reason: Some(format!(
                "the event that says so (position {position} in the store) cannot be read: {error}"
            )),
            since: at,
        };
        self.0.insert(node, cordon);
    }

    /// The cordon of a node, if it has one.
    pub fn get(&self, node: &NodeId) -> Option<&Cordon> {
        self.0.get(node)
    }

    /// All cordoned nodes, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Cordon)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn event(millis: u64, body: EnvironmentEventBody) -> EnvironmentEvent {
        EnvironmentEvent {
            position: millis,
            at: Timestamp::from_millis(millis),
            body,
        }
    }

    fn drained(name: &str) -> EnvironmentEventBody {
        EnvironmentEventBody::Drained {
            node: node(name),
            by: "ada".into(),
            reason: Some("its disk is replaced".into()),
        }
    }

    fn cordoned(name: &str) -> EnvironmentEventBody {
        EnvironmentEventBody::Cordoned {
            node: node(name),
            by: "eve".into(),
            reason: None,
        }
    }

    #[test]
    fn the_last_event_of_a_node_says_whether_it_is_cordoned_or_drained() {
        let mut cordons = Cordons::default();
        cordons.apply(&event(1, cordoned("a")));
        cordons.apply(&event(2, drained("b")));
        let texts = |cordons: &Cordons| {
            let text = |(node, cordon): (&NodeId, &Cordon)| format!("{node} {cordon}");
            cordons.iter().map(text).collect::<Vec<_>>()
        };
        let b = "b drained by ada: its disk is replaced";
        assert_eq!(texts(&cordons), ["a cordoned by eve", b]);
        cordons.apply(&event(3, drained("a")));
        let a = cordons.get(&node("a")).unwrap();
        assert_eq!((a.drained, a.since.millis()), (true, 3));
        let uncordoned = EnvironmentEventBody::Uncordoned {
            node: node("a"),
            by: "ada".into(),
            reason: None,
        };
        cordons.apply(&event(4, uncordoned));
        assert_eq!(texts(&cordons), [b]);
    }

    #[test]
    fn a_node_whose_cordon_cannot_be_read_is_drained_until_it_is_uncordoned() {
        let mut cordons = Cordons::default();
        let error = EnvironmentEventBody::decode(b"{").unwrap_err();
        cordons.apply_unreadable(node("a"), 7, Timestamp::from_millis(3), &error);
        let cordon = cordons.get(&node("a")).unwrap();
        assert!(cordon.drained);
        assert_eq!(cordon.since.millis(), 3);
        let text = cordon.to_string();
        assert!(text.contains("position 7 in the store"), "{text}");
        let uncordoned = EnvironmentEventBody::Uncordoned {
            node: node("a"),
            by: "ada".into(),
            reason: None,
        };
        cordons.apply(&event(8, uncordoned));
        assert_eq!(cordons, Cordons::default());
    }

    #[test]
    fn a_cordon_outlasts_that_its_node_expires_but_not_that_it_is_forgotten() {
        let mut cordons = Cordons::default();
        cordons.apply(&event(1, drained("a")));
        let silent_millis = 1;
        let expired = EnvironmentEventBody::Expired {
            node: node("a"),
            stopped: true,
            silent_millis,
        };
        cordons.apply(&event(2, expired));
        assert!(cordons.get(&node("a")).is_some());
        let forgotten = EnvironmentEventBody::Forgotten {
            node: node("a"),
            by: "ada".into(),
            reason: None,
        };
        cordons.apply(&event(3, forgotten));
        assert_eq!(cordons, Cordons::default());
    }
}
