use std::collections::VecDeque;

use hotswap_core::Digest;
use hotswap_protocol::{Action, Version};
use serde::{Deserialize, Serialize};

use super::serving_times::{Moment, ServingTimes};
use crate::slots::Slots;

/// Operations that a record remembers. A deployment repeats only its latest operation.
const MAX_OPERATIONS: usize = 256;

/// Versions that a record remembers after they left the slots. The node keeps their
/// artifacts, so that a rollback to one of them needs no transfer.
const MAX_RECENT_VERSIONS: usize = 5;

/// What a node keeps on disk about one module: the content of a JSON file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModuleRecord {
    pub(crate) slots: Slots,
    /// Highest fence that the node has seen for the module.
    pub(crate) fence: u64,
    /// How long the versions have been active.
    #[serde(default)]
    pub(crate) serving: ServingTimes,
    /// Completed operations, the latest last.
    operations: VecDeque<Operation>,
    /// Versions that were in a slot, the latest last.
    #[serde(rename = "recent")]
    recent_versions: VecDeque<Version>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    id: String,
    /// Digest of the action. Tells a repeated operation from another one with the same id.
    #[serde(rename = "action")]
    action_digest: Digest,
}

/// What a record knows about an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OperationLookup {
    /// The id is not in the record.
    New,
    /// The operation was completed before.
    Completed,
    /// An operation with this id and another action was completed.
    IdReused,
}

impl ModuleRecord {
    /// Looks up an operation by its id and action.
    pub(crate) fn look_up_operation(&self, id: &str, action: &Action) -> OperationLookup {
        match self.operations.iter().rev().find(|known| known.id == id) {
            None => OperationLookup::New,
            Some(known) if known.action_digest == digest(action) => OperationLookup::Completed,
            Some(_) => OperationLookup::IdReused,
        }
    }

    /// Returns the record after an operation that resulted in `slots` at `now`.
    pub(crate) fn with_completed_operation(
        &self,
        id: &str,
        action: &Action,
        fence: u64,
        slots: Slots,
        now: Moment,
    ) -> Self {
        let mut next = self.clone();
        next.serving = self.serving.after(&self.slots, &slots, now);
        for version in slots.versions() {
            next.recent_versions.retain(|recent| recent != version);
            next.recent_versions.push_back(version.clone());
        }
        let in_slots = slots.versions().count();
        let excess = next
            .recent_versions
            .len()
            .saturating_sub(MAX_RECENT_VERSIONS + in_slots);
        next.recent_versions.drain(..excess);
        next.operations.push_back(Operation {
            id: id.to_owned(),
            action_digest: digest(action),
        });
        let excess = next.operations.len().saturating_sub(MAX_OPERATIONS);
        next.operations.drain(..excess);
        next.fence = fence;
        next.slots = slots;
        next
    }

    /// Returns the record with another fence.
    pub(crate) fn with_fence(&self, fence: u64) -> Self {
        Self {
            fence,
            ..self.clone()
        }
    }

    /// Versions whose artifacts the node must keep. May list a version twice.
    pub(crate) fn retained_versions(&self) -> impl Iterator<Item = &Version> {
        self.recent_versions.iter().chain(self.slots.versions())
    }
}

fn digest(action: &Action) -> Digest {
    // An object of strings and numbers always serialises.
    Digest::of(&serde_json::to_vec(action).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use hotswap_core::Timestamp;
    use hotswap_protocol::{Settle, Stage};

    use super::*;

    const NOW: Moment = Moment {
        at: Timestamp::MAX,
        crashes: 0,
    };

    fn version(number: usize) -> Version {
        Version {
            version: format!("{number}.0.0"),
            digest: format!("sha256:{number:064}"),
        }
    }

    #[test]
    fn keeps_only_the_latest_operations_and_versions() {
        let settle = Action::Settle(Settle {});
        let mut record = ModuleRecord::default();
        for number in 0..MAX_OPERATIONS + 2 {
            let slots = Slots {
                active: Some(version(number)),
                ..Slots::default()
            };
            let id = format!("o-{number}");
            record = record.with_completed_operation(&id, &settle, 7, slots, NOW);
        }
        let look_up = |id, action| record.look_up_operation(id, action);
        assert_eq!(look_up("o-1", &settle), OperationLookup::New, "forgotten");
        assert_eq!(look_up("o-2", &settle), OperationLookup::Completed);
        let other = Action::Stage(Stage {
            version: version(1),
        });
        assert_eq!(look_up("o-2", &other), OperationLookup::IdReused);
        let mut retained: Vec<_> = record
            .retained_versions()
            .map(|version| version.version.clone())
            .collect();
        retained.dedup();
        assert_eq!(retained.first().unwrap(), "252.0.0");
        assert_eq!(retained.last().unwrap(), "257.0.0");
    }

    #[test]
    fn the_file_format_does_not_change() {
        let record = ModuleRecord::default().with_completed_operation(
            "o-1",
            &Action::Settle(Settle {}),
            7,
            Slots {
                active: Some(version(1)),
                ..Slots::default()
            },
            NOW,
        );
        let json = serde_json::to_value(&record).unwrap();
        let fields = |value: &serde_json::Value| -> Vec<String> {
            let mut fields: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
            fields.sort();
            fields
        };
        assert_eq!(
            fields(&json),
            ["fence", "operations", "recent", "serving", "slots"]
        );
        assert_eq!(fields(&json["serving"]), ["activeSince", "previous"]);
        assert_eq!(fields(&json["operations"][0]), ["action", "id"]);
        assert_eq!(
            fields(&json["slots"]),
            ["active", "percent", "previous", "staged"]
        );
    }
}
