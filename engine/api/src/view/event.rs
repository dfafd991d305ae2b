use hotswap_core as core;
use poem_openapi::Object;

/// Some events of a deployment, in order.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Events {
    /// They; none where nothing happened before the wait was over, or nothing will ever
    /// again: the last event of a deployment is of the type `ended`.
    pub events: Vec<Event>,
    /// Give this as `after` for those that come next.
    pub after: Option<u64>,
}

/// Something that happened to a deployment. All that is told of a deployment follows from
/// its events.
#[derive(Debug, Clone, Object)]
pub(crate) struct Event {
    /// Its number among the deployment's events: 0, 1, 2 and so on without gaps.
    pub seq: u64,
    /// Its place among the events of all deployments; rises, with gaps.
    pub position: u64,
    /// When it happened.
    pub at: u64,
    /// What happened.
    pub body: EventBody,
}

/// An event among those of other deployments.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct StreamedEvent {
    /// The deployment that it is of.
    pub execution_id: String,
    #[oai(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct EventBody {
    /// `requested`, `gated`, `planned`, `called`, `answered`, `decided`, `paused`,
    /// `resumed`, `abortRequested`, `settling`, `reverting` or `ended`; there may be more
    /// in later releases.
    #[oai(rename = "type")]
    pub kind: String,
    /// The particulars, by type.
    pub data: Option<serde_json::Value>,
}

impl Events {
    /// Those after number `after`.
    pub fn new(events: Vec<core::Event>, after: Option<u64>) -> Self {
        let after = events.last().map(|event| event.seq).or(after);
        let events = events.into_iter().map(Into::into).collect();
        Self { events, after }
    }
}

impl StreamedEvent {
    /// This event of this deployment.
    pub fn new(id: core::DeploymentId, event: core::Event) -> Self {
        Self {
            execution_id: id.to_string(),
            event: event.into(),
        }
    }
}

impl From<core::Event> for Event {
    fn from(event: core::Event) -> Self {
        // A body is written as its type and, where it has particulars, its data.
        let written = serde_json::to_value(&event.body).unwrap_or_default();
        Self {
            seq: event.seq,
            position: event.position,
            at: event.at.millis(),
            body: EventBody {
                kind: event.body.name().to_owned(),
                data: written.get("data").cloned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use poem_openapi::types::ToJSON;

    use super::*;

    #[test]
    fn an_event_is_written_as_the_journal_writes_it() {
        for body in [
            core::EventBody::Settling,
            core::EventBody::Paused {
                by: "ada".to_owned(),
            },
            core::EventBody::Ended {
                outcome: core::Outcome::Failed,
                failures: Vec::new(),
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
