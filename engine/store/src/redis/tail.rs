//! Follows the log of appends, whichever engine made them.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value, cmd};
use tokio::sync::{broadcast, watch};

use super::commands::{Commands, random_word};
use super::durability::text;
use super::error::Error;
use super::head_cache::HeadCache;
use super::link::Link;
use super::reply::Args;
use super::{LAYOUT, script};
use crate::{Appended, EnvironmentAppended, Head};

/// How long the server waits for an append before it answers that there was none. A connection
/// that is dead without a word is noticed that much later.
pub(super) const BLOCK: Duration = Duration::from_secs(2);

/// Entries that are read at once.
const PAGE: usize = 512;

/// Reads the log from a place on, and notifies the subscribers of this engine.
pub(super) struct Tail {
    pub(super) link: Arc<Link>,
    pub(super) commands: Commands,
    /// The place of the last entry that was read.
    pub(super) last: String,
    pub(super) heads: Arc<HeadCache>,
    pub(super) subscribers: broadcast::Sender<Appended>,
    pub(super) environment_subscribers: broadcast::Sender<EnvironmentAppended>,
    pub(super) epochs: watch::Sender<Arc<str>>,
}

/// What an entry of the log says.
enum Entry {
    Deployment(Appended),
    Environment(EnvironmentAppended),
    Epoch(String),
    /// What a later release has written.
    Unknown,
}

impl Tail {
    /// Follows the log until it is dropped. Cancel safe. A connection that breaks loses nothing:
    /// the next one reads on from the same place.
    pub(super) async fn run(mut self) {
        let mut backoff = Link::backoff();
        loop {
            match self.link.send(&self.command()).await {
                Ok(answer) => {
                    backoff.reset();
                    for (place, fields) in entries(answer) {
                        match parse(&place, &fields) {
                            Ok(entry) => self.publish(entry),
                            Err(error) => {
                                let error = &error as &dyn std::error::Error;
                                tracing::error!(place, error, "cannot read the store's log");
                            }
                        }
                        self.last = place;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot follow the store's log, retrying");
                    backoff.wait().await;
                    self.check_end().await;
                }
            }
        }
    }

    /// Behind the connection there may be another server now, which lacks what this one had
    /// acknowledged. Then what is read goes on at its end, under a new epoch.
    async fn check_end(&mut self) {
        let seen = self.last.split('-').next().unwrap_or_default();
        let args = Args::new()
            .text(seen)
            .text(random_word())
            .number(LAYOUT.into());
        match self.commands.write(&script::REGRESSED, args).await {
            Ok(reply) if reply.word().is_ok_and(|word| word == "shorter") => {
                let position = reply.text(1).unwrap_or("0").to_owned();
                tracing::error!(
                    seen,
                    position,
                    "the store has lost writes that it had acknowledged: events up to the position \
                     that was seen are gone. Positions go on above it, and clients of the live feeds \
                     start over"
                );
                self.last = format!("{position}-0");
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "cannot read where the store's log ends"),
        }
    }

    fn command(&self) -> Cmd {
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(PAGE);
        command.arg("BLOCK").arg(BLOCK.as_secs() * 1000);
        command.arg("STREAMS");
        command.arg(self.commands.key("log")).arg(&self.last);
        command
    }

    /// Fails where nobody has subscribed.
    fn publish(&self, entry: Entry) {
        match entry {
            Entry::Deployment(appended) => {
                self.heads.put(appended.deployment, appended.head);
                let _ = self.subscribers.send(appended);
            }
            Entry::Environment(appended) => {
                let _ = self.environment_subscribers.send(appended);
            }
            Entry::Epoch(epoch) => {
                self.epochs.send_replace(epoch.into());
            }
            Entry::Unknown => {}
        }
    }
}

/// The entries of the one stream in an answer: places and fields.
fn entries(answer: Value) -> Vec<(String, Vec<(String, String)>)> {
    let stream = match answer {
        Value::Map(mut streams) => streams.pop().map(|(_, entries)| entries),
        Value::Array(mut streams) => streams.pop().and_then(|stream| match stream {
            Value::Array(mut parts) => parts.pop(),
            _ => None,
        }),
        _ => None,
    };
    let Some(Value::Array(entries)) = stream else {
        return Vec::new();
    };
    let entry = |entry| match entry {
        Value::Array(parts) => {
            let mut parts = parts.into_iter();
            let place = text(parts.next()?);
            let Some(Value::Array(fields)) = parts.next() else {
                return None;
            };
            let mut fields = fields.into_iter().map(text);
            let fields = std::iter::from_fn(|| Some((fields.next()?, fields.next()?)));
            Some((place, fields.collect()))
        }
        _ => None,
    };
    entries.into_iter().filter_map(entry).collect()
}

fn parse(place: &str, fields: &[(String, String)]) -> Result<Entry, Error> {
    const MISSING: Error = Error::Answer("an entry of the log lacks a field");
    let get = |name: &str| {
        let field = fields.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value.as_str())
    };
    let number = |text: Option<&str>| {
        text.and_then(|text| text.parse::<u64>().ok())
            .ok_or(MISSING)
    };
    let position = number(place.split('-').next())?;
    let fenced = get("f") == Some("1");
    if let Some(id) = get("d") {
        let lifecycle = serde_json::from_str(get("l").ok_or(MISSING)?);
        return Ok(Entry::Deployment(Appended {
            deployment: id.parse().map_err(|_| MISSING)?,
            head: Head {
                next_seq: number(get("s"))? + number(get("n"))?,
                lifecycle: lifecycle.map_err(|source| Error::Decode {
                    what: "a lifecycle",
                    source: Box::new(source),
                })?,
            },
            position,
            fenced,
        }));
    }
    if let Some(environment) = get("v") {
        return Ok(Entry::Environment(EnvironmentAppended {
            environment: environment.parse().map_err(|_| MISSING)?,
            position,
            fenced,
        }));
    }
    Ok(get("x").map_or(Entry::Unknown, |epoch| Entry::Epoch(epoch.to_owned())))
}
