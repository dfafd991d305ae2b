//! What must hold at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use hotswap_core::{
    Deployment, DeploymentId, EnvironmentEventBody, Event, EventBody, Outcome as End,
};
use hotswap_store::{EnvironmentEntry, EnvironmentJournal as _, Journal as _, Redis, RedisConfig};
use hotswap_tests::Replicas;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::all_events::SeenEvents;
use crate::clients::{Operation, Outcome};
use crate::hub::{Notification, Notified};
use crate::operator::NodeOperation;
use crate::stream::Seen;
use crate::{History, lock};

/// How long those who follow everything may take to its end.
const FOLLOWED: Duration = Duration::from_secs(120);

/// What those who follow everything have seen.
pub struct Followed {
    pub events: SeenEvents,
    pub notified: Notified,
}

/// Reads all journals from the store, and compares them with what clients and subscribers know.
pub async fn check(
    replicas: &Replicas,
    history: &History,
    seen: &Seen,
    followed: &Followed,
    done: &[NodeOperation],
) -> Result<()> {
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
    check_followed(&store, followed).await?;
    check_cordons(&store, done).await?;
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

/// Those who follow everything from the beginning saw all of it, once and in order, whichever
/// engines they were connected to.
async fn check_followed(store: &Redis, followed: &Followed) -> Result<()> {
    let entries = store.events_after(0, usize::MAX).await?;
    let mut events = Vec::new();
    let mut journals = BTreeMap::<DeploymentId, Vec<Event>>::new();
    let mut notifications = Vec::new();
    for entry in entries {
        let event = entry.event.map_err(|damage| anyhow!("{damage}"))?;
        events.push((entry.deployment.to_string(), event.seq));
        let journal = journals.entry(entry.deployment).or_default();
        let before = Deployment::fold(&*journal).ok();
        journal.push(event);
        let after = Deployment::fold(&*journal)?;
        notifications.extend(expected(before.as_ref(), journal, &after));
    }
    let environments = store.environment_events_after(None, 0, usize::MAX).await?;
    notifications.extend(environments.iter().map(of_environment));
    notifications.sort_by_key(|one| one.position);
    until_seen(&followed.events, &events).await?;
    until_seen(&followed.notified, &notifications).await?;
    println!(
        "a stream of everything saw {} events, and a hub {} notifications",
        events.len(),
        notifications.len()
    );
    Ok(())
}

/// The notifications of the last event of a journal, among those that are checked.
fn expected(
    before: Option<&Deployment>,
    journal: &[Event],
    after: &Deployment,
) -> Vec<Notification> {
    let Some(event) = journal.last() else {
        return Vec::new();
    };
    let status = after.status().as_str();
    let notification = |target: &str, status: &str| Notification {
        position: event.position,
        target: target.to_owned(),
        deployment: after.header.id.to_string(),
        status: status.to_owned(),
    };
    let mut notifications = Vec::new();
    if before.is_none() {
        notifications.push(notification("DeploymentStarted", ""));
    }
    if before.map(Deployment::status) != Some(after.status()) {
        notifications.push(notification("DeploymentStatusChanged", status));
    }
    match &event.body {
        EventBody::Ended {
            outcome: End::Succeeded,
            ..
        } => notifications.push(notification("DeploymentCompleted", status)),
        EventBody::Ended { .. } => notifications.push(notification("DeploymentFailed", status)),
        _ => {}
    }
    notifications
}

fn of_environment(entry: &EnvironmentEntry) -> Notification {
    Notification {
        position: entry.position,
        target: "EnvironmentChanged".to_owned(),
        deployment: String::new(),
        status: String::new(),
    }
}

/// Waits until as much was seen as there is, and compares. More may be appended since: engines
/// repair nodes.
async fn until_seen<T>(seen: &std::sync::Mutex<Vec<T>>, expected: &[T]) -> Result<()>
where
    T: Clone + PartialEq + std::fmt::Debug,
{
    let deadline = Instant::now() + FOLLOWED;
    loop {
        let seen = lock(seen).clone();
        let differs = seen
            .iter()
            .zip(expected)
            .position(|(one, other)| one != other);
        if let Some(index) = differs {
            let from = index.saturating_sub(3);
            let part =
                |all: &[T]| format!("{:?}", all.iter().skip(from).take(8).collect::<Vec<_>>());
            let (seen, expected) = (part(&seen), part(expected));
            bail!("from {from}: saw {seen}, and there is {expected}");
        }
        if seen.len() >= expected.len() {
            return Ok(());
        }
        let counts = (seen.len(), expected.len());
        ensure!(
            Instant::now() < deadline,
            "saw {} of {}",
            counts.0,
            counts.1
        );
        sleep(Duration::from_millis(50)).await;
    }
}

/// Nodes are cordoned and uncordoned in turns, and each request that was acknowledged took effect,
/// once for each time that it was made at most.
async fn check_cordons(store: &Redis, done: &[NodeOperation]) -> Result<()> {
    let entries = store.environment_events_after(None, 0, usize::MAX).await?;
    let mut counts = BTreeMap::<String, u32>::new();
    let mut cordoned = BTreeMap::<String, bool>::new();
    for entry in entries {
        let event = entry.event.context("an event that cannot be read")?;
        let (node, by, is_cordon) = match event.body {
            EnvironmentEventBody::Cordoned { node, by, .. } => (node, by, true),
            EnvironmentEventBody::Uncordoned { node, by, .. } => (node, by, false),
            _ => continue,
        };
        let before = cordoned.insert(node.to_string(), is_cordon);
        ensure!(
            before.unwrap_or(false) != is_cordon,
            "{node} by {by}: twice"
        );
        *counts.entry(by).or_default() += 1;
    }
    ensure!(
        cordoned.values().all(|is_cordoned| !is_cordoned),
        "{cordoned:?}"
    );
    // After one that was made twice, the node may already be as the next one wants it.
    let mut is_certain = true;
    for NodeOperation { by, attempts } in done {
        let count = counts.get(by).copied().unwrap_or(0);
        is_certain &= *attempts == 1;
        ensure!(count <= *attempts, "{by}: {count} times");
        ensure!(!is_certain || count == 1, "{by} had no effect");
    }
    let events: u32 = counts.values().sum();
    println!("{} requests for nodes, and {events} events", done.len());
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
