//! What there was to be told of a deployment, and what somebody was told.

use std::fmt;

use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use hotswap_tests::Installation;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Ends each record of the protocol.
const END: char = '\u{1e}';

/// An event as a client was told it.
#[derive(Clone, PartialEq)]
pub struct Told {
    event: String,
    offset: String,
}

impl Told {
    /// From `{event, argument}`, as the scripts and the examples write it, or from
    /// `{target, argument}`, as streams have it.
    pub fn of(object: &Value) -> Result<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let event = text(&object["event"]).or_else(|| text(&object["target"]));
        let offset = text(&object["argument"]["offset"]);
        Ok(Self {
            event: event.with_context(|| format!("no event: {object}"))?,
            offset: offset.with_context(|| format!("no offset: {object}"))?,
        })
    }

    /// Whether it is an event, and not the answer to a subscription.
    pub fn happened(&self) -> bool {
        self.event != "Subscribed"
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.offset, self.event)
    }
}

/// All events of objects as [`Told::of`] takes them, without subscriptions.
pub fn events<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Result<Vec<Told>> {
    let told = objects.into_iter().map(Told::of);
    Ok(told
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(Told::happened)
        .collect())
}

/// All that there was to be told of a deployment that has ended: what somebody is told who
/// asks now, from the beginning and without a break. Compared with the journal.
pub async fn all(here: &Installation, id: &str) -> Result<Vec<Told>> {
    let first = stream(here, json!([id])).await?;
    let epoch = &first.first().context("no answer")?["argument"]["epoch"];
    let beginning = json!({ "epoch": epoch, "offset": "0" });
    let items = stream(here, json!([id, beginning])).await?;
    ensure!(items[0]["argument"]["recovered"] == true, "{}", items[0]);
    agree(here, id, &items[1..]).await?;
    events(&items)
}

/// The items of `StreamDeployment`, to its end. Without a client: this is what clients are
/// measured against.
async fn stream(here: &Installation, arguments: Value) -> Result<Vec<Value>> {
    let url = format!("{}/hubs/deployments", here.url.replacen("http", "ws", 1));
    let mut request = url.into_client_request()?;
    let token = format!("Bearer {}", here.token).parse()?;
    request.headers_mut().insert("authorization", token);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await?;
    let call = json!({
        "type": 4,
        "invocationId": "1",
        "target": "StreamDeployment",
        "arguments": arguments,
    });
    for record in [json!({ "protocol": "json", "version": 1 }), call] {
        socket.send(format!("{record}{END}").into()).await?;
    }
    let mut items = Vec::new();
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else {
            continue;
        };
        for record in text.split_terminator(END) {
            let mut record: Value = serde_json::from_str(record)?;
            match record["type"].as_u64() {
                Some(2) => items.push(record["item"].take()),
                Some(3) => {
                    ensure!(record.get("error").is_none(), "{record}");
                    return Ok(items);
                }
                _ => {}
            }
        }
    }
    anyhow::bail!("the stream does not end: {items:?}")
}

/// That the items tell of the journal's first and last event, and of each progress.
async fn agree(here: &Installation, id: &str, items: &[Value]) -> Result<()> {
    let journal = here
        .get(&format!("/api/v1/deployments/{id}/events"))
        .await?;
    let journal = journal["events"].as_array().context("no events")?;
    let positions: Vec<_> = journal
        .iter()
        .map(|event| event["position"].to_string())
        .collect();
    let of = |item: &Value| {
        let offset = item["argument"]["offset"].as_str().unwrap_or_default();
        offset.split('.').next().unwrap_or_default().to_owned()
    };
    let told: Vec<_> = items.iter().map(of).collect();
    ensure!(told.first() == positions.first() && told.last() == positions.last());
    ensure!(told.iter().all(|position| positions.contains(position)));
    let journaled = journal
        .iter()
        .map(|event| &event["body"]["data"]["request"])
        .filter(|request| request["call"] == "progress")
        .map(|request| &request["arguments"])
        .map(|given| (&given["stage"], &given["percent"]));
    let announced = items
        .iter()
        .filter(|item| item["target"] == "DeploymentProgress")
        .map(|item| &item["argument"])
        .map(|told| (&told["stage"], &told["progress"]));
    ensure!(journaled.eq(announced), "{journal:?} {items:?}");
    Ok(())
}

/// That somebody was told all of it: each once, in order. Progress alone may be left out,
/// where a newer one takes its place.
pub fn ensure_whole(told: &[Told], all: &[Told]) -> Result<()> {
    let mut told_so_far = told.iter().peekable();
    for one in all {
        if told_so_far.next_if_eq(&one).is_none() {
            ensure!(
                one.event == "DeploymentProgress",
                "not {one:?}, but {:?}\ntold {told:#?}\nof {all:#?}",
                told_so_far.peek()
            );
        }
    }
    let more = told_so_far.next();
    ensure!(more.is_none(), "{more:?} is told after all\nof {all:#?}");
    Ok(())
}

/// What comes after this offset.
pub fn after<'a>(all: &'a [Told], offset: &Value) -> Result<&'a [Told]> {
    let place = all.iter().position(|one| *offset == one.offset.as_str());
    let place = place.with_context(|| format!("no {offset} in {all:?}"))?;
    Ok(&all[place + 1..])
}
