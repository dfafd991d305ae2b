//! What must hold at the end.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use hotswap_core::{Deployment, DeploymentId, Event, EventBody};
use hotswap_store::{Journal as _, Redis, RedisConfig};
use hotswap_tests::Replicas;
use serde_json::Value;

use crate::clients::{Operation, Outcome};
use crate::stream::Seen;
use crate::{History, lock};

/// Reads all journals from the store, and compares them with what clients and subscribers know.
pub async fn check(replicas: &Replicas, history: &History, seen: &Seen) -> Result<()> {
    let store = Redis::open(&RedisConfig::new(replicas.server.url())).await?;
    let mut journals = BTreeMap::new();
    let known: Vec<_> = lock(&history.deployments).keys().cloned().collect();
    for id in known {
        let number: DeploymentId = id.parse()?;
        let events = store.events(number, 0, usize::MAX).await;
        let events = events.with_context(|| format!("{id} was acknowledged"))?;
        let folded = Deployment::fold(&events).with_context(|| format!("{id} is illegal"))?;
        ensure!(folded.lifecycle.is_ended(), "{id} is open: {folded:?}");
        ensure!(
            folded.lifecycle == store.head(number).await?.lifecycle,
            "{id}"
        );
        answered_once(&events).with_context(|| id.clone())?;
        journals.insert(id, events);
    }
    positions_rise(&store, &journals).await?;
    store.close().await;

    let operations = lock(&history.operations).clone();
    let mut counts = BTreeMap::<(&str, String), u32>::new();
    for operation in &operations {
        let kind = (operation.what, format!("{:?}", operation.outcome));
        *counts.entry(kind).or_default() += 1;
        check_operation(operation, &journals)?;
    }
    let events: usize = journals.values().map(Vec::len).sum();
    println!(
        "{} deployments with {events} events: {counts:?}",
        journals.len()
    );
    for (id, events) in &journals {
        let numbers = seen
            .get(id)
            .with_context(|| format!("nobody watched {id}"))?;
        let expected: Vec<_> = (0..events.len() as u64).collect();
        ensure!(
            *numbers == expected,
            "{id}: {numbers:?} of {}",
            events.len()
        );
    }
    check_nodes(replicas)
}

/// No call has two answers.
fn answered_once(events: &[Event]) -> Result<()> {
    let mut answered = BTreeSet::new();
    for event in events {
        if let EventBody::Answered { call, .. } = &event.body {
            ensure!(answered.insert(*call), "call {call} was answered twice");
        }
    }
    Ok(())
}

/// The log of all journals has each event once, at rising positions.
async fn positions_rise(store: &Redis, journals: &BTreeMap<String, Vec<Event>>) -> Result<()> {
    let entries = store.events_after(0, usize::MAX).await?;
    let mut last = 0;
    let mut counts = BTreeMap::<String, usize>::new();
    for entry in entries {
        ensure!(entry.position > last, "{} after {last}", entry.position);
        last = entry.position;
        *counts.entry(entry.deployment.to_string()).or_default() += 1;
    }
    for (id, events) in journals {
        ensure!(counts.get(id) == Some(&events.len()), "{id} in the log");
    }
    Ok(())
}

/// An acknowledged request is in the journal once, a rejected one is not, another one is there at
/// most once.
fn check_operation(operation: &Operation, journals: &BTreeMap<String, Vec<Event>>) -> Result<()> {
    let matching: Vec<_> = journals
        .iter()
        .filter(|(id, _)| operation.deployment.is_empty() || **id == operation.deployment)
        .flat_map(|(_, events)| events)
        .filter(|event| requester(event) == Some((operation.what, operation.by.as_str())))
        .collect();
    let is_right = match operation.outcome {
        Outcome::Acknowledged => matching.len() == 1,
        Outcome::Rejected => matching.is_empty(),
        Outcome::Unknown => matching.len() <= 1,
    };
    ensure!(is_right, "{operation:?}: {matching:?}");
    Ok(())
}

/// What was requested, and by whom.
fn requester(event: &Event) -> Option<(&'static str, &str)> {
    match &event.body {
        EventBody::Requested(header) => Some(("create", &header.requester.email)),
        EventBody::Paused { by, .. } => Some(("pause", by)),
        EventBody::Resumed { by } => Some(("resume", by)),
        EventBody::AbortRequested { by, .. } => Some(("abort", by)),
        EventBody::PromoteRequested { by, .. } => Some(("promote", by)),
        EventBody::Decided { decision } => Some(("approve", &decision.by)),
        _ => None,
    }
}

/// No node carried out an operation twice, as its disk has them.
fn check_nodes(replicas: &Replicas) -> Result<()> {
    let mut count = 0;
    for node in replicas.nodes() {
        let folder = replicas.folder().join(node).join("modules");
        for file in std::fs::read_dir(folder)? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let record: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
            let mut ids = BTreeSet::new();
            for operation in record["operations"].as_array().into_iter().flatten() {
                let id = operation["id"].as_str().context("no id")?;
                ensure!(ids.insert(id.to_owned()), "{}: {id} twice", path.display());
                count += 1;
            }
        }
    }
    println!("the nodes remember {count} operations");
    ensure!(count > 0, "no node did anything");
    Ok(())
}
