use hotswap_core::{Deployment, DeploymentId, Event, Status};
use serde_json::Value;

use super::announce::{Announcement, announcements};
use super::offset::Offset;

/// A message to clients, with its place.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub offset: Offset,
    pub target: &'static str,
    pub event: hotswap_signalr::Event,
}

/// All messages that follow from an event, each with its place.
pub(crate) fn tell(
    epoch: &str,
    before: Option<Status>,
    event: &Event,
    after: &Deployment,
) -> Vec<Told> {
    let id = after.header.id;
    let all = announcements(before, event, after);
    let count = all.len();
    let told = |(place, announcement)| {
        let offset = Offset::of(event.position, place, count);
        one(epoch, id, offset, announcement)
    };
    all.into_iter().enumerate().map(told).collect()
}

fn one(epoch: &str, id: DeploymentId, offset: Offset, announcement: Announcement) -> Told {
    let Announcement {
        target,
        mut fields,
        newest,
    } = announcement;
    fields.insert("executionId".to_owned(), id.to_string().into());
    // Inside the argument: a client may fail on a record with fields of its own.
    fields.insert("epoch".to_owned(), epoch.into());
    fields.insert("offset".to_owned(), offset.to_string().into());
    let argument = Value::Object(fields);
    let event = if newest {
        hotswap_signalr::Event::newest(format!("{target} {id}"), target, argument)
    } else {
        hotswap_signalr::Event::new(target, argument)
    };
    Told {
        offset,
        target,
        event,
    }
}
