//! Compares what readers received with the journals.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use hotswap_core::{Deployment, DeploymentId, Event};
use serde_json::{Value, json};

use crate::expected_messages::{PROGRESS, expected_messages};
use crate::reader::{Reader, Received, WatchMethod};

/// What all readers should have received. Each is checked for its part.
pub struct Expectations {
    journals: BTreeMap<DeploymentId, Vec<Event>>,
    /// The notifications that follow from all events, in order.
    messages: Vec<Message>,
}

/// A notification of a hub.
#[derive(Debug, Clone)]
struct Message {
    deployment: DeploymentId,
    target: String,
    argument: Value,
    offset: ParsedOffset,
}

/// A comparable offset: position and part. Clients must treat offsets as opaque; only the server
/// and this test may compare them.
type ParsedOffset = (u64, u32);

impl Expectations {
    /// Takes the journals, and what a stream of each deployment delivered from its beginning.
    ///
    /// # Errors
    /// If a stream does not match its journal.
    pub fn new(
        journals: BTreeMap<DeploymentId, Vec<Event>>,
        streamed: &BTreeMap<DeploymentId, Vec<Received>>,
    ) -> Result<Self> {
        let mut messages = Vec::new();
        for (deployment, events) in &journals {
            let (subscription, notifications) = streamed[deployment]
                .split_first()
                .context("an empty stream")?;
            let Received::Subscribed { answer, .. } = subscription else {
                anyhow::bail!("a stream began with {subscription:?}");
            };
            ensure!(
                answer["recovered"] == true,
                "the stream did not start at the beginning: {answer}"
            );
            let mut streamed_names = Vec::new();
            for received in notifications {
                let Received::Message { target, argument } = received else {
                    anyhow::bail!("streamed {received:?}");
                };
                let offset = argument["offset"].as_str().context("no offset")?;
                streamed_names.push((&**target, offset.to_owned()));
                messages.push(Message {
                    deployment: *deployment,
                    target: target.clone(),
                    argument: argument.clone(),
                    offset: parse_offset(offset)?,
                });
            }
            let expected = expected_messages(events)?;
            ensure!(
                streamed_names == expected,
                "streamed {streamed_names:?}\nexpected {expected:?}"
            );
        }
        messages.sort_by_key(|message| message.offset);
        Ok(Self { journals, messages })
    }

    /// Checks that a reader received what it should.
    pub fn check(&self, reader: &Reader) -> Result<()> {
        match reader.method {
            WatchMethod::HubSubscription | WatchMethod::HubStream => self.check_messages(reader),
            WatchMethod::EventStream | WatchMethod::WebSocket => self.check_events(reader),
        }
    }

    /// Checks that each event came once, in order.
    fn check_events(&self, reader: &Reader) -> Result<()> {
        let journals = self.journals.iter();
        let journals =
            journals.filter(|(id, _)| reader.watched.is_none_or(|watched| watched == **id));
        let mut events: Vec<_> = journals
            .flat_map(|(id, events)| events.iter().map(move |event| (id, event)))
            .collect();
        events.sort_by_key(|(_, event)| event.position);
        for (number, (id, event)) in events.iter().enumerate() {
            let mut expected = serde_json::to_value(event)?;
            expected["executionId"] = id.to_string().into();
            let received = reader.received.get(number);
            let same = received == Some(&Received::Event(expected));
            ensure!(
                same,
                "event {number} should be {event:?}, and was {received:?}"
            );
        }
        let (received, expected) = (reader.received.len(), events.len());
        ensure!(
            received == expected,
            "received {received} events of {expected}"
        );
        Ok(())
    }

    /// Checks that each message came once, in order. Progress may be missing if newer progress
    /// followed it, and so may everything that a snapshot replaced.
    fn check_messages(&self, reader: &Reader) -> Result<()> {
        let all_messages = self.messages.iter();
        let messages: Vec<_> = all_messages
            .filter(|message| reader.watched.is_none_or(|id| id == message.deployment))
            .collect();
        let mut next = 0;
        // Deployments whose progress was skipped and not yet followed by newer progress.
        let mut missing_progress = BTreeSet::new();
        for received in &reader.received {
            match received {
                Received::Subscribed { after, answer } => {
                    let offset = answer["offset"].as_str().context("no offset")?;
                    let (at, recovered) = (parse_offset(offset)?, answer["recovered"].as_bool());
                    let seen = messages.partition_point(|message| message.offset <= at);
                    if recovered == Some(true) {
                        ensure!(offset == after, "subscribed after {after}, got {answer}");
                        ensure!(
                            answer.get("snapshot").is_none(),
                            "a snapshot though recovered: {answer}"
                        );
                        ensure!(
                            seen == next,
                            "resumed at message {seen}, not {next}: {answer}"
                        );
                    } else {
                        ensure!(
                            seen >= next,
                            "a snapshot of message {seen}, before {next}: {answer}"
                        );
                        self.check_snapshot(reader, at, &answer["snapshot"])?;
                        missing_progress.clear();
                    }
                    next = seen;
                }
                Received::Message { target, argument } => {
                    let rest = messages.get(next..).unwrap_or_default();
                    let skipped = rest.iter().position(|message| {
                        message.target == *target && message.argument == *argument
                    });
                    let skipped = skipped.with_context(|| {
                        format!(
                            "message {next} should be {:?}, and was {received:?}",
                            rest.first()
                        )
                    })?;
                    for message in &rest[..skipped] {
                        let may_be_skipped = message.target == PROGRESS
                            && reader.method == WatchMethod::HubSubscription;
                        ensure!(may_be_skipped, "skipped: {message:?}");
                        missing_progress.insert(message.deployment);
                    }
                    if target == PROGRESS {
                        missing_progress.remove(&rest[skipped].deployment);
                    }
                    next += skipped + 1;
                }
                Received::Event(event) => anyhow::bail!("a journal event from a hub: {event}"),
            }
        }
        ensure!(
            next == messages.len(),
            "received {next} messages of {}",
            messages.len()
        );
        ensure!(
            missing_progress.is_empty(),
            "progress was skipped, and no newer progress followed"
        );
        Ok(())
    }

    /// Checks that the snapshot is the state at that offset.
    fn check_snapshot(&self, reader: &Reader, at: ParsedOffset, snapshot: &Value) -> Result<()> {
        let Some(id) = reader.watched else {
            let shown = snapshot["deployments"].as_array().context("no snapshot")?;
            for shown in shown {
                let id: DeploymentId = shown["executionId"].as_str().context("no id")?.parse()?;
                ensure!(
                    self.journals.contains_key(&id),
                    "an unknown deployment: {shown}"
                );
            }
            return Ok(());
        };
        let events = &self.journals[&id];
        let seq = snapshot["lastEvent"].as_u64().context("no snapshot")?;
        let seen = events
            .get(..=usize::try_from(seq)?)
            .context("the snapshot is newer than the journal")?;
        // The snapshot may include events after the last message, if none of them has a message.
        let position = seen[seen.len() - 1].position;
        let offsets = self
            .messages
            .iter()
            .filter(|message| message.deployment == id);
        let offsets = offsets.map(|message| message.offset);
        let last = offsets
            .filter(|offset| *offset <= (position, u32::MAX))
            .max();
        ensure!(
            last == Some(at),
            "the snapshot is at {at:?}, the last message at {last:?}"
        );
        let state = Deployment::fold(seen)?;
        let nodes = state.nodes.keys().map(|id| json!(id.to_string()));
        let log = state.log.iter().map(|line| json!(line.message));
        let stages = state.stages.iter().map(|stage| json!(stage.name));
        let values_of = |list: &str, field: &str| -> Vec<Value> {
            let list = snapshot[list].as_array().into_iter().flatten();
            list.map(|one| one[field].clone()).collect()
        };
        let same = snapshot["status"] == state.status().as_str()
            && snapshot["progress"] == state.progress
            && snapshot["paused"] == state.lifecycle.paused
            && snapshot["aborting"] == state.lifecycle.aborting
            && snapshot["updatedAt"] == state.updated_at.millis()
            && snapshot["question"].as_str() == state.question.as_deref()
            && values_of("nodes", "id").into_iter().eq(nodes)
            && values_of("log", "message").into_iter().eq(log)
            && values_of("stages", "name").into_iter().eq(stages);
        ensure!(same, "{snapshot} is not {state:?}");
        for (node, shown) in state.nodes.values().zip(values_of("nodes", "phase")) {
            let phase = serde_json::to_value(node.phase)?;
            let phase = phase["phase"].as_str().context("no phase")?.to_lowercase();
            ensure!(shown == phase, "{shown} is not {phase}");
        }
        Ok(())
    }
}

fn parse_offset(offset: &str) -> Result<ParsedOffset> {
    let parsed = match offset.split_once('.') {
        None => (offset.parse()?, u32::MAX),
        Some((position, part)) => (position.parse()?, part.parse()?),
    };
    Ok(parsed)
}
