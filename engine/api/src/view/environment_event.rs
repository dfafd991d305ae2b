use std::time::Duration;

use hotswap_core as core;
use hotswap_store::EnvironmentEntry;
use humantime::format_duration;
use poem_openapi::{Enum, Object};

/// Events of an environment, newest first.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct EnvironmentEvents {
    /// The events.
    pub events: Vec<EnvironmentEvent>,
    /// The `cursor` of the next page. Absent on the last.
    pub next_cursor: Option<String>,
}

/// What happened in an environment outside of deployments.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct EnvironmentEvent {
    /// Its position among the events of all environments and deployments.
    pub position: u64,
    /// The environment.
    pub environment: String,
    /// When it happened. Absent: the event cannot be read.
    pub timestamp: Option<u64>,
    /// What happened.
    #[oai(rename = "type")]
    pub kind: EnvironmentEventType,
    /// The module that it is about.
    pub module_name: Option<String>,
    /// The node that it is about.
    pub node_id: Option<String>,
    /// The version that the node ran before. Absent: none.
    pub from: Option<String>,
    /// The version that the node should run. Absent: none.
    pub to: Option<String>,
    /// Who did it, where a person did.
    pub by: Option<String>,
    /// How many attempts have failed since the last success. Only of `repairFailed`.
    pub attempts: Option<u32>,
    /// What happened, in one sentence.
    pub message: String,
}

/// What can happen in an environment outside of deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase")]
pub(crate) enum EnvironmentEventType {
    /// A person retired a module: no version of it should run any more.
    Retired,
    /// The engine begins to change a node that does not run what it should.
    Repairing,
    /// The node runs what it should.
    Repaired,
    /// The engine could not change the node, and will try again.
    RepairFailed,
    /// A person took the node out of deployments and repairs. It keeps serving what it runs.
    Cordoned,
    /// A person cordoned the node and took its traffic away: it reports that it is not ready.
    Drained,
    /// A person ended a cordon or a drain.
    Uncordoned,
    /// The engine removed a node that was not heard of for long.
    Expired,
    /// A person removed the node.
    Forgotten,
    /// The node belonged to another environment before. What it brought from there, and its new
    /// environment does not have, is removed from it.
    Moved,
    /// A person changed the policy of the environment, or its selector.
    PolicyChanged,
    /// This engine cannot read the event.
    Unreadable,
}

impl From<EnvironmentEntry> for EnvironmentEvent {
    fn from(entry: EnvironmentEntry) -> Self {
        let event = Self {
            position: entry.position,
            environment: entry.environment.into(),
            timestamp: None,
            kind: EnvironmentEventType::Unreadable,
            module_name: None,
            node_id: None,
            from: None,
            to: None,
            by: None,
            attempts: None,
            message: String::new(),
        };
        match entry.event {
            Ok(read) => event.with(read),
            Err(error) => Self {
                message: format!("this event cannot be read: {error}"),
                ..event
            },
        }
    }
}

impl EnvironmentEvent {
    fn with(self, event: core::EnvironmentEvent) -> Self {
        use core::EnvironmentEventBody as Body;
        let this = Self {
            timestamp: Some(event.at.millis()),
            module_name: event.body.module().map(ToString::to_string),
            node_id: event.body.node().map(ToString::to_string),
            ..self
        };
        match event.body {
            Body::Retired { module, by, reason } => {
                let what = format!("{module} was retired");
                this.with_person(EnvironmentEventType::Retired, &what, by, reason)
            }
            Body::Cordoned { node, by, reason } => {
                let what = format!("{node} was cordoned");
                this.with_person(EnvironmentEventType::Cordoned, &what, by, reason)
            }
            Body::Drained { node, by, reason } => {
                let what = format!("{node} was drained");
                this.with_person(EnvironmentEventType::Drained, &what, by, reason)
            }
            Body::Uncordoned { node, by, reason } => {
                let what = format!("{node} was uncordoned");
                this.with_person(EnvironmentEventType::Uncordoned, &what, by, reason)
            }
            Body::Forgotten { node, by, reason } => {
                let what = format!("{node} was forgotten");
                this.with_person(EnvironmentEventType::Forgotten, &what, by, reason)
            }
            Body::Expired {
                node,
                stopped,
                silent_millis,
            } => {
                let span = rounded(Duration::from_millis(silent_millis));
                Self {
                    kind: EnvironmentEventType::Expired,
                    message: if stopped {
                        format!("{node} was removed: it stopped {span} ago")
                    } else {
                        format!("{node} was removed: nothing was heard of it for {span}")
                    },
                    ..this
                }
            }
            Body::Moved {
                node,
                from,
                modules,
            } => {
                let modules: Vec<_> = modules.iter().map(ToString::to_string).collect();
                let brought = match modules.as_slice() {
                    [] => "no modules".to_owned(),
                    modules => modules.join(", "),
                };
                Self {
                    kind: EnvironmentEventType::Moved,
                    message: format!("{node} came from {from} with {brought}"),
                    ..this
                }
            }
            Body::PolicyChanged {
                policy,
                selector,
                by,
                reason,
                ..
            } => {
                let what = match policy {
                    Some(policy) => {
                        let selector = selector.map_or_else(String::new, |selector| {
                            format!(", and the selector to {selector},")
                        });
                        format!("the policy was set to ({}){selector}", policy_text(&policy))
                    }
                    None => "the policy was given up".to_owned(),
                };
                this.with_person(EnvironmentEventType::PolicyChanged, &what, by, reason)
            }
            Body::Repairing(repair) => {
                let message = match &repair.to {
                    Some(to) => format!(
                        "{} runs {} and is updated to {}",
                        repair.node,
                        ran(&repair),
                        to.version
                    ),
                    None => format!("{} runs {}, which is removed", repair.node, ran(&repair)),
                };
                this.with_repair(EnvironmentEventType::Repairing, repair, message)
            }
            Body::Repaired(repair) => {
                let message = match &repair.to {
                    Some(to) => format!(
                        "{} ran {} and was updated to {}",
                        repair.node,
                        ran(&repair),
                        to.version
                    ),
                    None => format!("{} ran {}, which was removed", repair.node, ran(&repair)),
                };
                this.with_repair(EnvironmentEventType::Repaired, repair, message)
            }
            Body::RepairFailed {
                repair,
                error,
                attempts,
            } => {
                let message = match &repair.to {
                    Some(to) => format!(
                        "{} could not be updated to {}: {error}",
                        repair.node, to.version
                    ),
                    None => format!("{} still runs {}: {error}", repair.node, ran(&repair)),
                };
                Self {
                    attempts: Some(attempts),
                    ..this.with_repair(EnvironmentEventType::RepairFailed, repair, message)
                }
            }
        }
    }

    /// What a person did: `what`, by whom, and why.
    fn with_person(
        self,
        kind: EnvironmentEventType,
        what: &str,
        by: String,
        reason: Option<String>,
    ) -> Self {
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        Self {
            kind,
            message: format!("{what} by {by}{reason}"),
            by: Some(by),
            ..self
        }
    }

    fn with_repair(
        self,
        kind: EnvironmentEventType,
        repair: core::Repair,
        message: String,
    ) -> Self {
        let version = |module: core::ModuleVersion| module.version.to_string();
        Self {
            kind,
            from: repair.from.map(version),
            to: repair.to.map(version),
            message,
            ..self
        }
    }
}

/// A span in whole hours, minutes or seconds.
fn rounded(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// The values of a policy.
fn policy_text(policy: &core::Policy) -> String {
    format!(
        "{}, {} unavailable, {} failures tolerated, {} missing, {} in all{}, {} to revert",
        policy.default_strategy,
        policy.max_unavailable,
        policy.tolerated_failures,
        policy.max_missing,
        format_duration(policy.deadline),
        if policy.pause_stops_deadline {
            " without pauses"
        } else {
            ""
        },
        format_duration(policy.revert_patience),
    )
}

/// The module, with the version that the node ran before.
fn ran(repair: &core::Repair) -> String {
    match &repair.from {
        Some(from) => format!("{} {}", repair.module, from.version),
        None => format!("no version of {}", repair.module),
    }
}

#[cfg(test)]
mod tests {
    use hotswap_core::{Digest, EnvironmentEventBody, ModuleVersion, NodeError, Repair, Timestamp};

    use super::*;

    fn version(version: &str) -> ModuleVersion {
        ModuleVersion {
            name: "hello".parse().unwrap(),
            version: version.parse().unwrap(),
            digest: Digest::of(version.as_bytes()),
        }
    }

    fn node() -> hotswap_core::NodeId {
        "production-04".parse().unwrap()
    }

    fn message(body: EnvironmentEventBody) -> String {
        let entry = EnvironmentEntry {
            environment: "production".parse().unwrap(),
            position: 7,
            at: Timestamp::from_millis(1),
            event: Ok(core::EnvironmentEvent {
                position: 7,
                at: Timestamp::from_millis(1),
                body,
            }),
        };
        EnvironmentEvent::from(entry).message
    }

    #[test]
    fn events_are_told_in_a_sentence() {
        let repair = |from: Option<&str>, to: Option<&str>| Repair {
            node: "production-04".parse().unwrap(),
            module: "hello".parse().unwrap(),
            from: from.map(version),
            to: to.map(version),
        };
        let update = repair(Some("1.0.0"), Some("2.0.0"));
        for (body, expected) in [
            (
                EnvironmentEventBody::Repairing(update.clone()),
                "production-04 runs hello 1.0.0 and is updated to 2.0.0",
            ),
            (
                EnvironmentEventBody::Repaired(repair(None, Some("2.0.0"))),
                "production-04 ran no version of hello and was updated to 2.0.0",
            ),
            (
                EnvironmentEventBody::Repaired(repair(Some("1.0.0"), None)),
                "production-04 ran hello 1.0.0, which was removed",
            ),
            (
                EnvironmentEventBody::RepairFailed {
                    repair: update,
                    error: NodeError::Unreachable("no answer".into()),
                    attempts: 2,
                },
                "production-04 could not be updated to 2.0.0: unreachable: no answer",
            ),
            (
                EnvironmentEventBody::Retired {
                    module: "hello".parse().unwrap(),
                    by: "ada".into(),
                    reason: Some("replaced".into()),
                },
                "hello was retired by ada: replaced",
            ),
            (
                EnvironmentEventBody::Drained {
                    node: node(),
                    by: "ada".into(),
                    reason: Some("its disk is replaced".into()),
                },
                "production-04 was drained by ada: its disk is replaced",
            ),
            (
                EnvironmentEventBody::Uncordoned {
                    node: node(),
                    by: "ada".into(),
                    reason: None,
                },
                "production-04 was uncordoned by ada",
            ),
            (
                EnvironmentEventBody::Expired {
                    node: node(),
                    stopped: true,
                    silent_millis: 905_000,
                },
                "production-04 was removed: it stopped 15 min ago",
            ),
            (
                EnvironmentEventBody::Expired {
                    node: node(),
                    stopped: false,
                    silent_millis: 86_403_000,
                },
                "production-04 was removed: nothing was heard of it for 24 h",
            ),
            (
                EnvironmentEventBody::Moved {
                    node: node(),
                    from: "qa".parse().unwrap(),
                    modules: vec!["hello".parse().unwrap(), "web".parse().unwrap()],
                },
                "production-04 came from qa with hello, web",
            ),
            (
                EnvironmentEventBody::PolicyChanged {
                    policy: Some(Box::new(core::Policy::default_for(
                        &"production".parse().unwrap(),
                    ))),
                    selector: None,
                    replaces: None,
                    by: "ada".into(),
                    reason: Some("more care".into()),
                },
                "the policy was set to (canary, 50% unavailable, 0 failures tolerated, 100% \
                 missing, 1day in all without pauses, 1m to revert) by ada: more care",
            ),
            (
                EnvironmentEventBody::PolicyChanged {
                    policy: Some(Box::new(core::Policy::default_for(&"qa".parse().unwrap()))),
                    selector: Some("zone=eu".parse().unwrap()),
                    replaces: None,
                    by: "ada".into(),
                    reason: None,
                },
                "the policy was set to (rolling, 50% unavailable, 0 failures tolerated, 100% \
                 missing, 2h in all without pauses, 1m to revert), and the selector to zone=eu, \
                 by ada",
            ),
            (
                EnvironmentEventBody::PolicyChanged {
                    policy: None,
                    selector: None,
                    replaces: Some(7),
                    by: "ada".into(),
                    reason: None,
                },
                "the policy was given up by ada",
            ),
        ] {
            assert_eq!(message(body), expected);
        }
    }
}
