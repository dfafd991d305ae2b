use hotswap_core as core;
use hotswap_runner::EventPage;
use poem_openapi::Object;

use super::Damage;

/// A page of a deployment's events, in order.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Events {
    /// The events. Empty if nothing happened before the wait was over, or if the deployment
    /// has ended: its last event has the type `ended`.
    pub events: Vec<Event>,
    /// The number to send as `after` to get the next events.
    pub after: Option<u64>,
    /// Why the event that comes next is not among the events. Absent if it is, or if there is
    /// none. Send `seq` of it as `after` to get what follows.
    pub damage: Option<Damage>,
}

/// An event of a deployment. The state of a deployment follows from its events alone.
#[derive(Debug, Clone, Object)]
pub(crate) struct Event {
    /// The number of the event in its deployment: 0, 1, 2 and so on, without gaps.
    pub seq: u64,
    /// The position of the event among those of all deployments. Positions rise, with gaps.
    pub position: u64,
    /// When the event happened.
    pub at: u64,
    /// What happened.
    pub body: EventBody,
}

/// An event in a stream, with the deployment it belongs to.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct StreamedEvent {
    /// The execution id of the deployment.
    pub execution_id: String,
    #[oai(flatten)]
    pub event: Event,
}

/// What happened in an event.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct EventBody {
    /// The type of the event: `requested`, `gated`, `planned`, `called`, `answered`,
    /// `decided`, `paused`, `resumed`, `abortRequested`, `promoteRequested`,
    /// `terminationRequested`, `writesLost`, `repairing`, `repaired`, `repairFailed`, `settling`,
    /// `reverting` or `ended`.
    /// Later releases may add types.
    #[oai(rename = "type")]
    pub kind: String,
    /// The data of the event. Its form depends on the type.
    pub data: Option<serde_json::Value>,
}

impl Events {
    /// A page of events that come after number `after`.
    pub fn new(page: EventPage, after: Option<u64>) -> Self {
        let EventPage { events, damage } = page;
        let after = events.last().map(|event| event.seq).or(after);
        Self {
            events: events.into_iter().map(Into::into).collect(),
            after,
            damage: damage.map(Into::into),
        }
    }
}

/// A place where the events of a deployment cannot be read, in a stream.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct StreamedDamage {
    /// The execution id of the deployment.
    pub execution_id: String,
    #[oai(flatten)]
    pub damage: Damage,
}

impl StreamedDamage {
    /// Damage of the journal of this deployment.
    pub fn new(id: core::DeploymentId, damage: core::Damage) -> Self {
        Self {
            execution_id: id.to_string(),
            damage: damage.into(),
        }
    }
}

impl StreamedEvent {
    /// An event of this deployment.
    pub fn new(id: core::DeploymentId, event: core::Event) -> Self {
        Self {
            execution_id: id.to_string(),
            event: event.into(),
        }
    }
}

impl From<core::Event> for Event {
    fn from(event: core::Event) -> Self {
        // A body serialises as its type and, for most types, its data.
        let json = serde_json::to_value(&event.body).unwrap_or_default();
        Self {
            seq: event.seq,
            position: event.position,
            at: event.at.millis(),
            body: EventBody {
                kind: event.body.name().to_owned(),
                data: json.get("data").cloned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use poem_openapi::types::ToJSON;

    use super::*;

    #[test]
    fn an_event_has_the_same_json_as_in_the_journal() {
        for body in [
            core::EventBody::Settling(None),
            core::EventBody::Paused {
                by: "ada".to_owned(),
                reason: None,
            },
            core::EventBody::Ended {
                outcome: core::Outcome::Failed,
                failures: Vec::new(),
                not_updated: Vec::new(),
            },
        ] {
            let event = core::Event {
                seq: 4,
                position: 77,
                at: core::Timestamp::from_millis(5),
                body,
            };
            let journal = serde_json::to_value(&event).unwrap();
            assert_eq!(Event::from(event).to_json(), Some(journal));
        }
    }
}
