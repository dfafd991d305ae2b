//! What readers have heard, held against the journals.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use hotswap_core::{Deployment, DeploymentId, Event};
use serde_json::{Value, json};

use crate::model::{self, PROGRESS};
use crate::reader::{Heard, Reader, Way};

/// What all readers should have heard, each its part.
pub struct Account {
    journals: BTreeMap<DeploymentId, Vec<Event>>,
    /// The messages that follow from all events, in order.
    messages: Vec<Message>,
}

/// A message of a hub.
#[derive(Debug, Clone)]
struct Message {
    deployment: DeploymentId,
    target: String,
    argument: Value,
    place: Place,
}

/// An offset that can be compared, as only the server's own code and this test may.
type Place = (u64, u32);

impl Account {
    /// Of these journals, and what somebody was told who streamed each from its beginning;
    /// which must be what follows from the journal.
    pub fn new(
        journals: BTreeMap<DeploymentId, Vec<Event>>,
        streamed: &BTreeMap<DeploymentId, Vec<Heard>>,
    ) -> Result<Self> {
        let mut messages = Vec::new();
        for (deployment, events) in &journals {
            let (begun, told) = streamed[deployment].split_first().context("nothing told")?;
            let Heard::Begun { answer, .. } = begun else {
                anyhow::bail!("a stream began with {begun:?}");
            };
            ensure!(answer["recovered"] == true, "streamed from {answer}");
            let mut named = Vec::new();
            for heard in told {
                let Heard::Told { target, argument } = heard else {
                    anyhow::bail!("streamed {heard:?}");
                };
                let offset = argument["offset"].as_str().context("no offset")?;
                named.push((&**target, offset.to_owned()));
                messages.push(Message {
                    deployment: *deployment,
                    target: target.clone(),
                    argument: argument.clone(),
                    place: place(offset)?,
                });
            }
            let expected = model::messages(events)?;
            ensure!(
                named == expected,
                "streamed {named:?}\nexpected {expected:?}"
            );
        }
        messages.sort_by_key(|message| message.place);
        Ok(Self { journals, messages })
    }

    /// Whether a reader has heard what it should.
    pub fn settle(&self, reader: &Reader) -> Result<()> {
        match reader.way {
            Way::Hub | Way::Stream => self.told(reader),
            Way::Sse | Way::Socket => self.events(reader),
        }
    }

    /// Each event once, in order.
    fn events(&self, reader: &Reader) -> Result<()> {
        let whose = self.journals.iter();
        let whose = whose.filter(|(id, _)| reader.watched.is_none_or(|watched| watched == **id));
        let mut events: Vec<_> = whose
            .flat_map(|(id, events)| events.iter().map(move |event| (id, event)))
            .collect();
        events.sort_by_key(|(_, event)| event.position);
        for (number, (id, event)) in events.iter().enumerate() {
            let mut expected = serde_json::to_value(event)?;
            expected["executionId"] = id.to_string().into();
            let heard = reader.heard.get(number);
            let same = heard == Some(&Heard::Event(expected));
            ensure!(
                same,
                "event {number} should be {event:?}, and was {heard:?}"
            );
        }
        let (heard, all) = (reader.heard.len(), events.len());
        ensure!(heard == all, "heard {heard} events of {all}");
        Ok(())
    }

    /// Each message once and in order, but for progress that newer progress followed, and
    /// for what a snapshot stood for.
    fn told(&self, reader: &Reader) -> Result<()> {
        let whose = self.messages.iter();
        let messages: Vec<_> = whose
            .filter(|message| reader.watched.is_none_or(|id| id == message.deployment))
            .collect();
        let mut next = 0;
        // Whose progress was left out, and has not been followed by newer progress.
        let mut owed = BTreeSet::new();
        for heard in &reader.heard {
            match heard {
                Heard::Begun { after, answer } => {
                    let offset = answer["offset"].as_str().context("no offset")?;
                    let (at, place) = (place(offset)?, answer["recovered"].as_bool());
                    let seen = messages.partition_point(|message| message.place <= at);
                    if place == Some(true) {
                        ensure!(offset == after, "after {after} came {answer}");
                        ensure!(answer.get("snapshot").is_none(), "recovered with {answer}");
                        ensure!(seen == next, "{seen} messages seen, not {next}: {answer}");
                    } else {
                        ensure!(seen >= next, "went back from {next} to {seen}: {answer}");
                        self.snapshot(reader, at, &answer["snapshot"])?;
                        owed.clear();
                    }
                    next = seen;
                }
                Heard::Told { target, argument } => {
                    let rest = messages.get(next..).unwrap_or_default();
                    let left_out = rest.iter().position(|message| {
                        message.target == *target && message.argument == *argument
                    });
                    let left_out = left_out.with_context(|| {
                        format!(
                            "message {next} should be {:?}, and was {heard:?}",
                            rest.first()
                        )
                    })?;
                    for message in &rest[..left_out] {
                        let may_be = message.target == PROGRESS && reader.way == Way::Hub;
                        ensure!(may_be, "left out: {message:?}");
                        owed.insert(message.deployment);
                    }
                    if target == PROGRESS {
                        owed.remove(&rest[left_out].deployment);
                    }
                    next += left_out + 1;
                }
                Heard::Event(event) => anyhow::bail!("an event from a hub: {event}"),
            }
        }
        ensure!(
            next == messages.len(),
            "heard {next} messages of {}",
            messages.len()
        );
        ensure!(
            owed.is_empty(),
            "progress was left out and nothing followed it"
        );
        Ok(())
    }

    /// Whether it is the state at that place.
    fn snapshot(&self, reader: &Reader, at: Place, snapshot: &Value) -> Result<()> {
        let Some(id) = reader.watched else {
            let shown = snapshot["deployments"].as_array().context("no snapshot")?;
            for shown in shown {
                let id: DeploymentId = shown["executionId"].as_str().context("no id")?.parse()?;
                ensure!(self.journals.contains_key(&id), "nobody's: {shown}");
            }
            return Ok(());
        };
        let events = &self.journals[&id];
        let seq = snapshot["lastEvent"].as_u64().context("no snapshot")?;
        let seen = events.get(..=usize::try_from(seq)?).context("too new")?;
        // It may have seen more than the last message, but nothing that is followed by one.
        let position = seen[seen.len() - 1].position;
        let told = self
            .messages
            .iter()
            .filter(|message| message.deployment == id);
        let told = told.map(|message| message.place);
        let last = told.filter(|place| *place <= (position, u32::MAX)).max();
        ensure!(last == Some(at), "at {at:?}, with messages up to {last:?}");
        let state = Deployment::fold(seen)?;
        let nodes = state.nodes.keys().map(|id| json!(id.to_string()));
        let log = state.log.iter().map(|line| json!(line.message));
        let stages = state.stages.iter().map(|stage| json!(stage.name));
        let of = |list: &str, field: &str| -> Vec<Value> {
            let list = snapshot[list].as_array().into_iter().flatten();
            list.map(|one| one[field].clone()).collect()
        };
        let same = snapshot["status"] == state.status().as_str()
            && snapshot["progress"] == state.progress
            && snapshot["paused"] == state.lifecycle.paused
            && snapshot["aborting"] == state.lifecycle.aborting
            && snapshot["updatedAt"] == state.updated_at.millis()
            && snapshot["question"].as_str() == state.question.as_deref()
            && of("nodes", "id").into_iter().eq(nodes)
            && of("log", "message").into_iter().eq(log)
            && of("stages", "name").into_iter().eq(stages);
        ensure!(same, "{snapshot} is not {state:?}");
        for (node, shown) in state.nodes.values().zip(of("nodes", "phase")) {
            let phase = serde_json::to_value(node.phase)?;
            let phase = phase["phase"].as_str().context("no phase")?.to_lowercase();
            ensure!(shown == phase, "{shown} is not {phase}");
        }
        Ok(())
    }
}

fn place(offset: &str) -> Result<Place> {
    let place = match offset.split_once('.') {
        None => (offset.parse()?, u32::MAX),
        Some((position, part)) => (position.parse()?, part.parse()?),
    };
    Ok(place)
}
